"""How each format of raw file is read: chunks of columns, with values as they are in the file.

    json           one object per line, plain or .gz: Amazon's dumps of 2014, 2018 and 2023, JSONL;
                   also the loose lines of old dumps, which are Python dicts instead of JSON
    csv, tsv       tables with a header line, plain or .gz, quoted as in RFC 4180
    inter          RecBole's atomic file: tab-separated, with headers such as ``user_id:token``
    parquet        modules/preparation/parquet.py, which needs pyarrow

Nothing is kept between chunks, so memory does not grow with the file. This file does not know what
the values mean or whether they are good: modules/preparation/rows.py does.
"""

import ast
import csv
import gzip
import json
import zlib
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from modules.preparation.columns import CHUNK_ROWS, Columns
from modules.preparation.extras import require
from utils.errors import UserError, limit
from utils.files import BYTE_ORDER_MARK

KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".inter": "inter",
    ".parquet": "parquet",
}
DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
MAX_FIELD = 1 << 23  # characters of a table's field; a quote that is never closed ends here
LOOK_AHEAD = 1000  # lines of JSON whose keys count as the columns: not every record has all
UNREADABLE = (OSError, EOFError, zlib.error, csv.Error)


class BadLines:
    """Lines that cannot be used: counted, and the first few kept to be shown. strict: an error."""

    SHOWN = 5

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, number: int, unit: str, problem: str) -> None:
        """Count one. number, unit: 7, "line". Raises UserError under --strict."""
        message = f"{self.path}, {unit} {number}: {problem}"
        if self.strict:
            raise UserError(f"{message}. Fix it, or leave out --strict to skip it.")
        self.count += 1
        insort(self._first, (number, message))  # within a chunk they do not come in order
        del self._first[self.SHOWN :]

    @property
    def first(self) -> list[str]:
        """What is wrong with the first few."""
        return [message for _, message in self._first]


def kind_of(path: Path) -> str:
    """The format by the file's ending; UserError where the ending is not known."""
    name = path.name.lower().removesuffix(".gz")
    for ending, kind in KINDS.items():
        if name.endswith(ending):
            return kind
    known = "|".join(dict.fromkeys(KINDS.values()))
    raise UserError(f"{path}: no format is known for this ending. Give --format {known}.")


def column_names(path: Path, kind: str, header: list[str] | None) -> list[str]:
    """The columns of a table, or the keys of the first lines of JSON.

    Args:
        header: names for a table that has no header line.

    Raises:
        UserError: for a file that cannot be read as ``kind``.
    """
    try:
        if kind == "parquet":
            return _parquet().column_names(path)
        with _opened(path) as (stream, _):
            if kind == "json":
                return _keys(path, stream)
            return header or _header(_table_rows(stream, kind))
    except UNREADABLE as error:
        raise UserError(
            f"{path}: cannot be read as {kind} ({error}). See --format, or get the file again."
        ) from error


def column_chunks(
    path: Path, kind: str, header: list[str] | None, wanted: list[str], bad: BadLines
) -> Iterator[Columns]:
    """The wanted columns of a file, chunk after chunk. bad: takes the lines that have no columns.

    Raises:
        UserError: for a file that is broken or cut short.
    """
    if kind == "json":
        chunks = _json_chunks(path, wanted, bad)
    elif kind == "parquet":
        chunks = _parquet().column_chunks(path, wanted)
    else:
        chunks = _table_chunks(path, kind, header, wanted, bad)
    rows = 0
    try:
        for chunk in chunks:
            rows += len(chunk.numbers)
            yield chunk
    except UNREADABLE as error:
        raise UserError(
            f"{path}: reading failed after {rows:,} rows ({error}). The file may be cut short, or "
            "a quote in it is never closed. Get it again, or fix it."
        ) from error


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
        # Old dumps: Python dicts. Literals only, so that nothing in the file is ever run.
        try:
            record = ast.literal_eval(line.decode("utf-8").strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return f"not a JSON object ({broken})"
    except RecursionError:
        return "not a JSON object (nested too deep)"
    return record if isinstance(record, dict) else f"{limit(record)} is not a JSON object"


def _keys(path: Path, stream: BinaryIO) -> list[str]:
    """The keys of the first lines of JSON, each once, in the order in which they come."""
    names: dict[str, None] = {}
    for number, line in enumerate(islice(stream, LOOK_AHEAD)):
        if number == 0 and line.lstrip(BYTE_ORDER_MARK + b" \t").startswith(b"["):
            raise UserError(
                f"{path}: is one JSON array; it must be one object per line. Convert it, as with "
                "`jq -c '.[]'`."
            )
        record = _record(line)
        names.update(dict.fromkeys(record if isinstance(record, dict) else ()))
    return list(names)


def _json_chunks(path: Path, wanted: list[str], bad: BadLines) -> Iterator[Columns]:
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
            yield Columns(numbers, "line", values, share())


def _table_rows(stream: BinaryIO, kind: str) -> Iterator[list[str]]:
    """The rows of a table, header included; a blank line is an empty list.

    Read as Latin-1, which gives each byte back: rows.py decides what broken UTF-8 means.
    """
    if stream.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        stream.seek(0)
    csv.field_size_limit(MAX_FIELD)
    return csv.reader(TextIOWrapper(stream, "latin-1", newline=""), delimiter=DELIMITERS[kind])


def _header(rows: Iterator[list[str]]) -> list[str]:
    """The names in the first row of a table; the row is taken from ``rows``."""
    names = [name.encode("latin-1").decode("utf-8", "replace") for name in next(rows, [])]
    if not names:
        raise EOFError("it is empty, or its first line is")
    return names


def _table_chunks(
    path: Path, kind: str, header: list[str] | None, wanted: list[str], bad: BadLines
) -> Iterator[Columns]:
    with _opened(path) as (stream, share):
        rows = _table_rows(stream, kind)
        number = 0 if header else 1  # the header line is row 1; blank lines are not counted
        names = header or _header(rows)
        places = [names.index(name) for name in wanted]
        while chunk := list(islice(rows, CHUNK_ROWS)):
            numbers, good = [], []
            for row in filter(None, chunk):
                number += 1
                if len(row) != len(names):
                    bad.add(number, "row", f"{len(row)} field(s), must be {len(names)}")
                    continue
                numbers.append(number)
                good.append(row)
            values = [[row[k].encode("latin-1") for row in good] for k in places]
            yield Columns(numbers, "row", values, share())


def _parquet() -> ModuleType:
    """The reader of Parquet, which imports pyarrow."""
    require("pyarrow", "Parquet files")
    from modules.preparation import parquet

    return parquet
