"""The one exception for what a user got wrong; scripts turn it into a message and exit code 2."""


class UserError(Exception):
    """Bad input. The message: file and line, or flag; what it is; what it must be; what to do."""


def limit(text: object, length: int = 60) -> str:
    """``repr`` of a value, cut to ``length`` characters so that a message stays one line."""
    shown = repr(text)
    return shown if len(shown) <= length else shown[: length - 3] + "..."
