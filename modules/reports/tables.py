"""Runs side by side, as tables, from the ``<task>.json`` of models and baselines.

A table is a ``Section``, shown as Markdown, LaTeX or HTML; or CSV of one figure per line for a
spreadsheet. Published figures are marked.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modules.reports.entries import Entry
from modules.runs.kinds import Catalogue, Group
from modules.runs.results import COLUMNS, figure
from modules.tasks import RANKING_TASKS
from utils.metrics.catalogue import FULL_CUTOFFS, step_label
from utils.tables import markdown, markdown_text, one_line, to_csv


class Section(NamedTuple):
    """A table with its heading, and what to know of it."""

    title: str
    depth: int  # of the heading: 2 or 3
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def entries_as_markdown(rows: Sequence[Entry], catalogue: bool = False) -> str:
    """``sections`` as Markdown that reads as plain text too."""
    parts = []
    for section in sections(rows, catalogue):
        parts.append(f"{'#' * section.depth} {markdown_text(section.title)}")
        parts.append(markdown(section.header, section.rows))
        if section.notes:
            parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts) + "\n"


def sections(rows: Sequence[Entry], catalogue: bool = False) -> list[Section]:
    """A table for each data set and task.

    catalogue: with tables of the whole catalogue, where its figures are recorded.
    """
    found = []
    for dataset, task in dict.fromkeys((row.dataset, row.task) for row in rows):
        mine = [row for row in rows if (row.dataset, row.task) == (dataset, task)]
        found.append(_section(f"{dataset}, {task}", task, mine))
        if catalogue:
            found += _catalogue_sections(found[-1].title, [row for row in mine if row.catalogue])
    return found


def _section(title: str, task: str, mine: Sequence[Entry]) -> Section:
    columns = COLUMNS[task]
    rows_of = "users" if task in RANKING_TASKS else "texts"
    header = ["method", "protocol", "items", "seed", rows_of, *columns, "from"]
    unlike = len({row.data for row in mine if row.data}) > 1
    lines = [
        [row.method, row.protocol, row.item_ids, row.seed, row.users]
        + [cell(row, column) for column in columns]
        + [f"{row.source} (data {row.data or 'not known'})" if unlike else row.source]
        for row in mine
    ]
    notes = [_UNLIKE] if unlike else []
    notes += [one_line(f"{row.source}: {row.note}.") for row in mine if row.note]
    if len({row.negatives for row in mine if row.negatives}) > 1:
        known = [row for row in mine if row.negatives]
        notes += [one_line(f"{row.source}: among {row.negatives} negatives.") for row in known]
    if any(row.counts for row in mine):
        notes.append(SPREAD)
    return Section(title, 2, header, lines, notes)


def cell(row: Entry, column: str) -> str:
    """A figure; of several runs their mean, standard deviation and number."""
    value = figure(row.metrics.get(column))
    if not value or column not in row.counts:
        return value
    spread = row.spread.get(column)
    return f"{value}{f' ± {figure(spread)}' if spread is not None else ''} ({row.counts[column]})"


SPREAD = "Mean ± standard deviation over seeds (number of runs)."
_UNLIKE = (
    "Not all of these are of one data folder, though it has one name: only rows of the same code "
    "after 'data' can be compared."
)


def _catalogue_sections(title: str, rows: Sequence[Entry]) -> Iterator[Section]:
    if not rows:
        return
    notes = ["Rows of several seeds are means."] if any(row.counts for row in rows) else []
    named = [_named_metrics(row.catalogue) for row in rows]
    cutoffs = [f"@{k}" for k in FULL_CUTOFFS]
    lines = [
        [row.method, kind] + [figure(own.get(kind + k)) for k in cutoffs] + [row.source]
        for kind in ("HR", "NDCG", "MRR")
        for row, own in zip(rows, named)
    ]
    header = ["method", "metric", *cutoffs, "from"]
    yield Section(f"{title}: the whole catalogue, exact ranks", 3, header, lines, notes)
    single = [_single_figures(row.catalogue) for row in rows]
    spread = list(dict.fromkeys(name for own in single for name in own))  # of several depths
    lines = [
        [row.method, row.source, *(figure(own.get(name)) for name in spread)]
        for row, own in zip(rows, single)
    ]
    yield Section(f"{title}: what is listed", 3, ["method", "from", *spread], lines, notes)
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
        header = ["method", "from", *steps]
        yield Section(f"{title}: HR@10 / NDCG@10 by {label}", 3, header, lines, notes)


def _named_metrics(catalogue: Catalogue) -> dict[str, float]:
    metrics = catalogue.get("metrics")
    return metrics if isinstance(metrics, dict) else {}


def _single_figures(catalogue: Catalogue) -> dict[str, float]:
    return {name: value for name, value in catalogue.items() if isinstance(value, float)}


def _breakdowns(catalogue: Catalogue) -> dict[str, list[Group]]:
    return {name: value for name, value in catalogue.items() if isinstance(value, list)}


def _step(group: Group) -> str:
    return f"{step_label(group.low, group.high)} ({group.users:,} users)"


_NAMES = Entry._fields[: Entry._fields.index("metrics")]


def entries_as_csv(rows: Sequence[Entry]) -> str:
    """One figure per line: what it is of, its name, its value; of several runs the mean, with the
    standard deviation and the number of runs."""
    return to_csv([*_NAMES, "figure", "value", "sd", "runs"], _csv_lines(rows))


def _csv_lines(rows: Sequence[Entry]) -> Iterator[list[str | float]]:
    for row in rows:
        figures, catalogue = dict(row.metrics), row.catalogue or {}
        for name, value in (_named_metrics(catalogue) | _single_figures(catalogue)).items():
            figures[f"catalogue {name}"] = value
        for name, groups in _breakdowns(catalogue).items():
            for group in groups:
                label = f"catalogue {name} {_step(group)}"
                figures |= {f"{label} HR@10": group.hr, f"{label} NDCG@10": group.ndcg}
        own = row[: len(_NAMES)]
        for name, value in figures.items():
            yield [*own, name, value, row.spread.get(name, ""), row.counts.get(name, "")]
