"""``report.html``: one file that tells a run, made of what the run's folder holds.

The same folder gives the same bytes: samples are seeded, and no date is written. A folder may
hold a trained model, results, or both; what is missing is left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from utils import plots
from utils.catalogue_metrics import HISTORY_STEPS, POPULARITY_STEPS, breakdown, step_label
from utils.checkpoint import read_json, write_text
from utils.embedding_map import read_map
from utils.html_parts import Html, facts, figures, join, page, section, table, tag, unbroken
from utils.metrics import NOT_RANKED
from utils.published import published
from utils.report_examples import examples
from utils.run_results import (
    COLUMNS,
    RANKING_TASKS,
    TASKS,
    Run,
    is_baseline,
    method_of,
    read_run,
    short_figure,
)
from utils.runtime import say

REPORT = "report.html"
OTHERWISE = "*"  # behind the name of a baseline that ranked something else


def write_report(folder: str | Path, baselines: Sequence[Path] | None = None) -> None:
    """Write ``report.html`` into a run's folder.

    baselines: their folders; None = those beside the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where the folder holds neither a run nor a result, or a file is broken.
    """
    path = Path(folder) / REPORT
    write_text(path, build(read_run(Path(folder), baselines)))
    say(f"report: {path}")


def build(run: Run) -> str:
    """The page."""
    name = run.folder.resolve().name
    first = run.first
    seed = first["seed"] if run.record is None else first["arguments"]["seed"]
    method = run.record["arguments"]["method"] if run.record else method_of(first)
    lead = f"{method} on {first['dataset']}"
    return page(
        f"{name}: {lead}",
        tag("h1", name),
        tag("p", lead, kind="lead"),
        section("What was run", *_what(run)),
        section("Training", *_training(run)),
        section("Results", *_results(run)),
        section("Who is served", *_breakdowns(run)),
        section("Whole-word embeddings", *_embeddings(run.folder, seed)),
        section("Examples", *_examples(run, seed)),
        section("All settings", *_settings(run)),
    )


# --------------------------------------------------------------------------------- sections


def _what(run: Run) -> Iterator[Html]:
    first = run.first
    trained = first["arguments"] if run.record else {}
    protocol = trained.get("protocol") or first["protocol"]
    numbers = trained.get("item_ids") or first["item_ids"]
    rows: list[tuple[str, object]] = [("data set", first["dataset"])]
    config = run.folder / "config.json"
    if run.record and config.is_file():
        own = read_json(config)["elmrec"]
        rows.append(("its size", f"{own['n_users']:,} users, {own['n_items']:,} items"))
        backbone = trained.get("backbone") or "an imported T5"
        rows.append(("model", f"{own['method']} on {backbone}; {_symbols(own)}"))
    rows.append(("protocol", f"{protocol}; item numbers {numbers}"))
    rows.append(("code", first["commit"] or "not from git"))
    rows.append(("versions", ", ".join(f"{k} {v}" for k, v in first["versions"].items())))
    records = ([("training", run.record)] if run.record else []) + list(run.results.items())
    for name, record in records:
        words = unbroken(record["command"].split(" "))
        rows.append((f"{name} command", tag("code", words)))
    yield facts(rows)
    edges, records_seen = first["held_out_edges_seen"], first["held_out_records_seen"]
    if edges or records_seen:
        yield tag(
            "p",
            f"Held-out pairs that training saw: {edges:,} as edges, {records_seen:,} as records. "
            "The figures below are the higher for it.",
            kind="warning",
        )


def _symbols(own: dict[str, Any]) -> str:
    """The method's numbers with the paper's symbols, those that it has."""
    shown = [f"α {own['alpha']:g}"]
    if own["method"] == "elmrec":
        shown += [f"σ {own['sigma']:g}", f"L {own['graph_layers']}"]
    if own["method"] != "p5":
        shown.append(f"K {own['prompt_num']}")
    return ", ".join(shown)


def _training(run: Run) -> Iterator[Html]:
    shown, kept = [], None
    checks = [line for line in run.log if "valid" in line]
    steps = [line for line in run.log if "train" in line]
    better = [line for line in checks if line["improved"]]
    if better:
        kept = better[-1]["step"]
        yield tag(
            "p",
            f"{run.log[-1]['step']:,} steps, the last in epoch {checks[-1]['epoch']}; the kept "
            f"model is of step {kept:,}, with a mean validation loss of "
            f"{better[-1]['valid_mean']:.4f}.",
        )
    for task in TASKS:
        train = [(line["step"], line["train"][task]) for line in steps if task in line["train"]]
        valid = [(line["step"], line["valid"][task]) for line in checks if task in line["valid"]]
        if train or valid:
            shown.append(plots.curve(f"{task}: loss a token", train, valid, kept))
    yield figures(shown)


def _results(run: Run) -> Iterator[Html]:
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
        lines = [Line(f"{method_of(result)} (this run)", "own", result["metrics"])]
        lines += [
            Line(method_of(other).replace("_", " ") + _mark(result, other), "", other["metrics"])
            for other in run.baselines[task]
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


def _mark(result: dict[str, Any], other: dict[str, Any]) -> str:
    same = other.get("candidates") == result.get("candidates")
    return "" if same and other["users"] == result["users"] else OTHERWISE


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


def _breakdowns(run: Run) -> Iterator[Html]:
    shown = [figures(_bars_by_group(task, run.rows.get(task, []))) for task in RANKING_TASKS]
    if any(shown):
        yield tag(
            "p",
            "HR@10 of the users in each group, with its 95 % interval (Wilson); in brackets, how "
            "many they are.",
            kind="note",
        )
    yield from shown


def _bars_by_group(task: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows or "history_length" not in rows[0]:  # of older code
        return
    ranks = np.array([NOT_RANKED if row["rank"] is None else row["rank"] for row in rows])
    for key, title, steps in (
        ("history_length", "items before the test item", HISTORY_STEPS),
        ("target_users", "train users of the test item", POPULARITY_STEPS),
    ):
        bars = []
        for group in breakdown(ranks, np.array([row[key] for row in rows]), steps):
            test = binomtest(round(group.hr * group.users), group.users)
            ends = test.proportion_ci(method="wilson")
            note = f"{short_figure(group.hr)} ({group.users:,})"
            label = step_label(group.low, group.high)
            bars.append(plots.Bar(label, group.hr, plots.BLUE, ends.low, ends.high, note))
        yield plots.bars(f"{task}, by {title}", bars, "HR@10")


def _embeddings(folder: Path, seed: int) -> Iterator[Html]:
    found = read_map(folder, seed)
    if found is None:
        return
    by_degree, by_side = [], []
    for title, view in (("before (E0)", found.before), ("after (W)", found.after)):
        axes = "2 components: {:.1%} + {:.1%} of variance".format(*view.shares)
        by_degree.append(plots.scatter_degrees(title, view.points, found.degrees, axes))
        by_side.append(plots.scatter_sides(title, view.points, found.is_item, axes))
    yield tag(
        "p",
        f"The nodes' own vectors as trained, and what is added to tokens: their propagation over "
        f"L = {found.layers} layers. Principal components of {len(found.degrees):,} of "
        f"{found.nodes:,} nodes, drawn at random with seed {seed}; each plot has components and "
        "scale of its own.",
        kind="note",
    )
    yield figures(by_degree)
    yield figures(by_side)


def _examples(run: Run, seed: int) -> Iterator[Html]:
    """Of the sequential task, or of the direct one where there is no other."""
    task = next((name for name in RANKING_TASKS if run.rows.get(name)), None)
    if task is not None:
        result = run.results[task]
        probable = not is_baseline(result) and result["decode"] != "beam"
        texts = run.rows.get("explanation", [])
        yield from examples(task, run.rows[task], texts, probable, seed)


def _settings(run: Run) -> Iterator[Html]:
    records = ([("training", run.record)] if run.record else []) + list(run.results.items())
    names = list(dict.fromkeys(name for _, record in records for name in record["arguments"]))
    rows = [
        [name, *(_value(record["arguments"].get(name)) for _, record in records)] for name in names
    ]
    rows = [row for row in rows if any(row[1:])]  # what nobody set is left out
    yield table(["", *(name for name, _ in records)], rows)


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
