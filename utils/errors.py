"""The one exception for what a user got wrong; scripts turn it into a message and exit code 2."""

import re

# Control characters, by which a text moves the cursor or paints; what turns the direction of a line
# around; halves of surrogate pairs, which no file can hold.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(Exception):
    """Bad input. The message: file and line, or flag; what it is; what it must be; what to do."""


def limit(text: object, length: int = 60) -> str:
    """``repr`` of a value, cut to ``length`` characters so that a message stays one line."""
    shown = repr(text)
    return shown if len(shown) <= length else shown[: length - 3] + "..."


def plain(text: str) -> str:
    """A text of others as it can be shown: what a terminal would obey is written as an escape."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
