"""Plots as inline SVG that follow the page's light or dark theme.

Each colour drawn with stands for a CSS variable of the page and is replaced by it in the SVG.
Equal data gives equal bytes: ids are salted with the plot's name, and no date is written.
"""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

INK, MUTED, LINE = "#1d2329", "#59636e", "#dfe3e7"
#: Okabe and Ito's palette, told apart by colour-blind readers; the first is the model's.
SERIES = ("#0072b2", "#d97f00", "#009e73", "#cc79a7", "#8c6d46", "#6b7bb8")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {
    colour: f"--series-{index}" for index, colour in enumerate(SERIES)
}
_DAY = 86_400  # seconds
_WIDTH = 5.2  # inches; the page scales plots to their column

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Series:
    """One line, or one set of dots, with the limits of its intervals where it has any.

    `y[i]` may be None where there is no value; `low` and `high` are as long as `y`.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()

    def intervals(self) -> list[tuple[float, float, float, float]]:
        """x, y, low and high of the points that have an interval."""
        points = zip(self.x, self.y, self.low, self.high, strict=False)
        return [
            (x, y, low, high)
            for x, y, low, high in points
            if y is not None and low is not None and high is not None
        ]


def line_plot(
    name: str, series: Sequence[Series], x_label: str, y_label: str, at: Sequence[int] = ()
) -> Markup:
    """Lines over x, with bands for intervals; x is logarithmic with ticks `at`, where given."""
    with _style(name):
        figure, axes = _figure(3.3)
        for index, line in enumerate(series):
            points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None]
            colour = SERIES[index % len(SERIES)]
            axes.plot(
                *zip(*points, strict=True),
                label=line.label,
                color=colour,
                linestyle=DASHES[index % len(DASHES)],
                marker=MARKERS[index % len(MARKERS)] if len(points) <= 60 else None,
                zorder=3 - index / len(series),  # the model lies on top
            )
            if band := line.intervals():
                x, _, low, high = zip(*band, strict=True)
                axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
        if at:
            axes.set_xscale("log")
            axes.set_xticks(list(at), [str(k) for k in at])
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend(figure, len(series), handle=2.6)
        return _svg(figure, f"{y_label} by {x_label}: {', '.join(s.label for s in series)}")


def bar_plot(
    name: str,
    starts: Sequence[float],
    heights: Sequence[float],
    x_label: str,
    y_label: str,
    *,
    dates: bool = False,
) -> Markup:
    """Bars of one width, each of at least two from its start to the next one's.

    Args:
        dates: whether the starts are times, in seconds since 1970.
    """
    with _style(name):
        figure, axes = _figure(3.3)
        lefts = [start / _DAY for start in starts] if dates else list(starts)  # dates in days
        width = 0.9 * (lefts[1] - lefts[0])
        axes.bar(lefts, heights, width=width, align="edge", color=SERIES[0])
        if dates:
            locator = AutoDateLocator(minticks=3, maxticks=8)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _svg(figure, f"{y_label} by {x_label}")


def interval_plot(
    name: str, categories: Sequence[str], series: Sequence[Series], x_label: str, zero: bool = False
) -> Markup:
    """Dots with intervals, one row a category; `series.y` holds the values, shown along x.

    `series.x` is the row of each value: 0 is the first category, drawn on top. `zero` draws a line
    at 0, for differences; the values themselves are shown from 0 on.
    """
    with _style(name):
        figure, axes = _figure(0.9 + 0.16 * len(categories) * (len(series) + 1.5))
        for index, dots in enumerate(series):
            colour = SERIES[index % len(SERIES)]
            shift = (index - (len(series) - 1) / 2) * 0.7 / max(len(series), 2)
            rows = [
                (row + shift, y) for row, y in zip(dots.x, dots.y, strict=True) if y is not None
            ]
            for row, _, low, high in dots.intervals():
                axes.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.6, alpha=0.75)
            axes.plot(
                [value for _, value in rows],
                [row for row, _ in rows],
                linestyle="none",
                marker=MARKERS[index % len(MARKERS)],
                color=colour,
                label=dots.label,
                clip_on=False,  # a dot at 0 is a whole dot
                zorder=3,
            )
        if zero:
            axes.axvline(0, color=MUTED, linewidth=1)
        else:
            axes.set_xlim(left=0)
        for edge in range(1, len(categories)):
            axes.axhline(edge - 0.5, color=LINE, linewidth=0.7)
        axes.set_yticks(range(len(categories)), list(categories))
        axes.set_ylim(len(categories) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, pad=8, labelcolor=INK)
        axes.set_xlabel(x_label)
        _legend(figure, len(series), handle=1)
        return _svg(figure, f"{x_label} of {', '.join(categories)}")


def _style(name: str) -> AbstractContextManager[None]:
    settings: dict[Any, Any] = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if key[:7] != "backend"
    }
    settings |= _STYLE | {"svg.hashsalt": f"recllm {name}"}
    return matplotlib.rc_context(settings)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height))
    return figure, figure.add_subplot()


def _legend(figure: Figure, count: int, handle: float) -> None:
    if count > 1:
        figure.legend(loc="outside upper left", ncols=min(count, 3), handlelength=handle)


def _svg(figure: Figure, label: str) -> Markup:
    """The figure as an <svg> element without ids that would be doubled in a page."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1))
