"""The rows of tables: what runs were measured at, and what others published.

A row is a run's result of a task; or of several runs that differ in the seed alone, their mean.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

from modules.reports.published_figures import published
from modules.runs.kinds import Catalogue, Group, Result
from modules.runs.record import PLACES, REQUIRED_DATA
from modules.runs.results import method_of, owner_of, read_all_results, seen_of
from modules.tasks import TASKS
from utils.errors import UserError

# Arguments that change nothing of what is measured: of two seeds they may differ.
_APART = PLACES | {"seed", "data", "config", "methods", "ending", "run", "trec"}


class Entry(NamedTuple):
    """One row of a table: a run's result of a task, or a published one."""

    method: str
    source: str  # the run's folder, or whose figures they are
    dataset: str
    task: str
    protocol: str
    item_ids: str
    seed: str
    data: str  # code of the data folder's histories and ids; "" where not known
    users: str  # or texts: how many the figures are means of
    note: str  # what a reader of the figures must know
    negatives: str  # of the direct task, a user; "" where not known
    metrics: dict[str, float]
    catalogue: Catalogue | None  # utils/metrics/catalogue.py; None where not recorded
    settings: str = ""  # equal for runs that differ in the seed alone: ``settings_of``
    spread: Mapping[str, float] = MappingProxyType({})  # standard deviation over seeds, by metric
    counts: Mapping[str, int] = MappingProxyType(
        {}
    )  # runs that have the metric, where the row is of several


def entries(folders: Sequence[Path]) -> list[Entry]:
    """All results of all folders, and what is published on their data sets and tasks.

    Raises:
        UserError: naming a folder without any result.
    """
    rows: list[Entry] = []
    for folder in folders:
        found = read_all_results(folder, owner_of(folder))
        if not found:
            raise UserError(
                f"{folder}: none of {', '.join(f'{task}.json' for task in TASKS)}. Evaluate the "
                "run first (seq_reranker.py, topn.py, exp.py, or compare.py baselines)."
            )
        rows += [_measured(folder, task, result) for task, result in found.items()]
    pairs = dict.fromkeys((row.dataset, row.task) for row in rows)
    for dataset, task in pairs:
        rows += [
            Entry(
                f"{row.method} (PUBLISHED)",
                row.source,
                dataset,
                task,
                "paper",
                "published",
                *("", "", "", "", ""),
                row.metrics,
                None,
            )
            for row in published(dataset, task)
        ]
    return rows


def _measured(folder: Path, task: str, result: Result) -> Entry:
    codes = (result.fingerprints.get(name, "")[:4] for name in REQUIRED_DATA)
    return Entry(
        method_of(result),
        str(folder),
        result.dataset,
        task,
        result.protocol,
        result.item_ids,
        str(result.seed),
        "-".join(codes).strip("-"),
        f"{result.users:,}",
        _note(result, task),
        str(result.arguments.get("negative_num", "")) if task == "direct" else "",
        result.metrics,
        result.catalogue,
        settings_of(result),
    )


def _note(result: Result, task: str) -> str:
    """What is said of users without a list, and of test items that users had before
    (modules/evaluation/seen.py)."""
    dropped = "count as misses" if task == "sequential" else "are among the candidates"
    ends = {"drop": dropped, "keep": "could be listed", "leave_out": "are left out"}
    end = ends.get(seen_of(result) or "")
    notes = []
    if result.without_list:
        notes.append(f"users without a list, who count as misses: {result.without_list:,}")
    if end:
        notes.append(f"test items that their user had before {end}: {result.target_seen:,}")
    return "; ".join(notes)


def settings_of(result: Result) -> str:
    """What two results share where nothing but the seed is different; "" where it is not known, as
    in results of older versions."""
    if not result.fingerprints:
        return ""
    training = result.training.arguments if result.training else {}
    parts = [method_of(result), result.decode, result.fingerprints, result.protocol, result.users]
    parts += [result.item_ids, _shaping(training), _shaping(result.arguments)]
    return json.dumps(parts, sort_keys=True)


def _shaping(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in _APART}


# ------------------------------------------------------------------------------------- seeds


def by_settings(rows: Sequence[Entry]) -> list[Entry]:
    """One row for runs that differ in the seed alone, in the place of the first of them."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for number, row in enumerate(rows):
        own = row.settings or str(number)  # not known: by itself
        groups.setdefault((row.dataset, row.task, own), []).append(row)
    return [_mean(group) if len(group) > 1 else group[0] for group in groups.values()]


def _mean(group: Sequence[Entry]) -> Entry:
    """Several runs as one row: of each figure the mean over those that have it."""
    values: dict[str, list[float]] = {}
    for row in group:
        for name, value in row.metrics.items():
            values.setdefault(name, []).append(value)
    seeds = [row.seed for row in group]
    notes = list(dict.fromkeys(row.note for row in group if row.note))
    if len(set(seeds)) < len(seeds):
        notes.append("a seed is there twice: these runs are fewer than their number says")
    catalogues = [row.catalogue for row in group if row.catalogue]
    return group[0]._replace(
        source=_shortened([row.source for row in group]),
        seed=", ".join(seeds),
        note="; ".join(notes),
        metrics={name: mean(own) for name, own in values.items()},
        spread={name: stdev(own) for name, own in values.items() if len(own) > 1},
        counts={name: len(own) for name, own in values.items()},
        catalogue=_mean_of(catalogues) if catalogues else None,
    )


def _shortened(folders: Sequence[str]) -> str:
    """``a/beauty-0``, ``a/beauty-1`` -> ``a/beauty-{0,1}``, as a shell reads it."""
    common = os.path.commonprefix(folders)  # noqa: RUF071  by letters, as meant
    ends = [folder[len(common) :] for folder in folders]
    if not common or any("," in folder or "{" in folder for folder in folders):
        return ", ".join(folders)
    return f"{common}{{{','.join(ends)}}}"


def _mean_of(values: Sequence[Any]) -> Any:
    """The mean of figures of one kind: numbers, maps of them by name, or groups of users."""
    first = values[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for own in values for name in own)
        return {name: _mean_of([own[name] for own in values if name in own]) for name in names}
    if isinstance(first, list):
        steps: dict[tuple[int, int | None, int], list[Group]] = {}
        for group in (group for own in values for group in own):
            steps.setdefault((group.low, group.high, group.users), []).append(group)
        return [
            Group(*step, mean(g.hr for g in own), mean(g.ndcg for g in own))
            for step, own in steps.items()
        ]
    return mean(values)
