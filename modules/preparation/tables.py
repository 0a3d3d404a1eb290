"""Tables of text: how one is written, found out from its first lines; and its rows, in chunks.

How lines become rows is in records.py. Here a row gets the table's width, or is a bad line.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from modules.preparation.columns import BadLines, Columns, Sample
from modules.preparation.lines import TOO_LONG, blocks, first_block, opened
from modules.preparation.records import (
    BLANK,
    MARK,
    Records,
    Table,
    fields_alone,
    lines_of,
    parse,
    reader_of,
    split,
)
from utils.errors import UserError

DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
SEPARATORS = {"tab": "\t", "blank": BLANK, " ": BLANK, "\\t": "\t", "comma": ",", "semicolon": ";"}
CANDIDATES = ("\t", "::", ";", "|", ",", BLANK)  # tried in this order where the own does not fit
QUOTED = ("no", "yes", "lines")
SAMPLE_ROWS = 1000
_ENDS = (b"\n", b"\r")
_STRAY = "rows with a quotation mark that encloses nothing, read as they stand"
_ESCAPED = "\\" + MARK  # as MySQL and Spark write a mark inside a field
_READ_ESCAPED = f"rows with {_ESCAPED} inside a field, read as they stand (see --escape)"


# ------------------------------------------------------------------------------- what it is


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
        lines = lines_of(first_block(path, stream, _ENDS))
    if not lines or not lines[0].strip():
        raise UserError(
            f"{path}: cannot be read as {kind}: it is empty, or its first line is. Begin with the "
            "names of the columns, or with a row and --columns."
        )
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
    end = parse(lines, replace(table, names=tuple(first)), 1).end
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in first]
    table = replace(table, names=tuple(name.strip() for name in shown), header_lines=end)
    _check_header(path, lines, table)
    _check_width(path, lines, table)
    return table


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


def _check_width(path: Path, lines: list[str], table: Table) -> None:
    """UserError where all rows have a field more than the header: R's way with row names."""
    rows = lines[table.header_lines :][:SAMPLE_ROWS]
    found = parse(rows, table, len(rows))
    widths = {
        len(row)
        for start, row in zip(found.starts, found.rows)
        if row and (table.quoted != "no" or MARK not in rows[start]) and start not in found.stray
    }
    if widths == {len(table.names) + 1}:
        raise UserError(
            f"{path}, line {table.header_lines + 1}: each row has {len(table.names) + 1} fields, "
            f"the header {len(table.names)}: a column of row names without a name, as R's "
            "write.table writes it. Write it with row.names = FALSE, or put one more name at the "
            "start of the header."
        )


def sample(path: Path, table: Table) -> Sample:
    """The columns, and what the first rows hold."""
    with opened(path) as (stream, _):
        lines = lines_of(first_block(path, stream, _ENDS))[table.header_lines :][:SAMPLE_ROWS]
    rows = [row for row in parse(lines, table, len(lines)).rows if len(row) == len(table.names)]
    columns = map(list, zip(*rows)) if rows else ([] for _ in table.names)
    return Sample(list(table.names), dict(zip(table.names, columns)))


# ------------------------------------------------------------------------------- its rows


def chunks(
    path: Path,
    table: Table,
    wanted: list[str],
    bad: BadLines,
    looks_like_row: Callable[[list[str]], bool],
) -> Iterator[Columns]:
    """The wanted columns, chunk after chunk.

    Args:
        looks_like_row: of the fields of a line inside a quoted field, as many as the table has.

    Raises:
        UserError: where a field of several lines may hold rows.
    """
    places = [table.names.index(name) for name in wanted]
    reader = _TableReader(path, table, bad, looks_like_row)
    with opened(path) as (stream, share):
        for block in blocks(stream, _ENDS):
            for numbers, rows in reader.read(block):
                yield Columns(numbers, "line", [[row[k] for row in rows] for k in places], share())
        for numbers, rows in reader.finish():
            yield Columns(numbers, "line", [[row[k] for row in rows] for k in places], 1.0)


class _TableReader:
    """Blocks of lines -> rows of the table's width. Keeps the lines of a row that is not ended."""

    def __init__(
        self,
        path: Path,
        table: Table,
        bad: BadLines,
        looks_like_row: Callable[[list[str]], bool],
    ) -> None:
        self._path, self._table, self._bad = path, table, bad
        self._looks_like_row = looks_like_row
        self._lines: list[str] = []  # that are in no row yet
        self._at = 1  # number of the first of them in the file
        self._header = table.header_lines  # lines of it that are still to come

    def read(self, block: bytes | None) -> Iterator[tuple[list[int], list[list[str]]]]:
        """The rows that end in a block. None: a line that is too long."""
        if block is None:
            yield from self.finish()
            self._bad.add(self._at, "line", TOO_LONG)
            self._at += 1
            return
        lines = lines_of(block)
        skipped = min(self._header, len(lines))
        self._header -= skipped
        self._at += skipped
        self._lines += lines[skipped:] if skipped else lines
        yield self._take(more=True)

    def finish(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        """The rows of the lines that are left."""
        if self._lines:
            yield self._take(more=False)

    def _take(self, more: bool) -> tuple[list[int], list[list[str]]]:
        """more: further lines may follow, so that a field that is open at the end may go on."""
        table, lines, width = self._table, self._lines, len(self._table.names)
        found = parse(lines, table, None, more)
        starts = found.starts
        if len(starts) < found.end:  # some row has several lines
            self._check_several_lines(found)
        numbers = [self._at + k for k in starts]
        rows = found.rows
        if found.stray or set(map(len, rows)) != {width}:
            numbers, rows = [], []
            for start, row in zip(starts, found.rows):
                if len(row) == width:
                    numbers.append(self._at + start)
                    rows.append(row)
                    if start in found.stray:
                        escaped = _ESCAPED in lines[start] and not table.escape
                        remark = _READ_ESCAPED if escaped else _STRAY
                        self._bad.remark(remark, self._at + start, "line")
                elif row:
                    self._bad.add(self._at + start, "line", self._problem(row, lines[start]))
        self._at += found.end
        self._lines = lines[found.end :]
        return numbers, rows

    def _problem(self, row: list[str], line: str) -> str:
        """What is wrong with a row of another width."""
        table = self._table
        problem = f"{len(row)} field(s), must be {len(table.names)}"
        if MARK not in line:
            return problem
        if table.quoted == "no":
            return f"{problem}. If its quotation marks enclose fields, give --quoted yes"
        if not table.escape and _ESCAPED in line:
            return f"{problem}. It has {_ESCAPED} between quotation marks: give --escape '\\'"
        return f"{problem}. Its quotation marks may not fit; RFC 4180 doubles those inside a field"

    def _check_several_lines(self, found: Records) -> None:
        ends = [*found.starts[1:], found.end]
        for start, end in zip(found.starts, ends):
            if end - start < 2:
                continue
            number = self._at + start
            self._bad.remark("rows with a field of several lines", number, "line")
            if self._table.quoted == "lines":
                continue
            inside = range(start + 1, end)
            row = next((k for k in inside if self._is_row(self._lines[k])), None)
            if row is not None:
                escape = _ESCAPED in self._lines[start] and not self._table.escape
                raise UserError(
                    f"{self._path}, line {number}: a quotation mark opens a field that ends in "
                    f"line {self._at + end - 1}, and line {self._at + row}, inside of it, looks "
                    "like a row. If such marks are part of the text, give --quoted no; if they "
                    "enclose texts of several lines, --quoted lines"
                    + (
                        f"; if {_ESCAPED} is a mark inside a field, --escape '\\'."
                        if escape
                        else "."
                    )
                )

    def _is_row(self, line: str) -> bool:
        fields = fields_alone(line, self._table)
        return len(fields) == len(self._table.names) and self._looks_like_row(fields)
