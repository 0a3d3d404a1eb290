"""``report.html``: one file that tells a run, made of what the run's folder holds.

    python -m modules.reports.page ./checkpoint/beauty/    # writes it once more

The same folder gives the same bytes: samples are seeded, and no date is written. A folder may
hold a trained model, results, or both; what is missing is left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from modules.reports import plots
from modules.reports.embeddings import read_map
from modules.reports.examples import examples
from modules.reports.html import Html, facts, figures, page, section, table, tag, unbroken
from modules.reports.results import results
from modules.runs.results import Run, is_baseline, method_of, read_run, short_figure, shown_name
from modules.tasks import RANKING_TASKS, TASKS
from utils import cli, distributed
from utils.console import say
from utils.files import read_json, write_text
from utils.metrics.catalogue import HISTORY_STEPS, POPULARITY_STEPS, breakdown, step_label
from utils.metrics.ranking import NOT_RANKED

REPORT = "report.html"


def write_report(folder: str | Path, baselines: Sequence[Path] | None = None) -> None:
    """Write ``report.html`` into a run's folder; of several processes, the main one does.

    baselines: their folders; None = those beside the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where the folder holds neither a run nor a result, or a file is broken.
    """
    if not distributed.is_main():
        return
    path = Path(folder) / REPORT
    write_text(path, build(read_run(Path(folder), baselines)))
    say(f"report: {path}")


def build(run: Run) -> str:
    """The page."""
    name = run.folder.resolve().name
    first = run.first
    seed = first["seed"] if run.record is None else first["arguments"]["seed"]
    method = run.record["arguments"]["method"] if run.record else method_of(first)
    lead = f"{shown_name(method)} on {first['dataset']}"
    return page(
        f"{name}: {lead}",
        tag("h1", name),
        tag("p", lead, kind="lead"),
        section("What was run", *_what(run)),
        section("Training", *_training(run)),
        section("Results", *results(run)),
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
        rows.append(("model", f"{shown_name(own['method'])} on {backbone}; {_symbols(own)}"))
    rows.append(("protocol", f"{protocol}; item numbers {numbers}"))
    code = first["commit"] or "not from git"
    rows.append(("code", code.replace("+", ", and changes that were not committed")))
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
            f"model is of step {kept:,}, {_merit(better[-1])}.",
        )
    if run.record and run.record.get("resumed"):
        places = ", ".join(f"{time['step']:,}" for time in run.record["resumed"])
        yield tag("p", f"Resumed at step {places}.")
    for task in TASKS:
        train = [(line["step"], line["train"][task]) for line in steps if task in line["train"]]
        valid = [(line["step"], line["valid"][task]) for line in checks if task in line["valid"]]
        if train or valid:
            shown.append(plots.curve(f"{task}: loss a token", train, valid, kept, "loss"))
    for name in dict.fromkeys(name for line in checks for name in line.get("metrics", ())):
        valid = [(line["step"], line["metrics"][name]) for line in checks]
        task, metric = name.split(" ")
        shown.append(plots.curve(f"{task}: validation users", [], valid, kept, metric))
    yield figures(shown)


def _merit(check: dict[str, Any]) -> str:
    """What a model was chosen by."""
    gains = {name: value for name, value in check.get("metrics", {}).items() if "NDCG" in name}
    if not gains:
        return f"with a mean validation loss of {check['valid_mean']:.4f}"
    told = ", ".join(f"{name} {short_figure(value)}" for name, value in gains.items())
    return f"the best by the ranking of validation users: {told}"


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
        added = is_baseline(result) or result["arguments"].get("linear")
        probable = not added and result["decode"] != "beam"
        texts = run.rows.get("explanation", [])
        yield from examples(task, run.rows[task], texts, probable, seed)


def _settings(run: Run) -> Iterator[Html]:
    for records in ({"training": run.record} if run.record else {}, run.results):
        names = dict.fromkeys(name for record in records.values() for name in record["arguments"])
        names.pop("data", None)  # data_dir says the same
        rows = [
            [name, *(_value(record["arguments"].get(name)) for record in records.values())]
            for name in names
        ]
        rows = [row for row in rows if any(row[1:])]  # what nobody set is left out
        if rows:
            yield table(["", *records], rows, kind="settings")


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def main() -> None:
    """Write ``report.html`` of the folder on the command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--baselines",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="of compare.py baselines, for comparison; default: those beside RUN, <data>-<name>",
    )
    args = parser.parse_args()
    write_report(args.run, args.baselines)


if __name__ == "__main__":
    cli.run(main)
