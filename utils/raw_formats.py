"""How each format of raw file is read: chunks of columns with values as they stand in the file.

    json           one object a line, plain or .gz: Amazon's dumps of 2014, 2018 and 2023, JSONL;
                   also the loose lines of old dumps, which are Python dicts in place of JSON
    csv, tsv       tables with a header line, plain or .gz, quoted as in RFC 4180
    inter          RecBole's atomic file: tab-separated, with headers such as ``user_id:token``
    parquet        row groups

Nothing is kept between chunks, so memory does not grow with the file. What the values mean, and
whether they are good, is utils/raw_reviews.py's.
"""

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import csv, parquet

from utils.errors import UserError, limit

KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".inter": "inter",
    ".parquet": "parquet",
}
CHUNK_ROWS = 20_000
CHUNK_BYTES = 1 << 23  # of a table's text; a row must fit in one
LOOK_AHEAD = 1000  # lines of JSON whose keys count as the columns: not every record has all
UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)


class BadLines:
    """Lines that cannot be used: counted, the first few kept to be shown; strict: an error."""

    SHOWN = 5

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.count = 0
        self.first: list[str] = []

    def add(self, where: str, problem: str) -> None:
        """Count one. where: "line 7". Raises UserError under --strict."""
        message = f"{self.path}, {where}: {problem}"
        if self.strict:
            raise UserError(f"{message}. Mend the line, or leave --strict out to pass over it.")
        self.count += 1
        if len(self.first) < self.SHOWN:
            self.first.append(message)


class Columns(NamedTuple):
    """A chunk: the wanted columns, as long as each other, and what to call its k-th row."""

    where: Callable[[int], str]
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
                return _csv_reader(stream, kind, header, None, []).schema.names
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
                    bad.add(f"line {number}", record)
                    continue
                numbers.append(number)
                records.append(record)
            values = [[record.get(name) for record in records] for name in wanted]
            yield Columns(lambda k, numbers=numbers: f"line {numbers[k]}", values)
            done(share())


def _csv_reader(
    stream: BinaryIO,
    kind: str,
    header: list[str] | None,
    wanted: list[str] | None,
    odd: list[csv.InvalidRow],
) -> csv.CSVStreamingReader:
    """wanted: columns to read, all where None. odd: takes the rows of another width."""

    def other_width(row: csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    return csv.open_csv(
        stream,
        csv.ReadOptions(block_size=CHUNK_BYTES, use_threads=False, column_names=header),
        csv.ParseOptions(
            delimiter="," if kind == "csv" else "\t",
            newlines_in_values=True,
            invalid_row_handler=other_width,
        ),
        # Bytes: "007" and "NA" stay what they are, and broken UTF-8 is ours to deal with.
        csv.ConvertOptions(
            column_types={name: pa.binary() for name in wanted or ()},
            strings_can_be_null=False,
            include_columns=wanted,
        ),
    )


def _csv_chunks(path, kind, header, wanted, bad, done) -> Iterator[Columns]:
    first = 1 if header else 2  # rows are counted as a reader of the file would, header included
    odd: list[csv.InvalidRow] = []
    told = good = 0
    with _opened(path) as (stream, share):
        for batch in _csv_reader(stream, kind, header, wanted, odd):
            for row in odd[told:]:
                bad.add(
                    f"row {row.number}",
                    f"{row.actual_columns} fields where {row.expected_columns} are due",
                )
            told = len(odd)
            skipped = [row.number for row in odd]

            def where(k: int, start: int = first + good, skipped: list[int] = skipped) -> str:
                number = start + k  # among the rows of the right width; count the others in
                for other in skipped:
                    number += other <= number
                return f"row {number}"

            yield Columns(where, [batch.column(name).to_pylist() for name in wanted])
            good += batch.num_rows
            done(share())


def _parquet_chunks(path, kind, header, wanted, bad, done) -> Iterator[Columns]:
    with parquet.ParquetFile(path) as file:
        total, start = max(file.metadata.num_rows, 1), 1
        for batch in file.iter_batches(CHUNK_ROWS, columns=wanted, use_threads=False):
            columns = [_without_clock(batch.column(name)).to_pylist() for name in wanted]
            yield Columns(lambda k, start=start: f"row {start + k}", columns)
            start += batch.num_rows
            done(start / total)


def _without_clock(column: pa.Array) -> pa.Array:
    """Points in time as microseconds since 1970."""
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        return column
    return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
