"""Rankings in the formats of TREC, which trec_eval, ir_measures, ranx and others read.

A run line is ``query Q0 document rank score tag``, a line of judgements ``query 0 document 1``.
Queries and documents are the data folder's own user and item numbers: the tools split lines at
white space, and original ids may hold some.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.files import as_typed

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
