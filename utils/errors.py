"""The one exception for what a user got wrong; scripts turn it into a message and exit code 2."""


class UserError(Exception):
    """Bad input: the message names file and line or flag, value, limit, and the mend."""


def limit(text: object, length: int = 60) -> str:
    """``repr`` of a value, cut to ``length`` characters so that a message stays one line."""
    shown = repr(text)
    return shown if len(shown) <= length else shown[: length - 3] + "..."
