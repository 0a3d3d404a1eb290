"""The results of a report: this run, baselines and published figures, and what to know of them.

It prepares values; templates/report.html shows them.
"""

from collections.abc import Iterator
from typing import NamedTuple

from modules.reports import plots
from modules.reports.published_figures import published
from modules.reports.sources import RunResults
from modules.runs.kinds import Result, Verdict
from modules.runs.results import (
    COLUMNS,
    interval,
    same_data,
    seen_of,
    short_figure,
    title_of,
)
from modules.tasks import RANKING_TASKS

FEW_TEXTS = 0.1  # USR below which DIV cannot be read as variety
UNLIKE = "*"  # behind the name of a baseline that ranked something else, as far as is known


class Row(NamedTuple):
    """A row of a table."""

    cells: list[str]
    kind: str = ""  # its class in the style sheet


class Table(NamedTuple):
    """A table of a page."""

    header: list[str]
    rows: list[Row]


class TaskResult(NamedTuple):
    """What a report says of one task."""

    task: str
    rows: int  # users, or texts
    ranks: bool  # a ranking task; else explanation
    stale: bool  # the folder's model was trained again after this evaluation
    table: Table
    plots: list[plots.Plot]
    above: list[str]  # baselines with a higher NDCG@10
    candidates: int | None  # of the direct task
    chance: str | None  # HR@10 by chance among them
    unlike: bool  # some baseline has the mark UNLIKE
    sources: list[str]  # of the published figures
    different: int | None  # texts that differ from each other, where they are few


class Judged(NamedTuple):
    """The verdict on the model."""

    sentence: str
    warnings: list[str]
    users: int
    table: Table


class _Line(NamedTuple):
    """A method in a table of results."""

    name: str
    kind: str  # the row's class in the style sheet
    metrics: dict[str, float]


def judged(found: Verdict | None) -> Judged | None:
    """What a report says of the verdict at the end of training."""
    if found is None:
        return None
    models = {f"{found.model.title} (this run)": found.model}
    models |= {one.title: one for one in found.simple}
    rows = [
        Row([name, short_figure(one.ndcg), short_figure(one.hr)], "own" * (one is found.model))
        for name, one in models.items()
    ]
    less = [f"difference to {found.simple[0].title}", interval(found.ndcg), interval(found.hr)]
    table = Table(["", "NDCG@10", "HR@10"], [*rows, Row(less, "difference")])
    text = found.sentence[:1].upper() + found.sentence[1:]
    return Judged(text, found.warnings, found.users, table)


def task_results(run: RunResults) -> Iterator[TaskResult]:
    """The results of each task that the run was evaluated on."""
    for task, result in run.results.items():
        theirs = published(result.dataset, task)
        others = sorted(run.baselines[task], key=lambda row: -row.metrics.get("NDCG@10", 0))
        lines = [
            _Line(f"{title_of(result)} (this run)", "own", result.metrics),
            *(_Line(_name_of(run, task, row), "", row.metrics) for row in others),
            *(_Line(f"{row.method} (published)", "published", row.metrics) for row in theirs),
        ]
        own = lines[0].metrics.get("NDCG@10", 1)
        candidates = chance = None
        negatives = result.arguments.get("negative_num")
        if task == "direct" and negatives:
            candidates = negatives + 1
            chance = short_figure(min(1, 10 / candidates))
        yield TaskResult(
            task=task,
            rows=result.users,
            ranks=task in RANKING_TASKS,
            stale=_is_stale(run, result),
            table=_table(task, lines),
            plots=_bars(task, lines) if task in RANKING_TASKS else [],
            above=[li.name for li in lines if not li.kind and li.metrics.get("NDCG@10", 0) > own],
            candidates=candidates,
            chance=chance,
            unlike=any(line.name.endswith(UNLIKE) for line in lines),
            sources=list(dict.fromkeys(row.source for row in theirs)),
            different=_few_texts(result),
        )


def _few_texts(result: Result) -> int | None:
    """How many of the texts differ, where most repeat others; else None."""
    share = result.metrics.get("USR")
    if share is None or result.users < 2:
        return None
    different = round(share * result.users)
    return different if different == 1 or share < FEW_TEXTS else None


def _is_stale(run: RunResults, result: Result) -> bool:
    """Was the folder's model trained again after the result?"""
    if run.record is None:
        return False
    trained, now = result.training, run.record
    return trained is None or (trained.arguments, trained.resumed) != (now.arguments, now.resumed)


def _name_of(run: RunResults, task: str, other: Result) -> str:
    """A baseline's name, and in what it differs from the run."""
    result, name = run.results[task], title_of(other)
    if other.item_ids == "published" != result.item_ids:
        name += " (published numbers)"
    same = _asked(other) == _asked(result)
    return name + ("" if same and same_data(run.first.fingerprints, other.fingerprints) else UNLIKE)


def _asked(result: Result) -> tuple[str | None, int, str | None]:
    """What must be equal for two results to be compared: what was ranked, for whom, and how."""
    return result.candidates, result.users, seen_of(result)


def _table(task: str, lines: list[_Line]) -> Table:
    columns = [c for c in COLUMNS[task] if any(c in line.metrics for line in lines)]
    cells = [[short_figure(line.metrics.get(c)) for c in columns] for line in lines]
    if task in RANKING_TASKS:
        rows = [Row([line.name, *row], line.kind) for line, row in zip(lines, cells)]
        return Table(["", *columns], rows)
    # Many figures of few methods: turned, so that a phone holds them.
    turned = [Row([column, *row]) for column, row in zip(columns, zip(*cells))]
    return Table(["", *(line.name for line in lines)], turned)


def _bars(task: str, lines: list[_Line]) -> list[plots.Plot]:
    colours = {"own": plots.ORANGE, "": plots.BLUE, "published": plots.GREY}
    shown = []
    for column in ("HR@10", "NDCG@10"):
        bars = [
            plots.Bar(line.name, line.metrics[column], colours[line.kind])
            for line in lines
            if column in line.metrics
        ]
        if len(bars) > 1:  # one alone shows no more than the table
            shown.append(plots.bars(f"{task}: {column}", bars, column))
    return shown
