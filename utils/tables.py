"""Tables as text: Markdown, and CSV that a spreadsheet can open. A cell cannot break its table, nor
the terminal that it is printed on."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

from utils.console import columns, printable

# A spreadsheet runs a cell that begins with one; some take the wide forms for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CUT = "..."
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")
# What Markdown and HTML read as their own: columns, code, tags, links and images.
_MARKUP = str.maketrans({mark: "\\" + mark for mark in "\\|`<["})


def one_line(text: str) -> str:
    """The text with a space for each line break, other control characters as escapes."""
    return printable(" ".join(text.splitlines()))


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it is: nothing in it becomes a column, a tag or a link."""
    return one_line(text).translate(_MARKUP)


def cut(text: str, room: int, shown: Callable[[str], str] = one_line) -> str:
    """As much of a text as fits in ``room`` columns where it is ``shown``; cut, it ends in dots."""
    if columns(shown(text)) <= room:
        return text
    text = text[:room]
    while text and columns(shown(text)) > room - len(_CUT):
        text = text[:-1]
    return text.rstrip() + _CUT


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it reads as plain text too.

    Cells are ``markdown_text``.
    """
    header, *rows = ([markdown_text(cell) for cell in line] for line in (header, *rows))
    widths = [max(3, *map(columns, column)) for column in zip(header, *rows)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths))
        + " |"
        for line in lines
    )


def to_csv(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """CSV. A text that a spreadsheet would run as a formula gets a single quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for line in (header, *rows):
        writer.writerow(_harmless(cell) if isinstance(cell, str) else cell for cell in line)
    return out.getvalue()


def _harmless(cell: str) -> str:
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")  # csv quotes no other line break
    return "'" + cell if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell
