"""The results of a report: this run, baselines and published figures, and what to know of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from modules.reports import plots
from modules.reports.html import Html, figures, join, table, tag
from modules.reports.published_figures import published
from modules.runs.results import COLUMNS, Run, method_of, short_figure, shown_name
from modules.tasks import RANKING_TASKS

OTHERWISE = "*"  # behind the name of a baseline that ranked something else
TEXT_NOTE = (
    "BLEU and ROUGE in per cent, the rest as fractions. distinct-n: different n-grams of all. USR: "
    "different texts of all. FMR: texts that name their record's feature. FCR: features of the "
    "data set that any text names. DIV: features that two texts share, on average; lower is better."
)


def results(run: Run) -> Iterator[Html]:
    """A table for each task, the main figures as bars, and remarks."""
    if any(task in run.results for task in RANKING_TASKS):
        yield tag(
            "p",
            "HR@k: share of users whose test item is among the first k. NDCG@k: the same, a hit "
            "weighted by 1 / log2(place + 1).",
            kind="note",
        )
    for task, result in run.results.items():
        yield tag("h3", f"{task}: {result['users']:,} {_unit(task)}")
        if _is_stale(run, result):
            yield tag(
                "p",
                "Not of the model that lies in this folder now, which was trained anew or further "
                "since. Evaluate again.",
                kind="warning",
            )
        lines = [Line(f"{shown_name(method_of(result))} (this run)", "own", result["metrics"])]
        lines += [
            Line(_name_of(result, other), "", other["metrics"]) for other in run.baselines[task]
        ]
        theirs = published(result["dataset"], task)
        lines += [Line(f"{row.method} (published)", "published", row.metrics) for row in theirs]
        yield _comparison(task, lines)
        sources = "; ".join(dict.fromkeys(row.source for row in theirs))
        yield from _remarks(task, result, lines, sources)


def _is_stale(run: Run, result: dict[str, Any]) -> bool:
    """Was the folder's model trained again after the result?"""
    trained, now = result.get("training", {}), run.record
    return now is not None and any(trained.get(k) != now.get(k) for k in ("arguments", "resumed"))


class Line(NamedTuple):
    """A method in a table of results."""

    name: str
    kind: str  # the row's class in the style sheet
    metrics: dict[str, float]


def _name_of(result: dict[str, Any], other: dict[str, Any]) -> str:
    """A baseline's name, and what it had otherwise than the run."""
    name = shown_name(method_of(other))
    if other["item_ids"] == "published" != result["item_ids"]:
        name += " (published numbers)"
    same = other.get("candidates") == result.get("candidates")
    return name + ("" if same and other["users"] == result["users"] else OTHERWISE)


def _comparison(task: str, lines: list[Line]) -> Html:
    columns = [c for c in COLUMNS[task] if any(c in line.metrics for line in lines)]
    if task not in RANKING_TASKS:  # many figures, few methods: turned, so that a phone holds them
        cells = [[c, *(short_figure(line.metrics.get(c)) for line in lines)] for c in columns]
        return table(["", *(line.name for line in lines)], cells)
    cells = [[line.name, *(short_figure(line.metrics.get(c)) for c in columns)] for line in lines]
    colours = {"own": plots.ORANGE, "": plots.BLUE, "published": plots.GREY}
    shown = []
    for column in ("HR@10", "NDCG@10"):
        bars = [
            plots.Bar(line.name, line.metrics[column], colours[line.kind])
            for line in lines
            if column in line.metrics
        ]
        shown.append(plots.bars(f"{task}: {column}", bars, column))
    return join([table(["", *columns], cells, [line.kind for line in lines]), figures(shown)])


def _remarks(task: str, result: dict[str, Any], lines: list[Line], sources: str) -> Iterator[Html]:
    own = lines[0].metrics.get("NDCG@10", 1)
    above = [li.name for li in lines if li.kind == "" and li.metrics.get("NDCG@10", 0) > own]
    if above:
        yield tag("p", f"Simple models above this run in NDCG@10: {', '.join(above)}.")
    if task == "explanation":
        yield tag("p", TEXT_NOTE, kind="note")
    if task == "direct" and "negative_num" in result["arguments"]:
        of = result["arguments"]["negative_num"] + 1
        chance = short_figure(min(1, 10 / of))
        yield tag("p", f"By chance, HR@10 among {of} candidates is {chance}.", kind="note")
    if any(line.name.endswith(OTHERWISE) for line in lines):
        text = f"{OTHERWISE} Ranked for other users, or other candidates: read with care."
        yield tag("p", text, kind="note")
    if sources:
        yield tag(
            "p",
            f"Published: {sources}. Not measured by this code, and of the published protocol, "
            "whose numbering and edges show what is held out: not to be held against protocol "
            "clean.",
            kind="note",
        )


def _unit(task: str) -> str:
    return "users" if task in RANKING_TASKS else "texts"
