"""What evaluations left in a run's folder, read back; and how a figure of it is written.

Models and baselines leave the same files; a baseline's result names its ``method``, a model's is
that of its training.
"""

from pathlib import Path
from typing import Any

from utils.checkpoint import read_json
from utils.errors import UserError

TASKS = ("sequential", "direct", "explanation")
RANKING_TASKS = ("sequential", "direct")
RANKING_COLUMNS = ("HR@1", "HR@5", "HR@10", "NDCG@5", "NDCG@10")  # NDCG@1 is HR@1
TEXT_COLUMNS = ("BLEU-1", "BLEU-4", "ROUGE-1-F", "ROUGE-2-F", "ROUGE-L-F")
VARIETY_COLUMNS = ("distinct-1", "distinct-2", "USR", "FMR", "FCR", "DIV")
COLUMNS = {
    "sequential": RANKING_COLUMNS,
    "direct": RANKING_COLUMNS,
    "explanation": TEXT_COLUMNS + VARIETY_COLUMNS,
}


def read_result(folder: Path, task: str) -> dict[str, Any] | None:
    """A run's ``<task>.json``; None where the run was not evaluated on it.

    Raises:
        UserError: where the folder is missing, or the file is not what an evaluation writes.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Name folders that evaluations wrote to.")
    path = folder / f"{task}.json"
    if not path.is_file():
        return None
    result = read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get("metrics"), dict):
        raise UserError(f"{path}: holds no 'metrics'. Evaluate the run again.")
    return result


def is_baseline(result: dict[str, Any]) -> bool:
    """Whether a result is a baseline's: nothing was trained by pretrain.py."""
    return "training" not in result


def method_of(result: dict[str, Any]) -> str:
    """The name of a baseline, or the --method of a model."""
    return result.get("method") or result["training"]["arguments"]["method"]


def figure(value: float | None) -> str:
    """Fractions with four digits, per cents with two, nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
