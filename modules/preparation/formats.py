"""The formats of raw files, and which file reads each: chunks of columns, values as they stand.

    json           one object per line: Amazon's dumps of 2014, 2018 and 2023, JSONL (json_lines.py)
    csv, tsv       tables, with a header line or --columns; ratings.dat too (tables.py)
    inter          RecBole's atomic files: tab-separated, with headers such as ``user_id:token``
    pairs          ``user item`` a line, no header
    sequences      ``user item item ...``, a line a user (sequences.py)
    parquet        parquet.py, which needs pyarrow

All but Parquet may be gzip. Nothing is kept between chunks, so memory does not grow with the file.
This file does not know what the values mean or whether they are good: rows.py does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from modules.preparation import json_lines, sequences, tables
from modules.preparation.columns import BadLines, Columns, Sample
from modules.preparation.extras import require
from modules.preparation.lines import UNREADABLE
from modules.preparation.records import BLANK, Table
from modules.preparation.table_format import DELIMITERS, find_table
from utils.errors import UserError

TEXT = "text"  # of .txt: by what is in it
KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".jsonlines": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".dat": "csv",
    ".data": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".inter": "inter",
    ".item": "inter",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": TEXT,
}
FORMATS = ("json", "csv", "tsv", "inter", "parquet", "sequences", "pairs")


@dataclass(frozen=True)
class Asked:
    """What flags say of how to read; None: to be found."""

    sep: str | None = None
    quoted: str | None = None  # of table_format.QUOTED
    escape: str | None = None
    no_time: bool = False  # take the file's order


@dataclass(frozen=True)
class Format:
    """How a file is read."""

    kind: str  # of FORMATS
    table: Table | None = None  # of csv, tsv, inter, pairs; of sequences its separator
    once: tuple[str, ...] = ()  # of json: keys that no line may give twice; none: those wanted


def kind_of(path: Path) -> str:
    """The format by the file's ending; UserError where the ending is not known."""
    name = path.name.lower().removesuffix(".gz")
    for ending, kind in KINDS.items():
        if name.endswith(ending):
            return kind
    raise UserError(
        f"{path}: no format is known for this ending. Give --format {'|'.join(FORMATS)}."
    )


def find_format(
    path: Path, kind: str | None, header: list[str] | None, asked: Asked, known: set[str]
) -> Format:
    """Find out how to read a file.

    Args:
        kind: of FORMATS; None: by the ending, of a .txt by its first lines.
        header: names of the columns, for a table without a header line.
        known: names, in small letters, that the user's and item's column may have.

    Raises:
        UserError: where it cannot be read so, or a flag does not fit it.
    """
    kind = kind or kind_of(path)
    with _readable(path, kind):
        if kind == TEXT:
            plain = header or asked.sep or asked.quoted or asked.escape
            kind = "csv" if plain else sequences.kind_of_text(path, known)
        flags = {"--columns": header, "--quoted": asked.quoted, "--escape": asked.escape}
        flags["--sep"] = asked.sep if kind not in ("sequences", "pairs") else None
        given = [flag for flag, value in flags.items() if value]
        if given and kind not in DELIMITERS:
            raise UserError(
                f"{', '.join(given)}: for csv, tsv and inter files only; {path} is read as {kind}. "
                f"Leave {'it' if len(given) == 1 else 'them'} out, or give --format csv."
            )
        if kind in ("sequences", "pairs"):
            return Format(kind, Table(asked.sep or BLANK, "no", names=sequences.NAMES))
        if kind in DELIMITERS:
            return Format(
                kind,
                find_table(path, kind, header, asked.sep, asked.quoted, asked.escape),
            )
    return Format(kind)


def sample(path: Path, how: Format, given: set[str]) -> Sample:
    """The columns of a file, and what the first rows hold.

    Args:
        given: names of columns; keys of JSON that may come up late.

    Raises:
        UserError: for a file that cannot be read so.
    """
    with _readable(path, how.kind):
        if how.kind == "json":
            return json_lines.sample(path, given)
        if how.kind == "parquet":
            return _parquet().sample(path)
        if how.kind == "sequences":
            return Sample(list(sequences.NAMES), {})
        return tables.sample(path, how.table)


def column_chunks(
    path: Path,
    how: Format,
    wanted: list[str],
    bad: BadLines,
    looks_like_row: Callable[[list[str]], bool],
    watched: Callable[[str], bool] | None,
) -> Iterator[Columns]:
    """The wanted columns of a file, chunk after chunk.

    Args:
        bad: takes the lines that have no columns.
        looks_like_row: see tables.chunks.
        watched: see json_lines.chunks.

    Raises:
        UserError: for a file that is broken or cut short.
    """
    if how.kind == "json":
        chunks = json_lines.chunks(path, wanted, how.once or wanted, bad, watched)
    elif how.kind == "parquet":
        chunks = _parquet().column_chunks(path, wanted)
    elif how.kind == "sequences":
        chunks = sequences.chunks(path, how.table.sep, wanted, bad)
    else:
        chunks = tables.chunks(path, how.table, wanted, bad, looks_like_row)
    rows = 0
    try:
        for chunk in chunks:
            rows += len(chunk.numbers)
            yield chunk
    except UNREADABLE as error:
        raise UserError(
            f"{path}: reading failed after {rows:,} rows ({error}). The file may be cut short. "
            "Get it again, or fix it."
        ) from error


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """Turns what reading the start of a file raises into a UserError that names it."""
    try:
        yield
    except UNREADABLE as error:
        raise UserError(
            f"{path}: cannot be read as {kind} ({error}). See --format, or get the file again."
        ) from error


def _parquet() -> ModuleType:
    """The reader of Parquet, which imports pyarrow."""
    require("pyarrow", "Parquet files")
    from modules.preparation import parquet

    return parquet
