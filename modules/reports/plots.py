"""The plots of a report as SVG text, by matplotlib; the same numbers give the same bytes.

Each plot is as wide as a phone, so that its letters keep their size there; a page lays several
side by side. No plot knows what a run is.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modules.runs.results import short_figure
from utils.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#9a9a9a"  # told apart by colour-blind readers too
WIDTH = 3.6  # inches: 346 CSS pixels
_STYLE = {
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
    "figure.facecolor": "white",
}


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
) -> str:
    """Losses or metrics by step. best: the step of the kept model; label: of the figures."""

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

    return _svg(f"{title}: {label}", draw, 2.5)


def bars(title: str, rows: Sequence[Bar], label: str) -> str:
    """Horizontal bars, the first on top. label: of the axis of values."""

    def draw(axes: "Axes") -> None:
        places = np.arange(len(rows))
        axes.barh(places, [row.value for row in rows], color=[row.colour for row in rows])
        ends = np.array([row.value if row.high is None else row.high for row in rows])
        # A group of few users may have a whisker many bars long: it is cut, with an arrow head.
        right = min(ends.max(), 3 * max(row.value for row in rows)) or 1.0
        for place, row, end in zip(places, rows, np.minimum(ends, right)):
            if row.low is not None:
                axes.plot([row.low, end], [place, place], color="#333333", linewidth=1)
                if row.high > end:
                    axes.plot(end, place, color="#333333", marker=">", markersize=4)
            text = short_figure(row.value) if row.note is None else row.note
            axes.text(end + right * 0.04, place, text, va="center", fontsize=7.5)
        axes.set_yticks(places, [_short(row.label) for row in rows])
        axes.invert_yaxis()
        axes.set(title=title, xlabel=label, xlim=(0, right * 1.35))
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=4)

    return _svg(f"{title}: {label}", draw, 0.95 + 0.27 * len(rows))


def scatter_degrees(title: str, points: np.ndarray, degrees: np.ndarray, axes_of: str) -> str:
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

    return _svg(f"{title}, by degree", draw, 2.9)


def scatter_sides(title: str, points: np.ndarray, is_item: np.ndarray, axes_of: str) -> str:
    """(n, 2) points coloured by side: users or items."""

    def draw(axes: "Axes") -> None:
        for name, mine, colour in (("users", ~is_item, BLUE), ("items", is_item, ORANGE)):
            axes.scatter(*points[mine].T, c=colour, label=name, **_DOTS)
        axes.legend(loc="best", markerscale=2.5)
        _frame(axes, title, axes_of)

    return _svg(f"{title}, by side", draw, 2.9)


_DOTS = {"s": 5, "linewidths": 0, "alpha": 0.7, "rasterized": True}


def _frame(axes: "Axes", title: str, axes_of: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(axes_of, fontsize=7.5)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=4)


def _short(label: str) -> str:
    return label if len(label) <= 24 else label[:23] + "…"


def _svg(name: str, draw: Callable[["Axes"], None], height: float) -> str:
    """Draw one pair of axes; SVG text to stand inside a page."""
    try:
        import matplotlib  # 0.3 s, and only for a report
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "report.html needs matplotlib: pip install -r requirements.txt. All else is written."
        ) from error
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        out = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", dpi=220, metadata=nothing)
    return _inline(out.getvalue().decode("utf-8"), name)


def _inline(text: str, name: str) -> str:
    """A file's SVG -> an element: no prologue, as wide as it may be, ids of its own."""
    from html import escape

    text = text[text.index("<svg") :]
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    own = re.sub(r"\W+", "-", name.lower()).strip("-")

    def rename(match: re.Match) -> str:
        return f' id="{own}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r'\sid="([^"]+)"', rename, text)
    text = re.sub(r'(url\(#|href="#)([^")]+)', rf"\g<1>{own}-\g<2>", text)
    head = re.search(r'<svg[^>]*viewBox="([^"]+)"[^>]*>', text)
    opened = (
        f'<svg viewBox="{head[1]}" role="img" aria-label="{escape(name)}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return opened + text[head.end() :].strip()
