"""``report.html``: one file that shows a run, made from the files of the run's folder.

    python -m modules.reports.page ./checkpoint/beauty/    # writes it again

The same folder gives the same bytes: samples are seeded, and no date is that of today. A folder may
hold a trained model, results, or both; what is missing is left out. This module prepares values;
the HTML is in templates/.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modules.reports import plots
from modules.reports.embeddings import read_map
from modules.reports.examples import Examples, examples, tested_texts
from modules.reports.results import UNLIKE, judged, task_results
from modules.reports.settings import settings_of
from modules.reports.sources import RunResults, read_results
from modules.runs.kinds import LogLine, RankedRow, Result
from modules.runs.record import RunRecord, model_about
from modules.runs.results import is_baseline, short_figure, title_of
from modules.tasks import RANKING_TASKS, TASKS
from utils import cli, distributed, flag_types
from utils.console import say
from utils.files import as_typed
from utils.metrics.ranking import NOT_RANKED
from utils.own_files import replace_own
from utils.pages import OLDER_PAGES, render

if TYPE_CHECKING:
    from modules.model.config import ELMRecConfig

REPORT = "report.html"
_TEMPLATE = Path(__file__).parent / "templates" / REPORT


def write_report(folder: str | Path, baselines: Sequence[Path] | None = None) -> None:
    """Write ``report.html`` into a run's folder, where no other page of that name is; of several
    processes, the main one does.

    baselines: their folders; None = those beside the run's, named ``<data>-<baseline>``.

    Raises:
        UserError: where the folder holds neither a run nor a result, or a file is broken.
    """
    if not distributed.is_main():
        return
    path = Path(folder) / REPORT
    if replace_own(path, build(read_results(Path(folder), baselines)), OLDER_PAGES):
        say(f"report: {path}")


def build(run: RunResults) -> str:
    """The page."""
    name = as_typed(run.folder).name
    first = run.first
    seed = first.seed
    model = title_of(first) if isinstance(first, Result) else first.title
    lead = f"{model}{'; data set' if ';' in model else ' on'} {first.dataset}"
    return render(
        _TEMPLATE,
        title=f"{name}: {lead}",
        name=name,
        lead=lead,
        about=model_about(run.record.arguments) if run.record and ";" not in model else "",
        origin=_origin(run),
        verdict=judged(run.verdict),
        seed=seed,
        facts=list(_facts(run)),
        commands=_commands(run),
        edges_seen=first.held_out_edges_seen,
        records_seen=first.held_out_records_seen,
        training=_training(run),
        results=list(task_results(run)),
        unlike_mark=UNLIKE,
        breakdowns=_breakdowns(run),
        embeddings=_embeddings(run.folder, seed),
        examples=_examples(run, seed),
        texts=tested_texts(_lists(run), run.texts, seed),
        settings=settings_of(_training_record(run) | run.results),
    )


# --------------------------------------------------------------------------------- sections


def _origin(run: RunResults) -> str:
    """When, on what and with which seed: in one line."""
    seed = f"seed {run.first.seed}"
    if run.record is None or not run.record.date:  # of an older version, or nothing was trained
        return seed
    return f"trained {run.record.date} on {run.record.machine}; {seed}"


def _facts(run: RunResults) -> Iterator[tuple[str, str]]:
    """Terms and their values in this run."""
    first = run.first
    yield "data set", first.dataset
    if run.record and (run.folder / "config.json").is_file():
        from modules.model.config import read_config  # torch: not for --help

        own = read_config(run.folder)
        yield "its size", f"{own.n_users:,} users, {own.n_items:,} items"
        backbone = run.record.arguments.get("backbone") or "an imported T5"
        yield "model", f"{run.record.title.partition(',')[0]} on {backbone}; {_symbols(own)}"
    yield "protocol", f"{first.protocol}; item numbers {first.item_ids}"
    code, plus, _ = (first.commit or "not from git").partition("+")
    yield "code", code[:12] + plus.replace("+", ", and changes that were not committed")
    yield "versions", ", ".join(f"{k} {v}" for k, v in first.versions.items())


def _commands(run: RunResults) -> list[tuple[str, list[str]]]:
    """The words of each command, by what it did."""
    records = _training_record(run) | run.results
    return [(name, record.command.split(" ")) for name, record in records.items()]


def _training_record(run: RunResults) -> dict[str, RunRecord]:
    return {"training": run.record} if run.record else {}


def _symbols(own: "ELMRecConfig") -> str:
    """The method's numbers with the paper's symbols, those that it has."""
    shown = [f"α {own.alpha:g}"]
    if own.method == "elmrec":
        shown += [f"σ {own.sigma:g}", f"L {own.graph_layers}"]
    if own.method != "p5":
        shown.append(f"K {own.prompt_num}")
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
    checks = [line for line in run.log if line.valid is not None]
    steps = [line for line in run.log if line.train is not None]
    best = next((line for line in reversed(checks) if line.improved), None)
    kept = best.step if best else None
    shown = []
    for task in TASKS:
        train = [(line.step, line.train[task]) for line in steps if task in line.train]
        valid = [(line.step, line.valid[task]) for line in checks if task in line.valid]
        if len(train) + len(valid) > 1:  # of one point there is no curve
            shown.append(plots.curve(f"{task}: loss per token", train, valid, kept, "loss"))
    ranked = [line for line in checks if line.metrics]
    for name in ranked[0].metrics if len(ranked) > 1 else ():  # the same in each validation
        valid = [(line.step, line.metrics[name]) for line in ranked if name in line.metrics]
        task, _, metric = name.partition(" ")
        shown.append(plots.curve(f"{task}: validation users", [], valid, kept, metric))
    return Training(
        kept,
        run.log[-1].step if run.log else 0,
        checks[-1].epoch if checks else 0,
        _reason(best) if best else "",
        [time["step"] for time in (run.record.resumed if run.record else ())],
        shown,
    )


def _reason(check: LogLine) -> str:
    """Why a model was kept."""
    gains = {name: value for name, value in check.metrics.items() if "NDCG" in name}
    if gains:
        shown = ", ".join(f"{name} {short_figure(value)}" for name, value in gains.items())
        return f"the best by the ranking of validation users: {shown}"
    mean = "" if check.valid_mean is None else f" of {check.valid_mean:.4f}"
    return f"with a mean validation loss{mean}"


def _breakdowns(run: RunResults) -> list[list[plots.Plot]]:
    """Plots by task, of the tasks that have any."""
    # Ranks are those in lists, which may not go as deep as the figure.
    deep = [t for t in RANKING_TASKS if t in run.results and "HR@10" in run.results[t].metrics]
    shown = [list(_bars_by_group(task, run.ranked.get(task, []))) for task in deep]
    return [row for row in shown if row]


def _bars_by_group(task: str, rows: Sequence[RankedRow]) -> Iterator[plots.Plot]:
    keys = ("history_length", "target_users")
    if not rows or any(getattr(row, key) is None for row in rows for key in keys):
        return  # of older code
    from scipy.stats import binomtest  # takes more than a second

    from utils.metrics.catalogue import HISTORY_STEPS, POPULARITY_STEPS, breakdown, step_label

    ranks = np.array([NOT_RANKED if row.rank is None else row.rank for row in rows])
    for key, title, steps in zip(
        keys,
        ("items before the test item", "train users of the test item"),
        (HISTORY_STEPS, POPULARITY_STEPS),
    ):
        bars = []
        for group in breakdown(ranks, np.array([getattr(row, key) for row in rows]), steps):
            test = binomtest(round(group.hr * group.users), group.users)
            ends = test.proportion_ci(method="wilson")
            note = f"{short_figure(group.hr)} ({group.users:,})"
            label = step_label(group.low, group.high)
            bars.append(plots.Bar(label, group.hr, plots.BLUE, ends.low, ends.high, note))
        if len(bars) > 1:  # one group is everybody
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


def _lists(run: RunResults) -> list[RankedRow]:
    """Of the sequential task, or of the direct one where there is no other."""
    return next((run.ranked[name] for name in RANKING_TASKS if run.ranked.get(name)), [])


def _examples(run: RunResults, seed: int) -> Examples | None:
    task = next((name for name in RANKING_TASKS if run.ranked.get(name)), None)
    if task is None:
        return None
    result = run.results[task]
    added = is_baseline(result) or result.arguments.get("linear")
    probable = not added and result.decode != "beam"
    return examples(task, _lists(run), run.texts, probable, seed)


def main() -> None:
    """Write ``report.html`` of the folder on the command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("run", type=flag_types.path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--baselines",
        nargs="+",
        type=flag_types.path,
        metavar="FOLDER",
        help="of compare.py baselines, for comparison; default: those beside RUN, <data>-<name>",
    )
    args = parser.parse_args()
    write_report(args.run, args.baselines)


if __name__ == "__main__":
    cli.run(main)
