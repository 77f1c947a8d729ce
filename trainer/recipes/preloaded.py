"""What the commands of the trainer import, imported once for all that a study runs. Nothing may be computed here: what
is forked later could not use the threads that torch would have begun."""

import trainer.commands
import trainer.evaluate.run
import trainer.loop
import trainer.package  # noqa: F401
