"""Tables of text, a row a line: what separates their fields, and what a quotation mark means.

Unquoted, a mark is a character like others and a line is a row. Quoted (RFC 4180), a field that
begins with a mark goes on to the next lone mark, over several lines if need be. Marks that do not
fit would then swallow the rows after them, so:

- A mark that opens a field and is not followed, in the end, by a lone mark before a separator or a
  line's end opens nothing: its line is read as it stands, and the next line is the next row.
- So it is where the row that came out has another width than the table.
- A field of several lines that holds a line that looks like a row itself is an error: nobody can
  tell whether the writer meant a text of several lines, or whether two stray marks made a pair.

Every line that is not blank is a row, a part of a row that was read, or a bad line.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from modules.preparation.columns import BadLines, Columns, Sample
from modules.preparation.lines import TOO_LONG, blocks, first_block, opened
from utils.errors import UserError

DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
BLANK = "blank"  # a run of blanks or tabs
SEPARATORS = {"tab": "\t", "blank": BLANK, " ": BLANK, "\\t": "\t", "comma": ",", "semicolon": ";"}
CANDIDATES = ("\t", "::", ";", "|", ",", BLANK)  # tried in this order where the own does not fit
QUOTED = ("no", "yes", "lines")
MAX_FIELD = 1 << 23  # characters of a quoted field
SAMPLE_ROWS = 1000
_ENDS = (b"\n", b"\r")
MARK = '"'


@dataclass(frozen=True)
class Table:
    """How the text of a table is cut into fields."""

    sep: str
    quoted: str = "yes"  # of QUOTED; lines: fields may hold lines that look like rows
    escape: str | None = None  # a character before a mark that ends no field
    names: tuple[str, ...] = ()
    header_lines: int = 0  # lines that the header takes

    def describe(self) -> str:
        """For the log: ``fields separated by ',', quoted``."""
        sep = "blanks" if self.sep == BLANK else "tabs" if self.sep == "\t" else repr(self.sep)
        return f"fields separated by {sep}, {'not ' if self.quoted == 'no' else ''}quoted"


class _Records(NamedTuple):
    """Rows of a block, each with the index of its first line."""

    starts: list[int]
    rows: list[list[str]]
    stray: set[int]  # starts of rows with a mark that opens nothing
    end: int  # index of the first line that is in no row yet


def split(line: str, sep: str) -> list[str]:
    """The fields of a line, marks being characters like others."""
    return line.split(None if sep == BLANK else sep)


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
        lines = _lines(first_block(path, stream, _ENDS))
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
    end = _parse(lines, replace(table, names=tuple(first)), 1).end
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in first]
    table = replace(table, names=tuple(name.strip() for name in shown), header_lines=end)
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
    return Table(sep, quoted, escape)


def _first_row(lines: list[str], table: Table) -> list[str]:
    """The fields of the first row; a quoted one may be of several lines."""
    if table.quoted == "no":
        return split(lines[0].rstrip("\r\n"), table.sep)
    try:
        return next(_reader(iter(lines), table), [])
    except csv.Error:
        return split(lines[0].rstrip("\r\n"), table.sep)


def _check_width(path: Path, lines: list[str], table: Table) -> None:
    """UserError where all rows have a field more than the header: R's way with row names."""
    rows = lines[table.header_lines :][:SAMPLE_ROWS]
    widths = {len(row) for row in _parse(rows, table, len(rows)).rows if row}
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
        lines = _lines(first_block(path, stream, _ENDS))[table.header_lines :][:SAMPLE_ROWS]
    rows = [row for row in _parse(lines, table, len(lines)).rows if len(row) == len(table.names)]
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
        lines = _lines(block)
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
        found = _parse(lines, table, None, more)
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
                        self._bad.remark(_STRAY, self._at + start, "line")
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
        if not table.escape and f"\\{MARK}" in line:
            return f'{problem}. It has \\" between quotation marks: give --escape "\\"'
        return f"{problem}. Its quotation marks may not fit; RFC 4180 doubles those inside a field"

    def _check_several_lines(self, found: _Records) -> None:
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
                escape = f"\\{MARK}" in self._lines[start] and not self._table.escape
                raise UserError(
                    f"{self._path}, line {number}: a quotation mark opens a field that ends in "
                    f"line {self._at + end - 1}, and line {self._at + row}, inside of it, looks "
                    "like a row. If such marks are part of the text, give --quoted no; if they "
                    "enclose texts of several lines, --quoted lines"
                    + (' (line ends in \\"? --escape "\\")' if escape else "")
                    + "."
                )

    def _is_row(self, line: str) -> bool:
        fields = _plain_fields(line, self._table)
        return len(fields) == len(self._table.names) and self._looks_like_row(fields)


_STRAY = "rows with a quotation mark that encloses nothing, read as they stand"


def _lines(block: bytes) -> list[str]:
    """Lines with their ends. Bytes that are not UTF-8 become halves of surrogate pairs, which
    rows.py finds in ids and replaces in texts."""
    return list(io.StringIO(block.decode("utf-8", "surrogateescape"), newline=""))


def _reader(lines: Iterator[str], table: Table, strict: bool = True) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_FIELD)
    sep = " " if table.sep == BLANK else table.sep
    return csv.reader(lines, delimiter=sep, escapechar=table.escape, strict=strict)


def _plain_fields(line: str, table: Table) -> list[str]:
    """The fields of one line taken alone; [] where it cannot be read."""
    try:
        return next(_reader(iter([line]), table, strict=False), [])
    except csv.Error:
        return []


def _parse(lines: list[str], table: Table, most: int | None = None, more: bool = True) -> _Records:
    """The rows of some lines; a blank line is an empty list.

    Args:
        most: rows at which to stop; None: all.
        more: whether lines may follow, so that the last row may not be whole.
    """
    if table.quoted == "no":
        lines = [line.rstrip("\r\n") for line in lines[:most]]
        rows = [split(line, table.sep) if line else [] for line in lines]
        return _Records(list(range(len(rows))), rows, set(), len(rows))
    starts, rows, stray = [], [], set()
    at, width, count = 0, len(table.names), len(lines)
    while at < count:
        first = at
        reader = _reader((lines[k] for k in range(at, count)) if at else iter(lines), table)
        try:
            for row in reader:
                end = first + reader.line_num
                if end - at > 1 and len(row) != width:
                    break  # the marks of these lines do not belong together
                starts.append(at)
                rows.append(row)
                at = end
                if len(rows) == most:
                    return _Records(starts, rows, stray, at)
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
    return _Records(starts, rows, stray, at)
