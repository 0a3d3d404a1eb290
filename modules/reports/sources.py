"""What a report is made of: a run's folder, read whole and checked, and baselines beside it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modules.runs.kinds import LogLine, RankedRow, Result, TextRow, Verdict
from modules.runs.record import RunRecord
from modules.runs.results import is_baseline, owner_of, read_all_results, read_rows, same_data
from modules.runs.verdict import read_verdict
from modules.tasks import RANKING_TASKS, TASKS
from utils.console import say
from utils.errors import UserError, limit
from utils.files import as_typed, readable_path
from utils.json_files import read_jsonl


class RunResults(NamedTuple):
    """What a folder holds, but the model."""

    folder: Path
    record: RunRecord | None  # run.json; None for a baseline
    log: list[LogLine]  # train_log.jsonl
    results: dict[str, Result]  # by task
    ranked: dict[str, list[RankedRow]]  # by task; none where the rows are not kept
    texts: list[TextRow]
    baselines: dict[str, list[Result]]  # by task, for comparison
    verdict: Verdict | None  # verdict.json

    @property
    def first(self) -> RunRecord | Result:
        """The record of the training, or of an evaluation where nothing was trained."""
        return self.record or next(iter(self.results.values()))


def read_results(folder: Path, baselines: Sequence[Path] | None) -> RunResults:
    """Read a run's folder, and the baselines to compare it with.

    baselines: their folders; None = those next to the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where a folder holds neither a run nor a result, or a file is broken.
    """
    owner = owner_of(folder)
    record = owner if isinstance(owner, RunRecord) else None
    results = read_all_results(folder, owner, strict=False)
    if record is None and not results:
        raise UserError(
            f"{folder}: neither run.json nor {', '.join(f'{task}.json' for task in TASKS)}. Name "
            "a folder that pretrain.py, an evaluation or compare.py wrote."
        )
    rows = {
        task: read_rows(folder, task, result)
        for task, result in results.items()
        if os.path.lexists(folder / f"{task}.jsonl")
    }
    first = record or next(iter(results.values()))
    return RunResults(
        folder,
        record,
        read_log(folder),
        results,
        {task: rows[task] for task in RANKING_TASKS if task in rows},
        rows.get("explanation", []),
        _baselines(folder, first, baselines),
        _verdict(folder, record),
    )


def _verdict(folder: Path, record: RunRecord | None) -> Verdict | None:
    """The verdict on the run. A file of that name that is none costs the rest of the report
    nothing."""
    if record is None:
        return None
    try:
        return read_verdict(folder, record)
    except UserError as error:
        say(f"warning: the report is without a verdict: {error}")
        return None


def read_log(folder: Path) -> list[LogLine]:
    """The lines of train_log.jsonl. A process that was killed may have left half a line: it
    must not cost the report of an evaluation that has just been made."""
    path = folder / "train_log.jsonl"
    if not os.path.lexists(path):
        return []
    try:
        return read_jsonl(path, LogLine, growing=True)
    except UserError as error:
        say(f"warning: the report is without the training: {error}")
        return []


def _baselines(
    folder: Path, own: RunRecord | Result, named: Sequence[Path] | None
) -> dict[str, list[Result]]:
    """Results of baselines on the run's data, by task: of the folders that are named, else of
    those beside the run's, where what cannot be used is left out."""
    found: dict[str, list[Result]] = {task: [] for task in TASKS}
    if named is None:
        with readable_path(folder, ""):
            beside = sorted(as_typed(folder).parent.iterdir())
        named_so = [path for path in beside if path.name.startswith(f"{own.dataset}-")]
        others = [path for path in named_so if os.path.isdir(path)]
    else:
        others = list(named)
    for other in others:
        try:
            fitting = _fitting(other, own)
        except UserError as error:
            if named is not None:
                raise
            say(f"warning: left out of the report: {error}")
            continue
        for task, result in fitting.items() if other.resolve() != folder.resolve() else ():
            found[task].append(result)
    return found


def _fitting(folder: Path, own: RunRecord | Result) -> dict[str, Result]:
    """A baseline's results; UserError where there are none on the run's data."""
    results = read_all_results(folder, owner_of(folder))
    on_name = {
        task: result
        for task, result in results.items()
        if is_baseline(result) and result.dataset == own.dataset
    }
    if not on_name:
        raise UserError(
            f"{folder}: no results of a baseline on {limit(own.dataset)}, which compare.py "
            "baselines writes."
        )
    fitting = {
        task: result
        for task, result in on_name.items()
        if same_data(result.fingerprints, own.fingerprints) is not False
    }
    if not fitting:
        raise UserError(
            f"{folder}: of other data of the name {limit(own.dataset)}: sequential.txt or "
            "datamaps.json differ. Run compare.py baselines on the run's data folder."
        )
    return fitting
