"""The plots of a report as SVG images, by matplotlib; the same numbers give the same bytes.

Each plot is as wide as a phone, so that its letters keep their size there; a page shows several
side by side. No plot knows what a run is.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modules.runs.results import short_figure
from utils.errors import UserError
from utils.tables import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#9a9a9a"  # colour-blind readers see the difference too
WIDTH = 3.6  # inches: 346 CSS pixels
_STYLE = {
    "svg.hashsalt": "report",  # ids that do not change from one time to the next
    "svg.fonttype": "path",  # the letters as measured, whatever fonts a reader has
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "figure.facecolor": "none",  # the page's own, by day and by night
    "axes.facecolor": "none",
}


class Plot(NamedTuple):
    """An image for ``<img>``."""

    alt: str  # its title and main figures, for those who do not see it
    src: str  # data URI


class Bar(NamedTuple):
    """One bar of ``bars``; the whisker, where there is one, from low to high."""

    label: str
    value: float
    colour: str = BLUE
    low: float | None = None
    high: float | None = None
    note: str | None = None  # beside the bar, in place of its value


def curve(
    title: str,
    train: Sequence[tuple[int, float]],
    valid: Sequence[tuple[int, float]],
    best: int | None,
    label: str,
) -> Plot:
    """Losses or metrics by step. best: the step of the kept model; label: of the figures."""
    alt = [_name(title, label)]
    for name, points in (("training", train), ("validation", valid)):
        if points:
            ends = [f"{short_figure(y)} at step {x:,}" for x, y in (points[0], points[-1])]
            alt.append(f"{name} {' to '.join(dict.fromkeys(ends))}")
    if best is not None:
        alt.append(f"kept model: step {best:,}")

    def draw(axes: "Axes") -> None:
        if train:
            axes.plot(*zip(*train), color=GREY, linewidth=1.2, label="training")
        if valid:
            mark = "o" if len(valid) < 40 else ""
            axes.plot(*zip(*valid), color=BLUE, marker=mark, markersize=3, label="validation")
        if best is not None:
            axes.axvline(best, color=ORANGE, linestyle=":", linewidth=1.2, label="kept model")
        axes.set(title=title, xlabel="step", ylabel=label)
        axes.locator_params(axis="x", nbins=5)
        axes.legend(loc="best", frameon=True, edgecolor="none", framealpha=0.85)

    return _plot("; ".join(alt), draw, 2.5)


def lines(title: str, runs: Mapping[str, Sequence[tuple[int, float]]]) -> Plot:
    """A figure of validation by epoch, a line a run. runs: points by the run's name."""
    shown = (
        f"{name} {short_figure(points[0][1])} to {short_figure(points[-1][1])}"
        for name, points in runs.items()
    )

    def draw(axes: "Axes") -> None:
        for number, (name, points) in enumerate(runs.items()):
            style = ("-", "--", ":", "-.")[number // 10 % 4]  # colours come again after ten
            mark = "o" if len(points) < 40 else ""
            label = _short_end(name)
            axes.plot(*zip(*points), style, marker=mark, markersize=2.5, linewidth=1, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), fontsize=7)

    return _plot(f"{title}, by epoch; {'; '.join(shown)}", draw, 2.5 + 0.16 * len(runs))


def bars(title: str, rows: Sequence[Bar], label: str) -> Plot:
    """Horizontal bars, the first on top. label: of the axis of values."""
    notes = [short_figure(row.value) if row.note is None else row.note for row in rows]

    def draw(axes: "Axes") -> None:
        places = np.arange(len(rows))
        axes.barh(places, [row.value for row in rows], color=[row.colour for row in rows])
        ends = np.array([row.value if row.high is None else row.high for row in rows])
        # A group of few users may have a whisker many bars long: it is cut, with an arrow head.
        right = min(ends.max(), 3 * max(row.value for row in rows)) or 1.0
        for place, row, end, note in zip(places, rows, np.minimum(ends, right), notes):
            if row.low is not None:
                axes.plot([row.low, end], [place, place], color="#333333", linewidth=1)
                if row.high > end:
                    axes.plot(end, place, color="#333333", marker=">", markersize=4)
            axes.text(end + right * 0.04, place, note, va="center", fontsize=7.5)
        axes.set_yticks(places, [_short(row.label) for row in rows])
        axes.invert_yaxis()
        axes.set(title=title, xlabel=label, xlim=(0, right * 1.35))
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=4)

    shown = ", ".join(f"{row.label} {note}" for row, note in zip(rows, notes))
    return _plot(f"{_name(title, label)}; {shown}", draw, 0.95 + 0.27 * len(rows))


def scatter_degrees(title: str, points: np.ndarray, degrees: np.ndarray, axes_of: str) -> Plot:
    """(n, 2) points coloured by (n,) degrees, on a scale of their logarithm."""

    def draw(axes: "Axes") -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import LogLocator

        low = max(1, int(degrees.min()))
        norm = LogNorm(low, max(low + 1, int(degrees.max())))
        shown = axes.scatter(
            *points.T, c=np.maximum(degrees, 1), norm=norm, cmap="viridis", **_DOTS
        )
        bar = axes.figure.colorbar(
            shown,
            ax=axes,
            pad=0.02,
            label="degree",
            format="{x:g}",
            ticks=LogLocator(subs=(1, 2, 5)),
        )
        bar.minorticks_off()
        bar.outline.set_visible(False)
        _frame(axes, title, axes_of)

    alt = f"{title}: {len(points):,} nodes by degree, {degrees.min():,} to {degrees.max():,}"
    return _plot(f"{alt}; {axes_of}", draw, 2.9)


def scatter_sides(title: str, points: np.ndarray, is_item: np.ndarray, axes_of: str) -> Plot:
    """(n, 2) points coloured by side: users or items."""

    def draw(axes: "Axes") -> None:
        for name, mine, colour in (("users", ~is_item, BLUE), ("items", is_item, ORANGE)):
            axes.scatter(*points[mine].T, c=colour, label=name, **_DOTS)
        axes.legend(loc="best", markerscale=2.5)
        _frame(axes, title, axes_of)

    items = int(is_item.sum())
    alt = f"{title}: {len(points) - items:,} users and {items:,} items"
    return _plot(f"{alt}; {axes_of}", draw, 2.9)


_DOTS = {"s": 5, "linewidths": 0, "alpha": 0.7, "rasterized": True}


def _frame(axes: "Axes", title: str, axes_of: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(axes_of, fontsize=7.5)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=4)


def _name(title: str, label: str) -> str:
    return title if label in title else f"{title}: {label}"


def _short(label: str) -> str:
    label = one_line(label)
    return label if len(label) <= 24 else label[:23] + "…"


def _short_end(label: str) -> str:
    """The end of a folder's name, in which runs differ. A name that begins with "_" has no place
    in a legend: matplotlib takes it for a line without one."""
    label = one_line(label)
    return "…" + label[-39:] if len(label) > 40 or label.startswith("_") else label


def _plot(alt: str, draw: Callable[["Axes"], None], height: float) -> Plot:
    """Draw one pair of axes, ``height`` inches high."""
    try:
        import matplotlib  # 0.3 s, and only for a report
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "report.html needs matplotlib, which is not installed. All other files are written. "
            "Run pip install -r requirements.txt, then python -m modules.reports.page RUN."
        ) from error
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        out = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", dpi=220, metadata=nothing)
    svg = out.getvalue()
    svg = svg[svg.index(b"<svg") :]  # without the prologue, which names a file on the web
    return Plot(alt, "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii"))
