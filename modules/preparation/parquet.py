"""Parquet files, read by pyarrow. Import this file only where one is read: pyarrow is an extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from modules.preparation.columns import Columns, Sample

CHUNK_ROWS = 20_000
SAMPLE_ROWS = 1000


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    """The file; what pyarrow raises over it comes out as OSError."""
    try:
        with ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise OSError(str(error)) from error


def sample(path: Path) -> Sample:
    """The columns, and what the first rows hold. Raises OSError where the file is broken."""
    with _opened(path) as file:
        names = file.schema_arrow.names
        values: dict[str, list] = {}
        if len(set(names)) == len(names):  # else rows.py names the column that is there twice
            batch = next(file.iter_batches(SAMPLE_ROWS, use_threads=False), None)
            for name in names if batch is not None else ():
                values[name] = _as_text(batch.column(name)).to_pylist()
        return Sample(names, values)


def column_chunks(path: Path, wanted: list[str]) -> Iterator[Columns]:
    """The wanted columns, chunk after chunk. Raises OSError where the file is broken."""
    with _opened(path) as file:
        total, start = max(file.metadata.num_rows, 1), 1
        for batch in file.iter_batches(CHUNK_ROWS, columns=wanted, use_threads=False):
            numbers = range(start, start + batch.num_rows)
            start = numbers.stop
            values = [_without_clock(batch.column(name)).to_pylist() for name in wanted]
            yield Columns(numbers, "row", values, (start - 1) / total)


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _as_text(column: pa.Array) -> pa.Array:
    """Points in time as texts, which show that they are dates."""
    if not _is_moment(column.type):
        return column
    return column.cast(pa.timestamp("s"), safe=False).cast(pa.string())


def _without_clock(column: pa.Array) -> pa.Array:
    """Points in time as whole numbers since 1970, in the unit that the file has."""
    if not _is_moment(column.type):
        return column
    return column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
