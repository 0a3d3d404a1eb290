"""Two methods, user by user: does one rank the held-out items higher, or is it chance?

A method is one run or several (seeds); with several, a user's figure is their mean. Runs that did
not rank the same items for the same users are refused: their difference would mean nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.randomness import Stream, rng
from modules.runs.results import (
    method_of,
    other_run,
    owner_of,
    read_result,
    read_rows,
    same_data,
    seen_of,
)
from utils.console import printable
from utils.errors import UserError, limit
from utils.metrics.ranking import NOT_RANKED, shown_metrics
from utils.metrics.significance import Paired, holm, paired_test
from utils.tables import markdown, one_line

LONGEST = max(k for _, k in shown_metrics().values())


class RankedRun(NamedTuple):
    """One run's ranking of one task."""

    folder: Path
    method: str
    dataset: str
    fingerprints: dict[str, str]  # of the data folder's files; {} where not known
    candidates: str  # fingerprint
    seen: str | None  # see ``seen_of``
    users: np.ndarray  # (U,)
    targets: np.ndarray  # (U,)
    ranks: np.ndarray  # (U,)


class Difference(NamedTuple):
    """One metric of one task."""

    task: str
    metric: str
    a: np.ndarray  # (runs of A,) means over users
    b: np.ndarray
    paired: Paired  # A - B
    p_holm: float


def read_ranked(folder: Path, task: str) -> RankedRun | None:
    """A run's ranks; None where it was not evaluated on the task.

    Raises:
        UserError: naming the file, where lists are too short, candidates are not recorded, or a
            rank is not the target's place in its list.
    """
    owner, result = owner_of(folder), read_result(folder, task)
    if result is None:
        return None
    path = folder / f"{task}.json"
    if reason := other_run(folder, result, owner):
        raise UserError(f"{path}: {reason}")
    top_n = result.arguments.get("top_n")
    if top_n is None:
        raise UserError(f"{path}: does not say --top_n as a number. Evaluate the run again.")
    missing = [name for name in shown_metrics() if name not in result.metrics]
    if missing or not (result.whole_lists or top_n >= LONGEST):
        raise UserError(
            f"{path}: lists of --top_n {top_n}, without {', '.join(missing) or 'deeper figures'}; "
            f"metrics up to @{LONGEST} need lists of {LONGEST}. Evaluate the run again with "
            f"--top_n {LONGEST}."
        )
    if result.candidates is None:
        raise UserError(
            f"{path}: does not say which candidates were ranked; an earlier version wrote it. "
            "Evaluate the run again."
        )
    rows = read_rows(folder, task, result)
    for number, row in enumerate(rows, start=1):
        if len(row.items) > top_n:
            raise UserError(
                f"{folder / task}.jsonl, line {number}: {len(row.items)} items, more than --top_n "
                f"{top_n}. The file was changed; evaluate the run again."
            )
    if len(rows) < 2:
        raise UserError(f"{folder / task}.jsonl: {len(rows)} users; a test needs two at least.")
    ranks = [NOT_RANKED if row.rank is None else row.rank for row in rows]
    users, targets = [row.user for row in rows], [row.target for row in rows]
    return RankedRun(
        folder,
        method_of(result),
        result.dataset,
        result.fingerprints,
        result.candidates,
        seen_of(result),
        *map(np.asarray, (users, targets, ranks)),
    )


def _check_comparable(task: str, a: Sequence[RankedRun], b: Sequence[RankedRun]) -> None:
    """UserError, naming two runs and the difference that makes them impossible to compare."""
    known = [run for run in (*a, *b) if run.fingerprints]  # not in results of older versions
    for other in known[1:]:
        same_name = other.dataset == known[0].dataset
        if same_name and same_data(other.fingerprints, known[0].fingerprints) is False:
            raise UserError(
                f"{task}: {known[0].folder} and {other.folder} are of different data, though both "
                f"are called {limit(other.dataset)}: sequential.txt or datamaps.json differ. "
                "Compare runs of one data folder."
            )
    first = a[0]
    for other in [*a[1:], *b]:
        both = f"{task}: {first.folder} and {other.folder}"
        if other.dataset != first.dataset:
            raise UserError(
                f"{both} are of different data sets: {limit(first.dataset)}, "
                f"{limit(other.dataset)}. Compare runs of one data set."
            )
        if not np.array_equal(other.users, first.users):
            raise UserError(
                f"{both} were tested on different users ({len(first.users):,} and "
                f"{len(other.users):,} of them). Give both the same --limit_users, and "
                "--leave_out_seen to both or to none."
            )
        if other.seen != first.seen:
            raise UserError(
                f"{both}: test items that their users had before were treated in two ways "
                f"({first.seen} and {other.seen}). Give both the same of --keep_seen and "
                "--leave_out_seen, or none."
            )
        unlike = np.flatnonzero(other.targets != first.targets)
        if unlike.size:
            raise UserError(
                f"{both} have different targets (user {first.users[unlike[0]]}: item "
                f"{first.targets[unlike[0]]} and {other.targets[unlike[0]]}). Their data folders "
                "differ. Evaluate both with the same one."
            )
    ours, theirs = (sorted(run.candidates for run in side) for side in (a, b))
    if ours != theirs and len(set(ours + theirs)) > 1:
        names = [" ".join(str(run.folder) for run in side) for side in (a, b)]
        raise UserError(
            f"{task}: {names[0]} and {names[1]} ranked different candidates: negatives were "
            "drawn with different seeds or in different numbers. Compare runs of the same seeds, "
            "put a negative.txt into the data folder and evaluate again, or leave the task out "
            "(--tasks)."
        )


def differences(
    a: Sequence[Path], b: Sequence[Path], tasks: Sequence[str], seed: int, resamples: int
) -> tuple[list[Difference], dict[str, tuple[list[RankedRun], list[RankedRun]]]]:
    """Every metric of those tasks that all runs were evaluated on, and the runs by task.

    p-values are corrected for the number of all metrics and tasks together.

    Raises:
        UserError: where runs share no task, or are not comparable.
    """
    sides = {}
    for task in tasks:
        runs = [[read_ranked(folder, task) for folder in side] for side in (a, b)]
        if all(run is not None for side in runs for run in side):
            _check_comparable(task, *runs)
            sides[task] = tuple(runs)
    if not sides:
        raise UserError(
            f"{' '.join(map(str, [*a, *b]))}: none of the tasks {', '.join(tasks)} was evaluated "
            "in all of these folders. Run seq_reranker.py or topn.py on each."
        )
    generator = rng(seed, Stream.RESAMPLING)
    found: list[tuple[str, str, np.ndarray, np.ndarray, Paired]] = []
    for task, runs in sides.items():
        for metric, (of_users, k) in shown_metrics().items():
            # (runs, U) each
            mine, other = (np.stack([of_users(run.ranks, k) for run in side]) for side in runs)
            paired = paired_test(mine.mean(axis=0) - other.mean(axis=0), generator, resamples)
            found.append((task, metric, mine.mean(axis=1), other.mean(axis=1), paired))
    corrected = holm([paired.p for *_, paired in found])
    return [Difference(*row, p) for row, p in zip(found, corrected)], sides


def differences_as_markdown(found: Sequence[Difference], level: float) -> str:
    """A line for each metric; a verdict where the corrected p-value is below ``level``."""
    rows = []
    for row in found:
        verdict = "no difference shown"
        if row.p_holm < level:
            verdict = "A higher" if row.paired.mean > 0 else "B higher"
        rows.append(
            [
                row.task,
                row.metric,
                _mean_and_spread(row.a),
                _mean_and_spread(row.b),
                f"{row.paired.mean:+.4f}",
                f"{row.paired.low:+.4f} to {row.paired.high:+.4f}",
                f"{row.paired.p:.4f}",
                f"{row.p_holm:.4f}",
                verdict,
            ]
        )
    header = ["task", "metric", "A", "B", "A - B", "95 % interval", "p", "p (Holm)", "verdict"]
    return markdown(header, rows)


def _mean_and_spread(values: np.ndarray) -> str:
    """The mean over runs, and their standard deviation where there are several."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"


def describe_sides(runs: dict[str, tuple[list[Any], list[Any]]], level: float, tests: int) -> str:
    """Who A and B are, over how many users, and how the p-values were made."""
    a, b = next(iter(runs.values()))
    lines = []
    for name, side in (("A", a), ("B", b)):
        methods = ", ".join(dict.fromkeys(one_line(run.method) for run in side))
        lines.append(f"{name}: {methods} ({', '.join(str(run.folder) for run in side)})")
    lines.append(
        f"{len(a[0].users):,} users of {one_line(a[0].dataset)}, paired. "
        f"p: two-sided permutation test; corrected for {tests} tests (Holm), verdict at {level:g}. "
        "Interval: bootstrap of A - B."
    )
    if len(a) > 1 or len(b) > 1:
        lines.append("± is the standard deviation over runs; a user's figure is their mean.")
    return "\n".join(map(printable, lines))
