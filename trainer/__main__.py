"""`python -m trainer`"""

from trainer.commands import main

if __name__ == "__main__":
    main()
