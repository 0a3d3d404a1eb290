"""``report.html``: one file that shows a run, made from the files of the run's folder.

    python -m modules.reports.page ./checkpoint/beauty/    # writes it again

The same folder gives the same bytes: samples are seeded, and no date is written. A folder may
hold a trained model, results, or both; what is missing is left out. This module prepares values;
the HTML is in templates/.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.reports import plots
from modules.reports.embeddings import read_map
from modules.reports.examples import Examples, examples
from modules.reports.results import UNLIKE, Row, Table, task_results
from modules.runs.results import RunResults, is_baseline, read_results, short_figure, title_of
from modules.tasks import RANKING_TASKS, TASKS
from utils import cli, distributed
from utils.console import say
from utils.files import write_text
from utils.json_files import read_json
from utils.metrics.ranking import NOT_RANKED
from utils.pages import render

REPORT = "report.html"
_TEMPLATE = Path(__file__).parent / "templates" / REPORT


def write_report(folder: str | Path, baselines: Sequence[Path] | None = None) -> None:
    """Write ``report.html`` into a run's folder; of several processes, the main one does.

    baselines: their folders; None = those beside the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where the folder holds neither a run nor a result, or a file is broken.
    """
    if not distributed.is_main():
        return
    path = Path(folder) / REPORT
    write_text(path, build(read_results(Path(folder), baselines)))
    say(f"report: {path}")


def build(run: RunResults) -> str:
    """The page."""
    name = run.folder.resolve().name
    first = run.first
    seed = run.record.seed if run.record else first["seed"]
    model = run.record.title if run.record else title_of(first)
    lead = f"{model}{'; data set' if ';' in model else ' on'} {first['dataset']}"
    return render(
        _TEMPLATE,
        title=f"{name}: {lead}",
        name=name,
        lead=lead,
        seed=seed,
        facts=list(_facts(run)),
        commands=_commands(run),
        edges_seen=first["held_out_edges_seen"],
        records_seen=first["held_out_records_seen"],
        training=_training(run),
        results=list(task_results(run)),
        unlike_mark=UNLIKE,
        breakdowns=_breakdowns(run),
        embeddings=_embeddings(run.folder, seed),
        examples=_examples(run, seed),
        settings=list(_settings(run)),
    )


# --------------------------------------------------------------------------------- sections


def _facts(run: RunResults) -> Iterator[tuple[str, str]]:
    """Terms and their values in this run."""
    first = run.first
    trained = first["arguments"] if run.record else {}
    yield "data set", first["dataset"]
    config = run.folder / "config.json"
    if run.record and config.is_file():
        own = read_json(config)["elmrec"]
        yield "its size", f"{own['n_users']:,} users, {own['n_items']:,} items"
        backbone = trained.get("backbone") or "an imported T5"
        yield "model", f"{run.record.title.partition(',')[0]} on {backbone}; {_symbols(own)}"
    protocol = trained.get("protocol") or first["protocol"]
    numbers = trained.get("item_ids") or first["item_ids"]
    yield "protocol", f"{protocol}; item numbers {numbers}"
    code = first["commit"] or "not from git"
    yield "code", code.replace("+", ", and changes that were not committed")
    yield "versions", ", ".join(f"{k} {v}" for k, v in first["versions"].items())


def _commands(run: RunResults) -> list[tuple[str, list[str]]]:
    """The words of each command, by what it did."""
    records = _training_record(run) | run.results
    return [(name, record["command"].split(" ")) for name, record in records.items()]


def _training_record(run: RunResults) -> dict[str, dict[str, Any]]:
    return {"training": run.record.as_json()} if run.record else {}


def _symbols(own: dict[str, Any]) -> str:
    """The method's numbers with the paper's symbols, those that it has."""
    shown = [f"α {own['alpha']:g}"]
    if own["method"] == "elmrec":
        shown += [f"σ {own['sigma']:g}", f"L {own['graph_layers']}"]
    if own["method"] != "p5":
        shown.append(f"K {own['prompt_num']}")
    return ", ".join(shown)


class Training(NamedTuple):
    """What train_log.jsonl and run.json say of the training."""

    kept: int | None  # step of the kept model; None where no validation is logged
    steps: int  # all
    epochs: int
    reason: str  # why that model was kept
    resumed: list[int]  # steps
    plots: list[plots.Plot]


def _training(run: RunResults) -> Training:
    checks = [line for line in run.log if "valid" in line]
    steps = [line for line in run.log if "train" in line]
    best = next((line for line in reversed(checks) if line["improved"]), None)
    kept = best["step"] if best else None
    shown = []
    for task in TASKS:
        train = [(line["step"], line["train"][task]) for line in steps if task in line["train"]]
        valid = [(line["step"], line["valid"][task]) for line in checks if task in line["valid"]]
        if train or valid:
            shown.append(plots.curve(f"{task}: loss per token", train, valid, kept, "loss"))
    for name in dict.fromkeys(name for line in checks for name in line.get("metrics", ())):
        valid = [(line["step"], line["metrics"][name]) for line in checks]
        task, metric = name.split(" ")
        shown.append(plots.curve(f"{task}: validation users", [], valid, kept, metric))
    return Training(
        kept,
        run.log[-1]["step"] if run.log else 0,
        checks[-1]["epoch"] if checks else 0,
        _reason(best) if best else "",
        [time["step"] for time in (run.record.resumed if run.record else ())],
        shown,
    )


def _reason(check: dict[str, Any]) -> str:
    """Why a model was kept."""
    gains = {name: value for name, value in check.get("metrics", {}).items() if "NDCG" in name}
    if not gains:
        return f"with a mean validation loss of {check['valid_mean']:.4f}"
    shown = ", ".join(f"{name} {short_figure(value)}" for name, value in gains.items())
    return f"the best by the ranking of validation users: {shown}"


def _breakdowns(run: RunResults) -> list[list[plots.Plot]]:
    """Plots by task, of the tasks that have any."""
    # Ranks are those in lists, which may not go as deep as the figure.
    deep = [t for t in RANKING_TASKS if t in run.results and "HR@10" in run.results[t]["metrics"]]
    shown = [list(_bars_by_group(task, run.rows.get(task, []))) for task in deep]
    return [row for row in shown if row]


def _bars_by_group(task: str, rows: Sequence[dict[str, Any]]) -> Iterator[plots.Plot]:
    if not rows or "history_length" not in rows[0]:  # of older code
        return
    from scipy.stats import binomtest  # takes more than a second

    from utils.metrics.catalogue import HISTORY_STEPS, POPULARITY_STEPS, breakdown, step_label

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


class Embeddings(NamedTuple):
    """The nodes' vectors before and after propagation."""

    layers: int  # L
    shown: int
    nodes: int  # of which ``shown`` are drawn
    by_degree: list[plots.Plot]
    by_side: list[plots.Plot]


def _embeddings(folder: Path, seed: int) -> Embeddings | None:
    found = read_map(folder, seed)
    if found is None:
        return None
    by_degree, by_side = [], []
    for title, view in (("before (E0)", found.before), ("after (W)", found.after)):
        axes = "2 components: {:.1%} + {:.1%} of variance".format(*view.shares)
        by_degree.append(plots.scatter_degrees(title, view.points, found.degrees, axes))
        by_side.append(plots.scatter_sides(title, view.points, found.is_item, axes))
    return Embeddings(found.layers, len(found.degrees), found.nodes, by_degree, by_side)


def _examples(run: RunResults, seed: int) -> Examples | None:
    """Of the sequential task, or of the direct one where there is no other."""
    task = next((name for name in RANKING_TASKS if run.rows.get(name)), None)
    if task is None:
        return None
    result = run.results[task]
    added = is_baseline(result) or result["arguments"].get("linear")
    probable = not added and result["decode"] != "beam"
    return examples(task, run.rows[task], run.rows.get("explanation", []), probable, seed)


def _settings(run: RunResults) -> Iterator[Table]:
    for records in (_training_record(run), run.results):
        names = dict.fromkeys(name for record in records.values() for name in record["arguments"])
        names.pop("data", None)  # data_dir says the same
        rows = [
            Row([name, *(_value(record["arguments"].get(name)) for record in records.values())])
            for name in names
        ]
        rows = [row for row in rows if any(row.cells[1:])]  # without what nobody set
        if rows:
            yield Table(["", *records], rows)


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
