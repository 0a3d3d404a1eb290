"""The files that lists of many people are written to: CSV, JSON lines, Parquet, SQLite.

Lines of CSV and of JSON are a file as they come. Parquet and SQLite, which cannot be broken off and
gone on with, are made at the end: until then their rows are lines of JSON.
"""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from modules.preparation.extras import require
from utils.console import printable
from utils.errors import UserError
from utils.growing_files import Converter, check_growing

ENDINGS = (".csv", ".jsonl", ".parquet", ".sqlite")
ROWS = 1 << 16  # of Parquet or SQLite that are in memory together


class Row(NamedTuple):
    """A recommended item, by the original ids."""

    user: str | None  # None: somebody who is not in the data
    rank: int  # from 1
    item: str
    title: str | None  # None: the data have none
    probability: float
    reason: str | None = None  # None: none was asked for


def columns(reasons: bool) -> tuple[str, ...]:
    """The names of the columns, with or without the reasons."""
    return Row._fields if reasons else Row._fields[:-1]


def check_list_file(path: Path, overwrite: bool) -> None:
    """UserError where lists cannot be written to the file of ``--out``: asked before the work."""
    if path.suffix not in ENDINGS:
        raise UserError(f"--out {path}: must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if path.suffix == ".parquet":
        require("pyarrow", "Parquet files", "Or name a file that ends in .csv or .sqlite.")
    check_growing(path, overwrite)


def head(ending: str, reasons: bool) -> bytes:
    """What stands above the rows in the file, or in the part that it is made of."""
    return _csv([columns(reasons)]) if ending == ".csv" else b""


def lines(ending: str, rows: Sequence[Row], reasons: bool) -> bytes:
    """Rows as they stand in the file, or in the part that it is made of; not for JSON lines."""
    cut = [row[: len(columns(reasons))] for row in rows]
    if ending == ".csv":
        return _csv(cut)
    return "".join(json.dumps(row) + "\n" for row in cut).encode()


def converter(ending: str, reasons: bool) -> Converter | None:
    """By which the file is made of its part; None where that is the file."""
    if ending == ".parquet":
        return lambda part, path: _write_parquet(part, path, reasons)
    if ending == ".sqlite":
        return lambda part, path: _write_sqlite(part, path, reasons)
    return None


def _csv(rows: Sequence[Sequence]) -> bytes:
    """Lines of CSV as in RFC 4180; control characters as escapes, so that a row is one line."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows(
        [printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return out.getvalue().encode()


def _read(part: Path) -> Iterator[list[list]]:
    """The rows of a part, some at a time."""
    with part.open("rb") as file:
        while some := [json.loads(line) for line in islice(file, ROWS)]:
            yield some


def _write_parquet(part: Path, path: Path, reasons: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"rank": pa.int32(), "probability": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns(reasons)])
    with pq.ParquetWriter(path, schema) as writer:
        for rows in _read(part):
            arrays = [pa.array(cells, kind) for cells, kind in zip(zip(*rows), schema.types)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _write_sqlite(part: Path, path: Path, reasons: bool) -> None:
    kinds = {"rank": "INTEGER NOT NULL", "item": "TEXT NOT NULL", "probability": "REAL NOT NULL"}
    table = ", ".join(f"{name} {kinds.get(name, 'TEXT')}" for name in columns(reasons))
    places = ", ".join("?" * len(columns(reasons)))
    base = sqlite3.connect(path)
    try:
        base.execute("PRAGMA journal_mode = OFF")  # a kill leaves nothing: it is made anew
        base.execute("PRAGMA synchronous = OFF")  # and flushed before it takes its name
        base.execute(f"CREATE TABLE recommendations ({table})")
        for rows in _read(part):
            base.executemany(f"INSERT INTO recommendations VALUES ({places})", rows)
            base.commit()
        base.execute("CREATE INDEX recommendations_user ON recommendations (user)")
        base.commit()
    except sqlite3.Error as error:  # a full disk
        raise OSError(f"SQLite: {error}") from error
    finally:
        base.close()
