"""What evaluations left in a run's folder, read back; and how a figure of it is written.

Models and baselines leave the same files; a baseline's result names its ``method``, a model's is
that of its training.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modules.runs.model_card import write_model_card
from modules.runs.record import RUN_FILE, RunRecord, model_title, read_record
from modules.tasks import RANKING_TASKS, TASKS
from utils import distributed
from utils.console import by_product, say
from utils.errors import UserError
from utils.json_files import read_json, read_jsonl, write_json, write_jsonl
from utils.metrics.ranking import shown_metrics
from utils.metrics.trec import write_trec

# What a report reads of a result.
RESULT = ("dataset", "command", "arguments", "versions", "commit", "held_out_edges_seen")
RESULT += ("held_out_records_seen", "users", "protocol", "item_ids", "seed", "decode")
TEXT_COLUMNS = ("BLEU-1", "BLEU-4", "ROUGE-1-F", "ROUGE-2-F", "ROUGE-L-F")
VARIETY_COLUMNS = ("distinct-1", "distinct-2", "USR", "FMR", "FCR", "DIV")
COLUMNS = {
    **dict.fromkeys(RANKING_TASKS, tuple(shown_metrics())),
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


def _check_entries(path: Path, record: Any, needed: Sequence[str]) -> None:
    lacking = [key for key in needed if not isinstance(record, dict) or key not in record]
    if lacking:
        raise UserError(
            f"{path}: holds no {', '.join(map(repr, lacking))}; this is not a record as the "
            "scripts write it. Put the original file back."
        )


def is_baseline(result: dict[str, Any]) -> bool:
    """Whether a result is a baseline's: nothing was trained by pretrain.py."""
    return "training" not in result


def method_of(result: dict[str, Any]) -> str:
    """The name of a baseline, or the --method of a model, and whether --linear was added to it."""
    if is_baseline(result):
        return result["method"]
    method = result["training"]["arguments"]["method"]
    return f"{method} + linear" if result["arguments"].get("linear") else method


def title_of(result: dict[str, Any]) -> str:
    """A method's or baseline's name as people write it, and whether --linear was added to it."""
    if is_baseline(result):
        return result.get("title") or result["method"].replace("_", " ")  # older ones have no title
    name = model_title(result["training"]["arguments"]).partition(",")[0]
    return f"{name} + linear" if result["arguments"].get("linear") else name


def seen_of(result: dict[str, Any]) -> str | None:
    """What was done about items that users had before, where a test item is one; else None. Results
    that differ in it are not comparable."""
    return result["arguments"].get("seen") if result.get("target_seen") else None


def figure(value: float | None) -> str:
    """Fractions with four digits, per cents with two, nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def short_figure(value: float | None) -> str:
    """The same, a fraction without its leading 0: ``.0123``."""
    return figure(value).removeprefix("0")


# ------------------------------------------------------------------------------ whole folders


class RunResults(NamedTuple):
    """What a folder holds, but the model."""

    folder: Path
    record: RunRecord | None  # run.json; None for a baseline
    log: list[dict[str, Any]]  # train_log.jsonl
    results: dict[str, dict[str, Any]]  # task -> <task>.json
    rows: dict[str, list[dict[str, Any]]]  # task -> <task>.jsonl
    baselines: dict[str, list[dict[str, Any]]]  # task -> results of baselines, for comparison

    @property
    def first(self) -> dict[str, Any]:
        """The record of the training, or of an evaluation where nothing was trained."""
        return self.record.as_json() if self.record else next(iter(self.results.values()))


def read_results(folder: Path, baselines: Sequence[Path] | None) -> RunResults:
    """Read a run's folder, and the baselines to compare it with.

    baselines: their folders; None = those next to the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where a folder holds neither a run nor a result, or a file is broken.
    """
    results = {task: result for task in TASKS if (result := read_result(folder, task))}
    record = read_record(folder) if (folder / RUN_FILE).is_file() else None
    if record is None and not results:
        raise UserError(
            f"{folder}: neither run.json nor {', '.join(f'{task}.json' for task in TASKS)}. Name "
            "a folder that pretrain.py, an evaluation or compare.py wrote."
        )
    for task, result in results.items():
        _check_entries(folder / f"{task}.json", result, RESULT)
    log = folder / "train_log.jsonl"
    kept = {task: folder / f"{task}.jsonl" for task in results}
    dataset = record.dataset if record else next(iter(results.values()))["dataset"]
    return RunResults(
        folder,
        record,
        read_jsonl(log, growing=True) if log.is_file() else [],
        results,
        {task: read_jsonl(path) for task, path in kept.items() if path.is_file()},
        _baselines(folder, dataset, baselines),
    )


def _baselines(
    folder: Path, dataset: str, named: Sequence[Path] | None
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {task: [] for task in TASKS}
    beside = sorted(folder.resolve().parent.iterdir()) if named is None else named
    for other in beside:
        if named is None and not (other.is_dir() and other.name.startswith(f"{dataset}-")):
            continue
        results = {task: result for task in TASKS if (result := read_result(other, task))}
        fitting = {t: r for t, r in results.items() if is_baseline(r) and r["dataset"] == dataset}
        if named is not None and not fitting:
            raise UserError(
                f"--baselines {other}: no results of a baseline on {dataset!r}, which compare.py "
                "baselines writes."
            )
        for task, result in fitting.items() if other.resolve() != folder.resolve() else ():
            found[task].append(result)
    return found


# ---------------------------------------------------------------------------------- writing


def write_results(
    folder: Path,
    name: str,
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    trec: bool = False,
) -> None:
    """Say the metrics, and write ``<name>.json``, ``<name>.jsonl`` and the model card; of several
    processes, the main one does.

    trec: write ``<name>.run.trec`` and ``<name>.qrels.trec`` as well.
    """
    if not distributed.is_main():
        return
    metrics = result["metrics"]
    width = max(map(len, metrics))
    say(f"{name}: {len(rows):,} rows, protocol {result['protocol']}, items {result['item_ids']}")
    for metric, value in metrics.items():  # before they are written: a full disk takes them not
        print(f"    {metric:<{width}}  {value:.4f}", flush=True)
    write_jsonl(folder / f"{name}.jsonl", rows)
    if trec:
        write_trec(folder, name, rows)
    write_json(folder / f"{name}.json", result)
    with by_product("README.md"):
        write_model_card(folder)
    say(f"written: {folder / name}.json, {folder / name}.jsonl")
