"""A table of runs as a file: Markdown, CSV, LaTeX or a page with the curves of their training."""

from collections.abc import Sequence
from pathlib import Path

from modules.reports import plots
from modules.reports.entries import Entry
from modules.reports.results import Row, Table
from modules.reports.sources import read_log
from modules.reports.tables import entries_as_csv, entries_as_markdown, sections
from modules.runs.kinds import LogLine
from utils.errors import UserError
from utils.latex import latex_table
from utils.own_files import check_out
from utils.pages import render

ENDINGS = (".md", ".csv", ".tex", ".html")
_TEMPLATE = Path(__file__).parent / "templates" / "table.html"


def check_table_file(path: Path, overwrite: bool) -> None:
    """UserError where no table can be written to a file of ``--out``: asked before the work."""
    if path.suffix not in ENDINGS:
        raise UserError(f"--out {path}: must end in {', '.join(ENDINGS)}.")
    check_out(path, overwrite)


def as_text(
    ending: str, rows: Sequence[Entry], folders: Sequence[Path], catalogue: bool = False
) -> str:
    """What a table's file holds.

    Args:
        ending: one of ``ENDINGS``.
        folders: of the runs, for the curves of their training.
        catalogue: with tables of the whole catalogue, where its figures are recorded; CSV has them
            anyhow.

    Raises:
        UserError: where a log of a training is broken.
    """
    if ending == ".csv":
        return entries_as_csv(rows)
    if ending == ".md":
        return entries_as_markdown(rows, catalogue)
    if ending == ".html":
        return _page(rows, folders, catalogue)
    tables = [
        latex_table(part.header, part.rows, part.title, part.notes)
        for part in sections(rows, catalogue)
    ]
    return "\n".join(["% for a document with \\usepackage{booktabs}", *tables])


def _page(rows: Sequence[Entry], folders: Sequence[Path], catalogue: bool) -> str:
    shown = sections(rows, catalogue)
    tables = [Table(part.header, [_row(line) for line in part.rows]) for part in shown]
    return render(
        _TEMPLATE,
        title="Runs side by side",
        sections=list(zip(shown, tables)),
        curves=training_curves(folders),
    )


def _row(cells: list[str]) -> Row:
    return Row(cells, "published" if cells[0].endswith("(PUBLISHED)") else "")


def training_curves(folders: Sequence[Path]) -> list[plots.Plot]:
    """Each validation figure by epoch, a line a run; none where nothing was trained."""
    figures: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for folder in dict.fromkeys(folders):
        for line in read_log(folder):
            for name, value in _validation(line).items():
                figures.setdefault(name, {}).setdefault(str(folder), []).append((line.epoch, value))
    return [plots.lines(name, runs) for name, runs in figures.items()]


def _validation(line: LogLine) -> dict[str, float]:
    losses = {f"{task}: validation loss": value for task, value in (line.valid or {}).items()}
    ranked = {name.replace(" ", ": validation ", 1): v for name, v in line.metrics.items()}
    return losses | ranked if line.valid is not None else {}
