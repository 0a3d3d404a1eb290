"""The rows of tables of text, in chunks. How a table is written is found by table_format.py.

How lines become rows is in records.py. Here a row gets the table's width, or is a bad line.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from modules.preparation.columns import BadLines, Columns, Sample
from modules.preparation.lines import (
    LINE_ENDS,
    NOT_UTF8,
    TOO_LONG,
    blocks,
    first_block,
    is_utf8,
    opened,
)
from modules.preparation.plain_blocks import first_lines, plain_rows
from modules.preparation.records import MARK, Records, Table, fields_alone, lines_of, parse
from modules.preparation.table_format import SAMPLE_ROWS
from utils.errors import UserError

MANY_LINES = 20  # that one row takes, if they are a tenth of the file and such rows are rare
_STRAY = "rows with a quotation mark that encloses nothing, read as they stand"
_SEVERAL = "rows with a field of several lines"
_WHAT_TO_GIVE = (
    "If such marks are part of the text, give --quoted no; if they enclose texts of several lines, "
    "--quoted lines"
)
_ESCAPED = "\\" + MARK  # as MySQL and Spark write a mark inside a field
_READ_ESCAPED = f"rows with {_ESCAPED} inside a field, read as they stand (see --escape)"


def sample(path: Path, table: Table) -> Sample:
    """The columns, and what the first rows hold."""
    with opened(path) as (stream, _):
        lines = lines_of(first_block(path, stream, LINE_ENDS))[table.header_lines :][:SAMPLE_ROWS]
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
        looks_like_row: of the fields of a line inside a quoted field.

    Raises:
        UserError: where a field of several lines may hold rows.
    """
    reader = _TableReader(path, table, wanted, bad, looks_like_row)
    with opened(path) as (stream, share):
        for block in blocks(stream, LINE_ENDS):
            for numbers, values in reader.read(block):
                yield Columns(numbers, "line", values, share())
        for numbers, values in reader.finish():
            yield Columns(numbers, "line", values, 1.0)
        reader.check_longest()


_Part = tuple[Sequence[int], list[list[str]]]  # numbers of rows, and their wanted columns


class _TableReader:
    """Blocks of lines -> rows of the table's width. Keeps the lines of a row that is not ended."""

    def __init__(
        self,
        path: Path,
        table: Table,
        wanted: list[str],
        bad: BadLines,
        looks_like_row: Callable[[list[str]], bool],
    ) -> None:
        self._places = [table.names.index(name) for name in wanted]
        self._path, self._table, self._bad = path, table, bad
        self._looks_like_row = looks_like_row
        self._lines: list[str] = []  # that are in no row yet
        self._at = 1  # number of the first of them in the file
        self._header = table.header_lines  # lines of it that are still to come
        self._utf8 = table.names.index(table.utf8) if table.utf8 else None
        self._is_utf8 = True  # is the file, up to here?
        self._count = self._several = 0  # rows; rows of several lines
        self._longest = (0, 0)  # lines of the longest row; its number

    def read(self, block: bytes | None) -> Iterator[_Part]:
        """The rows that end in a block. None: a line that is too long."""
        if block is None:
            yield from self.finish()
            self._bad.add(self._at, "line", TOO_LONG)
            self._at += 1
            return
        head, rest = first_lines(block, self._header)
        plain = None if self._lines else plain_rows(rest, self._table, self._places)
        if plain:
            self._is_utf8 = self._is_utf8 and is_utf8(head)
            values, count = plain
            self._at += self._header
            self._header = 0
            yield range(self._at, self._at + count), values
            self._at += count
            self._count += count
            return
        self._is_utf8 = self._is_utf8 and is_utf8(block)
        lines = lines_of(block)
        skipped = min(self._header, len(lines))
        self._header -= skipped
        self._at += skipped
        self._lines += lines[skipped:] if skipped else lines
        yield self._columns(more=True)

    def finish(self) -> Iterator[_Part]:
        """The rows of the lines that are left."""
        if self._lines:
            yield self._columns(more=False)

    def _columns(self, more: bool) -> _Part:
        numbers, rows = self._take(more)
        return numbers, [[row[k] for row in rows] for k in self._places]

    def _take(self, more: bool) -> tuple[list[int], list[list[str]]]:
        """more: further lines may follow, so that a field that is open at the end may go on."""
        table, lines, width = self._table, self._lines, len(self._table.names)
        found = parse(lines, table, None, more)
        starts = found.starts
        if len(starts) < found.end:  # some row has several lines
            self._check_several_lines(found)
        numbers = [self._at + k for k in starts]
        rows = found.rows
        self._count += len(rows)
        check_utf8 = self._utf8 is not None and not self._is_utf8
        if check_utf8 or found.stray or set(map(len, rows)) != {width}:
            numbers, rows = [], []
            for start, row in zip(starts, found.rows):
                if check_utf8 and len(row) == width and _is_broken(row[self._utf8]):
                    self._bad.add(self._at + start, "line", f"the text, {table.utf8!r}, {NOT_UTF8}")
                elif len(row) == width:
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
            self._bad.remark(_SEVERAL, number, "line", lines=end - start)
            self._several += 1
            self._longest = max(self._longest, (end - start, number))
            inside = range(start + 1, end) if self._table.quoted == "yes" else ()
            row = next((k for k in inside if self._is_row(self._lines[k])), None)
            if row is not None:
                advice = _WHAT_TO_GIVE
                if _ESCAPED in self._lines[start] and not self._table.escape:
                    advice += f"; if {_ESCAPED} is a mark inside a field, --escape '\\'"
                raise UserError(
                    f"{self._path}, line {number}: a quotation mark opens a field that ends in "
                    f"line {self._at + end - 1}, and line {self._at + row}, inside of it, looks "
                    f"like a row. {advice}."
                )

    def _is_row(self, line: str) -> bool:
        return self._looks_like_row(fields_alone(line, self._table))

    def check_longest(self) -> None:
        """For the end of the file: UserError where one row, among rows of one line, takes much of
        it. Its first mark may be a stray one."""
        lines, number = self._longest
        much = lines >= MANY_LINES and lines * 10 > self._at and self._several * 2 < self._count
        if much and self._table.quoted == "yes":
            raise UserError(
                f"{self._path}, line {number}: a quotation mark opens a field that ends in line "
                f"{number + lines - 1}, {lines} of the file's {self._at - 1:,} lines. "
                f"{_WHAT_TO_GIVE}."
            )


def _is_broken(text: str) -> bool:
    """Has it halves of surrogate pairs, from bytes that are not UTF-8?"""
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)
