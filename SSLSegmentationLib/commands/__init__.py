"""What each command of sslseg does; cli.py only lists them."""
