"""How a table of text is written, found out from its first lines; tables.py then reads its rows."""

import csv
import re
from dataclasses import replace
from pathlib import Path

from modules.preparation.lines import LINE_ENDS, first_block, opened
from modules.preparation.records import (
    BLANK,
    MARK,
    Table,
    fields_alone,
    lines_of,
    parse,
    reader_of,
    split,
)
from utils.errors import UserError, limit

DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
SEPARATORS = {"tab": "\t", "blank": BLANK, " ": BLANK, "\\t": "\t", "comma": ",", "semicolon": ";"}
CANDIDATES = ("\t", "::", ";", "|", ",", BLANK)  # tried in this order where the own does not fit
QUOTED = ("no", "yes", "lines")
SAMPLE_ROWS = 1000
_FOR_EXCEL = re.compile(r'"?sep=.{1,2}"?', re.IGNORECASE)
_COMMENTS = ("# ", "//", "%", "-- ")


def find_table(
    path: Path,
    kind: str,
    header: list[str] | None,
    sep: str | None,
    quoted: str | None,
    escape: str | None,
) -> Table:
    """Find out how a table is written, from its first lines.

    Args:
        kind: a key of DELIMITERS, whose separator is taken if it splits the first line.
        header: names of the columns, for a table without a header line.
        sep, quoted, escape: as given by flags; None: to be found.

    Raises:
        UserError: where it is empty, or flags do not fit it.
    """
    with opened(path) as (stream, _):
        lines = lines_of(first_block(path, stream, LINE_ENDS))
    if not lines or not lines[0].strip():
        raise UserError(
            f"{path}: cannot be read as {kind}: it is empty, or its first line is. Begin with the "
            "names of the columns, or with a row and --columns."
        )
    _check_first_line(path, lines[0], bool(header))
    tried = [sep] if sep else [DELIMITERS[kind], *CANDIDATES]
    for one in tried:
        table = _quoting(kind, lines, one, quoted, escape)
        first = _first_row(lines, table)
        if len(first) == len(header) if header else len(first) > 1:
            break
    else:
        table = _quoting(kind, lines, tried[0], quoted, escape)
        first = _first_row(lines, table)
    if header:
        return replace(table, names=tuple(header))
    end = parse(lines, replace(table, names=tuple(first)), 1, more=False).end
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in first]
    table = replace(table, names=tuple(name.strip() for name in shown), header_lines=end)
    _check_header(path, lines, table)
    return _with_width_of_rows(path, lines, table)


def _check_first_line(path: Path, line: str, is_row: bool) -> None:
    """UserError where it is neither names nor a row."""
    shown = limit(line.strip())
    if _FOR_EXCEL.fullmatch(line.strip()):
        raise UserError(
            f"{path}, line 1: {shown} is a note for Excel on what separates the fields. Take the "
            "line out, and give --sep if the separator is not found."
        )
    if not is_row and line.startswith(_COMMENTS):
        raise UserError(
            f"{path}, line 1: {shown} seems to be a comment; it must be the names of the columns. "
            "Take such lines, or the mark before the names, out."
        )


def _quoting(
    kind: str, lines: list[str], sep: str, quoted: str | None, escape: str | None
) -> Table:
    """How marks are read: CSV is quoted; others are where the first line's fields all are."""
    one_character = len(sep) == 1 or sep == BLANK
    if not one_character and (escape or quoted not in (None, "no")):
        raise UserError(
            f"--quoted, --escape: fields separated by {sep!r}, which is more than one character, "
            "cannot be quoted. Leave the flag out."
        )
    if quoted is None:
        marks = [part[:1] + part[-1:] for part in split(lines[0].rstrip("\r\n"), sep)]
        all_marked = all(ends == MARK * 2 for ends in marks)
        is_csv = kind == "csv" and sep != BLANK
        quoted = "yes" if one_character and (is_csv or all_marked or escape) else "no"
    if escape and quoted == "no":
        raise UserError("--escape: has a meaning only between quotation marks. Add --quoted yes.")
    if escape == sep:
        raise UserError(f"--escape {escape}: is what separates the fields. Name another character.")
    return Table(sep, quoted, escape)


def _first_row(lines: list[str], table: Table) -> list[str]:
    """The fields of the first row; a quoted one may be of several lines."""
    if table.quoted == "no":
        return split(lines[0].rstrip("\r\n"), table.sep)
    try:
        return next(reader_of(iter(lines), table), [])
    except csv.Error:
        return split(lines[0].rstrip("\r\n"), table.sep)


def _check_header(path: Path, lines: list[str], table: Table) -> None:
    """UserError where a mark in the header opens a name that seems to hold rows."""
    inside = lines[1 : table.header_lines] if table.quoted == "yes" else []
    if any(len(fields_alone(line, table)) == len(table.names) for line in inside):
        raise UserError(
            f"{path}, line 1: a quotation mark opens a name that ends in line {table.header_lines}"
            ", and lines inside of it look like rows. If marks are part of names, give --quoted "
            "no; if they enclose names of several lines, --quoted lines."
        )


def _with_width_of_rows(path: Path, lines: list[str], table: Table) -> Table:
    """The table; with a column without a name, where all rows have an empty field more than the
    header. UserError where all have a field more that is not empty."""
    first = lines[table.header_lines :][:SAMPLE_ROWS]
    found = parse(first, table, len(first))
    rows = [
        row
        for start, row in zip(found.starts, found.rows)
        if row and (table.quoted != "no" or MARK not in first[start]) and start not in found.stray
    ]
    width = len(table.names) + 1
    if {len(row) for row in rows} != {width}:
        return table
    if not any(row[-1].strip() for row in rows):  # a separator at the end of each row
        return replace(table, names=(*table.names, ""))
    said = (
        f"{path}, line {table.header_lines + 1}: each row has {width} fields, the header "
        f"{len(table.names)}: "
    )
    if _count_up([row[0].strip(MARK) for row in rows]):
        raise UserError(
            f"{said}a column of row names without a name, as R's write.table writes it. Write it "
            "with row.names = FALSE, or put one more name at the start of the header."
        )
    single = any(cell.lstrip().startswith("'") for row in rows for cell in row)
    quotes = ". Fields are enclosed in \", not in '" if single else ""
    raise UserError(
        f"{said}is {table.sep!r} in a field that is not quoted? Look at {limit(rows[0], 200)}"
        f"{quotes}. Quote such fields, or write the table with another separator."
    )


def _count_up(names: list[str]) -> bool:
    """Are they whole numbers, each 1 more than the one before?"""
    if not all(name.isascii() and name.isdigit() for name in names):
        return False
    first = int(names[0])
    return first in (0, 1) and names == [str(first + k) for k in range(len(names))]
