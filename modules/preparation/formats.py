"""How each format of raw file is read: chunks of columns with values as they stand in the file.

    json           one object a line, plain or .gz: Amazon's dumps of 2014, 2018 and 2023, JSONL;
                   also the loose lines of old dumps, which are Python dicts in place of JSON
    csv, tsv       tables with a header line, plain or .gz, quoted as in RFC 4180
    inter          RecBole's atomic file: tab-separated, with headers such as ``user_id:token``
    parquet        row groups

Nothing is kept between chunks, so memory does not grow with the file. What the values mean, and
whether they are good, is modules/preparation/rows.py's.
"""

import ast
import csv
import gzip
import json
import zlib
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import csv as pa_csv
from pyarrow import parquet

from utils.errors import UserError, limit

KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".inter": "inter",
    ".parquet": "parquet",
}
DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
CHUNK_ROWS = 20_000
CHUNK_BYTES = 1 << 23  # of a table's text; a row must fit in one
LOOK_AHEAD = 1000  # lines of JSON whose keys count as the columns: not every record has all
UNREADABLE = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


class BadLines:
    """Lines that cannot be used: counted, the first few kept to be shown; strict: an error."""

    SHOWN = 5

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, number: int, unit: str, problem: str) -> None:
        """Count one. number, unit: 7, "line". Raises UserError under --strict."""
        message = f"{self.path}, {unit} {number}: {problem}"
        if self.strict:
            raise UserError(f"{message}. Mend it, or leave --strict out to pass over it.")
        self.count += 1
        insort(self._first, (number, message))  # within a chunk they do not come in order
        del self._first[self.SHOWN :]

    @property
    def first(self) -> list[str]:
        """What is wrong with the first few."""
        return [message for _, message in self._first]


class Columns(NamedTuple):
    """A chunk: the wanted columns, as long as each other, and the number of its k-th row."""

    number: Callable[[int], int]
    unit: str  # what is numbered: "line" or "row"
    values: list[list[Any]]


def kind_of(path: Path) -> str:
    """The format by the file's ending; UserError where it tells nothing."""
    name = path.name.lower().removesuffix(".gz")
    for ending, kind in KINDS.items():
        if name.endswith(ending):
            return kind
    known = "|".join(dict.fromkeys(KINDS.values()))
    raise UserError(f"{path}: the ending tells no format. Give --format {known}.")


def column_names(path: Path, kind: str, header: list[str] | None) -> list[str]:
    """The columns of a table, or the keys of the first lines of JSON. header: names for a table
    that has no header line."""
    try:
        if kind == "parquet":
            return parquet.read_schema(path).names
        with _opened(path) as (stream, _):
            if kind != "json":
                return header or _header(stream, kind)
            names: dict[str, None] = {}
            for number, line in enumerate(islice(stream, LOOK_AHEAD)):
                if number == 0 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                    raise UserError(
                        f"{path}: one JSON array; one object a line is due (JSON lines)."
                    )
                record = _record(line)
                names.update(dict.fromkeys(record if isinstance(record, dict) else ()))
            return list(names)
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read as {kind} ({error}).") from error


def column_chunks(
    path: Path,
    kind: str,
    header: list[str] | None,
    wanted: list[str],
    bad: BadLines,
    done: Callable[[float], None],
) -> Iterator[Columns]:
    """The wanted columns of a file, chunk after chunk.

    done: told the share of the file that is read, 0 to 1, after each chunk.

    Raises:
        UserError: for a file that is broken or cut short.
    """
    readers = {"json": _json_chunks, "parquet": _parquet_chunks}
    chunks = readers.get(kind, _csv_chunks)(path, kind, header, wanted, bad, done)
    rows = 0
    while True:
        try:
            chunk = next(chunks, None)
        except UNREADABLE as error:
            raise UserError(
                f"{path}: cannot be read on after {rows:,} rows ({error}). The file may have been "
                "cut short; get it anew."
            ) from error
        if chunk is None:
            return
        rows += len(chunk.values[0])
        yield chunk


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], float]]]:
    """The file's bytes, unpacked, and a function that says what share of it is read."""
    size = max(path.stat().st_size, 1)
    with path.open("rb") as packed:
        stream = gzip.GzipFile(fileobj=packed) if path.name.lower().endswith(".gz") else packed
        yield stream, lambda: packed.tell() / size


def _record(line: bytes) -> dict[str, Any] | str:
    """A line's object, or what is wrong with it."""
    try:
        record = json.loads(line)
    except ValueError as broken:
        # Old dumps: Python dicts. Literals only, so nothing in the file is ever run.
        try:
            record = ast.literal_eval(line.decode("utf-8").strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return f"no JSON object ({broken})"
    except RecursionError:
        return "no JSON object (nested too deeply)"
    return record if isinstance(record, dict) else f"{limit(record)} is no JSON object"


def _json_chunks(path, kind, header, wanted, bad, done) -> Iterator[Columns]:
    number = 0
    with _opened(path) as (stream, share):
        while lines := list(islice(stream, CHUNK_ROWS)):
            numbers, records = [], []
            for line in lines:
                number += 1
                if line.isspace():
                    continue
                record = _record(line)
                if isinstance(record, str):
                    bad.add(number, "line", record)
                    continue
                numbers.append(number)
                records.append(record)
            values = [[record.get(name) for record in records] for name in wanted]
            yield Columns(numbers.__getitem__, "line", values)
            done(share())


def _header(stream: BinaryIO, kind: str) -> list[str]:
    """The header line of a table. Not by pyarrow, which reads ahead of what is asked for."""
    with TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as text:
        names = next(csv.reader(text, delimiter=DELIMITERS[kind]), [])
    if not names:
        raise EOFError("it is empty, or its first line is")
    return names


def _csv_reader(
    stream: BinaryIO,
    kind: str,
    header: list[str] | None,
    wanted: list[str],
    odd: deque[tuple[int, int, int]],
) -> pa_csv.CSVStreamingReader:
    """wanted: columns to read. odd: takes (number, fields, fields due) of rows of another width."""

    def other_width(row: pa_csv.InvalidRow) -> str:
        odd.append((row.number, row.actual_columns, row.expected_columns))
        return "skip"

    return pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False, column_names=header),
        pa_csv.ParseOptions(
            delimiter=DELIMITERS[kind],
            newlines_in_values=True,
            invalid_row_handler=other_width,
        ),
        # Bytes: "007" and "NA" stay what they are, and broken UTF-8 is ours to deal with.
        pa_csv.ConvertOptions(
            column_types={name: pa.binary() for name in wanted},
            strings_can_be_null=False,
            include_columns=wanted,
        ),
    )


def _csv_chunks(path, kind, header, wanted, bad, done) -> Iterator[Columns]:
    first = 1 if header else 2  # rows are counted as a reader of the file would, header included
    odd: deque[tuple[int, int, int]] = deque()  # rows of another width, not yet told
    # Of the i-th row of another width, its number less i: so many of them come before the row
    # that would have that number without them.
    shifts: list[int] = []
    good = 0
    with (
        _opened(path) as (stream, share),
        _csv_reader(stream, kind, header, wanted, odd) as reader,
    ):
        for batch in reader:
            while odd:
                number, have, due = odd.popleft()
                bad.add(number, "row", f"{have} fields where {due} are due")
                shifts.append(number - len(shifts))

            def number_of(k: int, start: int = first + good) -> int:
                return start + k + bisect_right(shifts, start + k)

            yield Columns(number_of, "row", [batch.column(name).to_pylist() for name in wanted])
            good += batch.num_rows
            done(share())
        for number, have, due in odd:  # of a last block that has no other rows
            bad.add(number, "row", f"{have} fields where {due} are due")


def _parquet_chunks(path, kind, header, wanted, bad, done) -> Iterator[Columns]:
    with parquet.ParquetFile(path) as file:
        total, start = max(file.metadata.num_rows, 1), 1
        for batch in file.iter_batches(CHUNK_ROWS, columns=wanted, use_threads=False):
            columns = [_without_clock(batch.column(name)).to_pylist() for name in wanted]
            yield Columns(lambda k, start=start: start + k, "row", columns)
            start += batch.num_rows
            done(start / total)


def _without_clock(column: pa.Array) -> pa.Array:
    """Points in time as microseconds since 1970."""
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        return column
    return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
