"""Runs side by side, as tables, from the ``<task>.json`` of models and baselines.

Tables are Markdown, or CSV of one figure per line for a spreadsheet; published figures are marked.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from modules.reports.published_figures import published
from modules.runs.kinds import Catalogue, Group, Result
from modules.runs.record import REQUIRED_DATA
from modules.runs.results import COLUMNS, figure, method_of, owner_of, read_all_results, seen_of
from modules.tasks import RANKING_TASKS, TASKS
from utils.errors import UserError
from utils.metrics.catalogue import FULL_CUTOFFS, step_label
from utils.tables import markdown, markdown_text, one_line, to_csv


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
    )


def _note(result: Result, task: str) -> str:
    """What is said of test items that users had before: modules/evaluation/seen.py."""
    dropped = "count as misses" if task == "sequential" else "are among the candidates"
    ends = {"drop": dropped, "keep": "could be listed", "leave_out": "are left out"}
    end = ends.get(seen_of(result) or "")
    return f"test items that their user had before {end}: {result.target_seen:,}" if end else ""


# ------------------------------------------------------------------------------------ tables


def entries_as_markdown(rows: Sequence[Entry], catalogue: bool = False) -> str:
    """A section for each data set and task.

    catalogue: with the figures of the whole catalogue, where they are recorded.
    """
    parts = []
    for dataset, task in dict.fromkeys((row.dataset, row.task) for row in rows):
        mine = [row for row in rows if (row.dataset, row.task) == (dataset, task)]
        columns = COLUMNS[task]
        rows_of = "users" if task in RANKING_TASKS else "texts"
        header = ["method", "protocol", "items", "seed", rows_of, *columns, "from"]
        unlike = len({row.data for row in mine if row.data}) > 1
        lines = [
            [row.method, row.protocol, row.item_ids, row.seed, row.users]
            + [figure(row.metrics.get(column)) for column in columns]
            + [f"{row.source} (data {row.data or 'not known'})" if unlike else row.source]
            for row in mine
        ]
        title = f"{markdown_text(dataset)}, {task}"
        parts.append(f"## {title}\n\n{markdown(header, lines)}")
        if unlike:
            parts.append(_UNLIKE)
        notes = [one_line(f"{row.source}: {row.note}.") for row in mine if row.note]
        if len({row.negatives for row in mine if row.negatives}) > 1:
            known = [row for row in mine if row.negatives]
            notes += [one_line(f"{row.source}: among {row.negatives} negatives.") for row in known]
        if notes:
            parts.append("\n".join(f"- {note}" for note in notes))
        if catalogue:
            parts += _catalogue_parts(title, [row for row in mine if row.catalogue])
    return "\n\n".join(parts) + "\n"


_UNLIKE = (
    "Not all of these are of one data folder, though it has one name: only rows of the same code "
    "after 'data' can be compared."
)


def _catalogue_parts(title: str, rows: Sequence[Entry]) -> Iterator[str]:
    if not rows:
        return
    named = [_named_metrics(row.catalogue) for row in rows]
    cutoffs = [f"@{k}" for k in FULL_CUTOFFS]
    lines = [
        [row.method, kind] + [figure(own.get(kind + k)) for k in cutoffs] + [row.source]
        for kind in ("HR", "NDCG", "MRR")
        for row, own in zip(rows, named)
    ]
    header = ["method", "metric", *cutoffs, "from"]
    yield f"### {title}: the whole catalogue, exact ranks\n\n{markdown(header, lines)}"
    single = [_single_figures(row.catalogue) for row in rows]
    spread = list(dict.fromkeys(name for own in single for name in own))  # of several depths
    lines = [
        [row.method, row.source, *(figure(own.get(name)) for name in spread)]
        for row, own in zip(rows, single)
    ]
    yield f"### {title}: what is listed\n\n{markdown(['method', 'from', *spread], lines)}"
    for key, label in (
        ("by_history_length", "items before the target"),
        ("by_item_popularity", "train users of the target"),
    ):
        groups = [_breakdowns(row.catalogue).get(key, []) for row in rows]
        steps = dict.fromkeys(_step(group) for own in groups for group in own)
        lines = []
        for row, own in zip(rows, groups):
            cells = {_step(g): f"{g.hr:.4f} / {g.ndcg:.4f}" for g in own}
            lines.append([row.method, row.source, *(cells.get(step, "") for step in steps)])
        table = markdown(["method", "from", *steps], lines)
        yield f"### {title}: HR@10 / NDCG@10 by {label}\n\n{table}"


def _named_metrics(catalogue: Catalogue) -> dict[str, float]:
    metrics = catalogue.get("metrics")
    return metrics if isinstance(metrics, dict) else {}


def _single_figures(catalogue: Catalogue) -> dict[str, float]:
    return {name: value for name, value in catalogue.items() if isinstance(value, float)}


def _breakdowns(catalogue: Catalogue) -> dict[str, list[Group]]:
    return {name: value for name, value in catalogue.items() if isinstance(value, list)}


def _step(group: Group) -> str:
    return f"{step_label(group.low, group.high)} ({group.users:,} users)"


def entries_as_csv(rows: Sequence[Entry]) -> str:
    """One figure per line: what it is of, its name, its value."""
    return to_csv([*Entry._fields[:-2], "figure", "value"], _csv_lines(rows))


def _csv_lines(rows: Sequence[Entry]) -> Iterator[list[str | float]]:
    for row in rows:
        figures, catalogue = dict(row.metrics), row.catalogue or {}
        for name, value in (_named_metrics(catalogue) | _single_figures(catalogue)).items():
            figures[f"catalogue {name}"] = value
        for name, groups in _breakdowns(catalogue).items():
            for group in groups:
                label = f"catalogue {name} {_step(group)}"
                figures |= {f"{label} HR@10": group.hr, f"{label} NDCG@10": group.ndcg}
        yield from ([*row[:-2], name, value] for name, value in figures.items())
