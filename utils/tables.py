"""Tables as text: Markdown, and CSV that a spreadsheet can open. A cell cannot break its table, nor
the terminal that it is printed on."""

import csv
import io
from collections.abc import Iterable, Sequence

from utils.console import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one


def one_line(text: str) -> str:
    """The text with a space for each line break, and other hidden characters escaped."""
    return printable(" ".join(text.splitlines()))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it reads as plain text too.

    In cells, ``|`` and backslashes are escaped, and line breaks become spaces.
    """
    header, *rows = (
        [one_line(cell).replace("\\", r"\\").replace("|", r"\|") for cell in line]
        for line in (header, *rows)
    )
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [header, ["-" * max(3, width) for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(max(3, width)) for cell, width in zip(line, widths)) + " |"
        for line in lines
    )


def to_csv(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """CSV. A text that a spreadsheet would run as a formula gets a single quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for line in (header, *rows):
        writer.writerow(
            "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
            for cell in line
        )
    return out.getvalue()
