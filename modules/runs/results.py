"""What evaluations left in a run's folder, read back as what it must be; and how a figure of it is
written.

Models and baselines leave the same files (modules/runs/writing.py); a baseline's result names its
``method``, a model's is that of its training.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from modules.runs.kinds import (
    ROWS,
    BaselineRecord,
    Difference,
    EvaluationArguments,
    ModelArguments,
    RankedRow,
    Result,
    TextRow,
)
from modules.runs.record import REQUIRED_DATA, RUN_FILE, RunRecord, model_title, read_record
from modules.tasks import RANKING_TASKS, TASKS
from utils.console import say
from utils.errors import UserError, limit
from utils.files import sha256
from utils.json_files import check_type, read_json, read_jsonl
from utils.metrics.ranking import shown_metrics

BASELINE_FILE = "baseline.json"
TEXT_COLUMNS = ("BLEU-1", "BLEU-4", "ROUGE-1-F", "ROUGE-2-F", "ROUGE-L-F")
VARIETY_COLUMNS = ("distinct-1", "distinct-2", "USR", "FMR", "FCR", "DIV")
COLUMNS = {
    **dict.fromkeys(RANKING_TASKS, tuple(shown_metrics())),
    "explanation": TEXT_COLUMNS + VARIETY_COLUMNS,
}


def owner_of(folder: Path) -> RunRecord | BaselineRecord | None:
    """The record of a run's or a baseline's folder; None where there is none, as in baselines of
    older versions.

    Raises:
        UserError: where the folder is missing, or its record is not one.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder. Name folders that evaluations wrote to.")
    if os.path.lexists(folder / RUN_FILE):
        return read_record(folder)
    path = folder / BASELINE_FILE
    return read_json(path, BaselineRecord) if os.path.lexists(path) else None


def read_result(folder: Path, task: str) -> Result | None:
    """A run's ``<task>.json``; None where the run was not evaluated on it.

    Raises:
        UserError: where the file is not what an evaluation writes.
    """
    path = folder / f"{task}.json"
    if not os.path.lexists(path):
        return None
    result = read_json(path, Result)
    check_type(path, result.arguments, EvaluationArguments)
    if result.training:
        check_type(path, result.training.arguments, ModelArguments)
    return result


def other_run(folder: Path, result: Result, owner: RunRecord | BaselineRecord | None) -> str:
    """Why a result is not of the run that is in its folder now; "" where it is, or where that is
    not known, as in folders of older versions."""
    if owner is None or "" in (owner.run_id, result.run_id) or owner.run_id == result.run_id:
        return ""
    name = RUN_FILE if isinstance(owner, RunRecord) else BASELINE_FILE
    return (
        f"a result of another run (run_id {limit(result.run_id)}) than {folder / name} is of "
        f"({limit(owner.run_id)}). Evaluate again."
    )


def read_all_results(
    folder: Path, owner: RunRecord | BaselineRecord | None, strict: bool = True
) -> dict[str, Result]:
    """The results of a folder, by task.

    strict: those of another run are an error; else they are left out, and it is said.

    Raises:
        UserError: where a file is not what an evaluation writes, or is of another run.
    """
    found = {}
    for task in TASKS:
        result = read_result(folder, task)
        reason = other_run(folder, result, owner) if result else ""
        if reason and strict:
            raise UserError(f"{folder / task}.json: {reason}")
        if reason:
            say(f"warning: left out: {folder / task}.json: {reason}")
        elif result:
            found[task] = result
    return found


def read_rows(folder: Path, task: str, result: Result) -> list[RankedRow] | list[TextRow]:
    """The rows that were written with a result.

    Raises:
        UserError: where the file is missing, or holds something else.
    """
    path = folder / f"{task}.jsonl"
    rows = read_jsonl(path, ROWS[task])
    wanted = result.files.get(path.name)  # not in results of older versions
    if wanted is not None and sha256(path) != wanted:
        raise UserError(
            f"{path}: not the rows that were written with {task}.json (checksum). Evaluate the run "
            "again, or put the original back."
        )
    if len(rows) != result.users:
        raise UserError(
            f"{path}: {len(rows):,} lines; {task}.json beside it is of {result.users:,}. Evaluate "
            "the run again, or put the original back."
        )
    return rows


def same_data(one: Mapping[str, str], other: Mapping[str, str]) -> bool | None:
    """Whether two data folders, by the fingerprints of their files, hold the same histories and
    ids; None where one of the two is not known, as in results of older versions."""
    known = all(name in prints for prints in (one, other) for name in REQUIRED_DATA)
    return all(one[name] == other[name] for name in REQUIRED_DATA) if known else None


def is_baseline(result: Result) -> bool:
    """Whether a result is a baseline's: nothing was trained by pretrain.py."""
    return result.training is None


def _as_ranked(name: str, result: Result) -> str:
    name = f"{name} + linear" if result.arguments.get("linear") else name
    graphs = result.training.arguments.get("item_graph", "none") != "none"
    alone = graphs and result.arguments.get("no_item_graph")
    return f"{name}, graphs left out" if alone else name


def method_of(result: Result) -> str:
    """The name of a baseline, or the --method of a model, and how it was ranked: --linear,
    --no_item_graph."""
    if result.training is None:
        return result.method
    return _as_ranked(result.training.arguments["method"], result)


def title_of(result: Result) -> str:
    """A method's or baseline's name as people write it, and how it was ranked."""
    if result.training is None:
        return result.title or result.method.replace("_", " ")  # older ones have no title
    return _as_ranked(model_title(result.training.arguments).partition(",")[0], result)


def seen_of(result: Result) -> str | None:
    """What was done about items that users had before, where a test item is one; else None. Results
    that differ in it are not comparable."""
    return result.arguments.get("seen") if result.target_seen else None


def figure(value: float | None) -> str:
    """Fractions with four digits, per cents with two, nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def short_figure(value: float | None) -> str:
    """The same, a fraction without its leading 0: ``.0123``."""
    return figure(value).removeprefix("0")


def signed(value: float) -> str:
    """A difference with its sign: ``+.0127``."""
    return ("-" if value < 0 else "+") + short_figure(abs(value))


def interval(found: Difference) -> str:
    """A difference and its interval: ``+.0127 (+.0110 to +.0145)``."""
    return f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"
