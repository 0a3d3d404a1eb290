"""The text of a table cut into rows and fields, and what a quotation mark means.

Unquoted, a mark is a character like others and a line is a row. Quoted (RFC 4180), a field that
begins with a mark goes on to the next lone mark, over several lines if need be. Marks that do not
fit would then swallow the rows after them, so:

- A mark that opens a field and is not followed, in the end, by a lone mark before a separator or a
  line's end opens nothing: its line is read as it stands, and the next line is the next row.
- So it is where a row of several lines comes out with another width than the table.
- A field of several lines that holds a line that looks like a row itself is an error (tables.py):
  nobody can tell whether the writer meant a text of several lines, or whether two stray marks made
  a pair.

Every line that is not blank is a row, a part of a row that was read, or a bad line.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLANK = "blank"  # the separator that is a run of blanks or tabs
MARK = '"'
MAX_FIELD = 1 << 23  # characters of a quoted field


@dataclass(frozen=True)
class Table:
    """How the text of a table is cut into fields."""

    sep: str
    quoted: str = "yes"  # of QUOTED; lines: fields may hold lines that look like rows
    escape: str | None = None  # a character before a mark that ends no field
    names: tuple[str, ...] = ()
    header_lines: int = 0  # lines that the header takes
    utf8: str | None = None  # a column of texts; a row where it is no UTF-8 is bad

    def describe(self) -> str:
        """For the log: ``fields separated by ',', quoted``."""
        sep = "blanks" if self.sep == BLANK else "tabs" if self.sep == "\t" else repr(self.sep)
        return f"fields separated by {sep}, {'not ' if self.quoted == 'no' else ''}quoted"


class Records(NamedTuple):
    """Rows of a block, each with the index of its first line."""

    starts: list[int]
    rows: list[list[str]]
    stray: set[int]  # starts of rows with a mark that opens nothing
    end: int  # index of the first line that is in no row yet


def split(line: str, sep: str) -> list[str]:
    """The fields of a line, marks being characters like others."""
    return line.split(None if sep == BLANK else sep)


def lines_of(block: bytes) -> list[str]:
    """Lines with their ends. Bytes that are not UTF-8 become halves of surrogate pairs, which
    rows.py finds in ids and replaces in texts."""
    return list(io.StringIO(block.decode("utf-8", "surrogateescape"), newline=""))


def reader_of(lines: Iterable[str], table: Table, strict: bool = True) -> Iterator[list[str]]:
    """The fields of each row of a table. strict: a mark that is never closed, or not where a field
    ends, raises ``csv.Error``."""
    csv.field_size_limit(MAX_FIELD)
    sep = " " if table.sep == BLANK else table.sep
    return csv.reader(lines, delimiter=sep, escapechar=table.escape, strict=strict)


def fields_alone(line: str, table: Table) -> list[str]:
    """The fields of one line taken alone; [] where it cannot be read."""
    try:
        return next(reader_of(iter([line]), table, strict=False), [])
    except csv.Error:
        return []


def parse(lines: list[str], table: Table, most: int | None = None, more: bool = True) -> Records:
    """The rows of some lines; a blank line is an empty list.

    Args:
        most: rows at which to stop; None: all.
        more: whether lines may follow, so that the last row may not be whole.
    """
    if table.quoted == "no":
        lines = [line.rstrip("\r\n") for line in lines[:most]]
        rows = [split(line, table.sep) if line else [] for line in lines]
        return Records(list(range(len(rows))), rows, set(), len(rows))
    starts, rows, stray = [], [], set()
    at, width, count = 0, len(table.names), len(lines)
    while at < count:
        first = at
        reader = reader_of((lines[k] for k in range(at, count)) if at else iter(lines), table)
        try:
            for row in reader:
                end = first + reader.line_num
                if end - at > 1 and len(row) != width:
                    break  # the marks of these lines do not belong together
                starts.append(at)
                rows.append(row)
                at = end
                if len(rows) == most:
                    return Records(starts, rows, stray, at)
            else:
                continue
        except csv.Error:
            if more and first + reader.line_num == count and sum(map(len, lines[at:])) < MAX_FIELD:
                break
        starts.append(at)
        rows.append(split(lines[at].rstrip("\r\n"), table.sep))
        if MARK in lines[at]:
            stray.add(at)
        at += 1
        if len(rows) == most:
            break
    return Records(starts, rows, stray, at)
