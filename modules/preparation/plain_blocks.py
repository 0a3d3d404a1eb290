"""Blocks of a table that hold nothing but rows of one line, as nearly all do, read at once.

What is unusual (a row of another width or of several lines, a stray mark, a blank line, bytes that
are no UTF-8) is not read here: tables.py then takes the lines of the block one by one. A block that
is read here has the fields that it would have there.
"""

import csv

import numpy as np

from modules.preparation.lines import is_utf8
from modules.preparation.records import BLANK, MARK, Table, lines_of, reader_of

_NEWLINE, _UNIT = b"\n", b"\x1f"  # the second stands for a separator of several characters


def first_lines(block: bytes, count: int) -> tuple[bytes, bytes]:
    """The first lines of a block, and the others; (block, b"") where its lines are not plain."""
    end = 0
    for _ in range(count):
        end = block.find(_NEWLINE, end) + 1
        if not end:
            return block, b""
    head = block[:end]
    return (head, block[end:]) if head.count(b"\r") == head.count(b"\r\n") else (block, b"")


def plain_rows(block: bytes, table: Table, places: list[int]) -> tuple[list[list[str]], int] | None:
    """The wanted columns of a block of whole lines, and how many rows it has; None where something
    is unusual in it. places: of the columns, in the order in which they are wanted."""
    if b"\0" in block:  # which some versions of Python refuse
        return None
    marked = table.quoted != "no" and (
        MARK.encode() in block or (table.escape is not None and table.escape.encode() in block)
    )
    if table.sep == BLANK or marked:
        return _row_by_row(block, table, places)
    if b"\r" in block:
        if not block.count(b"\r") == block.count(b"\r\n") == block.count(_NEWLINE):
            return None
        block = block.replace(b"\r\n", _NEWLINE)
    return _all_at_once(block, table, places)


def _all_at_once(
    block: bytes, table: Table, places: list[int]
) -> tuple[list[list[str]], int] | None:
    """Of a block in which each separator separates."""
    sep, width = table.sep.encode(), len(table.names)
    if len(sep) > 1:
        if _UNIT in block:
            return None
        block, sep = block.replace(sep, _UNIT), _UNIT
    if not block.endswith(_NEWLINE):
        block += _NEWLINE
    letters = np.frombuffer(block, dtype=np.uint8)
    ends = letters[(letters == sep[0]) | (letters == _NEWLINE[0])]
    if len(ends) % width:
        return None
    ends = ends.reshape(-1, width)
    if not ((ends[:, :-1] == sep[0]).all() and (ends[:, -1] == _NEWLINE[0]).all()):
        return None
    try:
        fields = block[:-1].replace(_NEWLINE, sep).decode().split(sep.decode())
    except UnicodeDecodeError:
        return None
    return [fields[place::width] for place in places], len(ends)


def _row_by_row(
    block: bytes, table: Table, places: list[int]
) -> tuple[list[list[str]], int] | None:
    """Of a block with quotation marks, or whose separators are runs of blanks."""
    if not is_utf8(block):
        return None
    lines = lines_of(block)
    try:
        rows = list(map(str.split, lines) if table.quoted == "no" else reader_of(lines, table))
    except csv.Error:
        return None
    if len(rows) != len(lines) or set(map(len, rows)) != {len(table.names)}:
        return None
    return [[row[place] for row in rows] for place in places], len(rows)
