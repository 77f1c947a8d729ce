"""The two ways in which an operation ends early without being a defect."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence for the user: what was given, the fact that stands in the way, and the remedy.
    The command line prints it and exits with code 2; the service answers with status 422.
    """


class Cancelled(Exception):  # noqa: N818 - cancelling is a wish of the user, not an error
    """The user asked a running operation to stop; whatever it had begun has been left as it was before."""
