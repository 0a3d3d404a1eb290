"""Rankings in the formats of TREC, which trec_eval, ir_measures, ranx and others read.

A run line is ``query Q0 document rank score tag``, a line of judgements ``query 0 document 1``.
Queries and documents are the data folder's own user and item numbers: the tools split lines at
white space, and original ids may hold some.
"""

import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError, limit
from utils.files import as_typed, check_file, readable_path

TREC_ENDINGS = (".run.trec", ".qrels.trec")


def run_lines(rows: Iterable[Mapping[str, Any]], tag: str) -> list[str]:
    """Rows of ``<task>.jsonl`` -> run lines.

    The tools order by score alone, some in float32, and break ties by document: the score written
    is the place in the list, counted from its end, so that no order is lost. Log-probabilities
    are in the ``.jsonl``.
    """
    return [
        f"{row['user']} Q0 {item} {place} {len(row['items']) - place + 1} {tag}"
        for row in rows
        for place, item in enumerate(row["items"], start=1)
        if item
    ]


def qrels_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rows of ``<task>.jsonl`` -> judgements: each user's target is relevant, nothing else is."""
    return [f"{row['user']} 0 {row['target']} 1" for row in rows]


def trec_files(folder: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    """The contents of ``<name>.run.trec``, tagged with the folder's name, and
    ``<name>.qrels.trec``."""
    tag = "-".join(as_typed(folder).name.split()) or "run"  # a tag holds no white space
    lines = run_lines(rows, tag), qrels_lines(rows)
    return {name + end: "".join(f"{x}\n" for x in part) for end, part in zip(TREC_ENDINGS, lines)}


class RunLine(NamedTuple):
    """A line of a run."""

    line: int  # its number in the file, from 1
    query: str
    document: str
    rank: int
    score: float


def read_run(path: Path) -> dict[str, list[RunLine]]:
    """The lists of a run file by query, best first: by score, of equal scores by rank, then by
    line.

    Raises:
        UserError: naming the line, where it is not ``query Q0 document rank score tag``, a document
            is listed twice, or ranks and scores order a list in two ways.
    """
    missing = "Name a run file: query Q0 document rank score tag."
    check_file(path, missing)
    lists: dict[str, list[RunLine]] = {}
    with readable_path(path, missing), path.open("rb") as file:
        for number, content in enumerate(file, start=1):
            if row := _run_line(path, number, content):
                lists.setdefault(row.query, []).append(row)
    if not lists:
        raise UserError(f"{path}: the file is empty. {missing}")
    return {query: _ordered(path, rows) for query, rows in lists.items()}


def _run_line(path: Path, number: int, content: bytes) -> RunLine | None:
    """A line read; None for a blank one."""
    where = f"{path}, line {number}"
    try:
        text = content.decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: is not UTF-8. Save the file as UTF-8.") from error
    if not text:
        return None
    fields = re.split(r"[ \t]+", text)
    if len(fields) != 6:
        raise UserError(
            f"{where}: {len(fields)} fields, {limit(text)}; must be six: query Q0 document rank "
            "score tag. Where ids hold blanks, write the data folder's numbers."
        )
    query, _, document, rank, score, _ = fields
    if not re.fullmatch(r"[0-9]{1,18}", rank):
        raise UserError(f"{where}: rank {limit(rank)} must be a whole number.")
    try:
        value = float(score)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e30:  # nor NaN
        raise UserError(f"{where}: score {limit(score)} must be a number.")
    return RunLine(number, query, document, int(rank), value)


def _ordered(path: Path, rows: list[RunLine]) -> list[RunLine]:
    seen: dict[str, int] = {}
    for row in rows:
        if row.document in seen:
            raise UserError(
                f"{path}, line {row.line}: document {limit(row.document)} is listed twice for "
                f"query {limit(row.query)}, first in line {seen[row.document]}. Leave one out."
            )
        seen[row.document] = row.line
    ordered = sorted(rows, key=lambda row: (-row.score, row.rank, row.line))
    if len({row.rank for row in rows}) == len(rows):  # else they order nothing
        for before, row in pairwise(ordered):
            if row.rank < before.rank:
                raise UserError(
                    f"{path}, line {row.line}: rank {row.rank} with a lower score than rank "
                    f"{before.rank} of line {before.line}. Higher scores come first; mend one."
                )
    return ordered
