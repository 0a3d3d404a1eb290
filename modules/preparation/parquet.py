"""Parquet files, read by pyarrow. Import this file only where one is read: pyarrow is an extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from modules.preparation.columns import CHUNK_ROWS, Columns


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    """The file; what pyarrow raises over it comes out as OSError."""
    try:
        with ParquetFile(path) as file:
            yield file
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def column_names(path: Path) -> list[str]:
    """The columns of a file. Raises OSError where it is broken."""
    with _opened(path) as file:
        return file.schema_arrow.names


def column_chunks(path: Path, wanted: list[str]) -> Iterator[Columns]:
    """The wanted columns, chunk after chunk. Raises OSError where the file is broken."""
    with _opened(path) as file:
        total, start = max(file.metadata.num_rows, 1), 1
        for batch in file.iter_batches(CHUNK_ROWS, columns=wanted, use_threads=False):
            numbers = range(start, start + batch.num_rows)
            start = numbers.stop
            values = [_without_clock(batch.column(name)).to_pylist() for name in wanted]
            yield Columns(numbers, "row", values, (start - 1) / total)


def _without_clock(column: pa.Array) -> pa.Array:
    """Points in time as microseconds since 1970."""
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        return column
    return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
