"""The runs of an experiment: a metric against multiply-adds."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, PercentFormatter

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.figures.style import COLOURS, GREY, INK, STYLE, save, shorten
from speech_commands_kws.training.objectives import MAXIMIZE, MINIMIZE, pareto_front

if TYPE_CHECKING:
    from pandas import DataFrame, Series

COST = "multiply_adds"
OTHERS = "other data"
INCHES, WIDTHS = (13.0, 5.5), (8, 5)
DOT_POINTS, FRONT_POINTS = 22, 48
FAINT = 0.45
LABEL_OFFSET = (-4, 4)  # points, towards where a front has no neighbours
LISTED, LIST_STEP, LIST_POINTS = 16, 0.055, 8.5
NAME_CHARACTERS = 42
FINGERPRINT_CHARACTERS = 8
NEAR = (0.06, 0.05)  # of the axes
MARGIN_OF_ONE = 1.5  # the axis around runs that all cost nearly the same
TICKS = (1, 2, 5)
LEGEND_BELOW = (0.0, -0.14)


@matplotlib.rc_context(STYLE)
def plot_runs(ranked: "DataFrame", metric: str, descending: bool, about: str, path: Path) -> Path:
    """Draw a metric against multiply-adds, with the runs of each front that none beats listed by their place.

    Results on different data do not compare: each data set has its colour and a front of its own.

    Args:
        ranked: what `tracking.experiments.summarize` returns; runs without one of the two figures are left out.
        descending: whether more of the metric is better.

    Raises:
        KwsError: no run has both figures.
    """
    runs = ranked.dropna(subset=[metric, COST])
    runs = runs[runs[COST] > 0]
    if runs.empty:
        raise KwsError(f"expected runs with {metric} and {COST} for a picture, got none")
    figure = Figure(figsize=INCHES)
    axes, listing = figure.subplots(1, 2, width_ratios=WIDTHS)
    directions = [MINIMIZE, MAXIMIZE if descending else MINIMIZE]
    shares = "accuracy" in metric
    places: list[int] = []
    # In the order of the best run of each.
    for (data, group), colour in zip(runs.groupby(data_of(runs), sort=False), [*COLOURS, GREY]):
        axes.scatter(
            group[COST], group[metric], DOT_POINTS, colour, alpha=FAINT, linewidths=0, label=data
        )
        if data != OTHERS:
            group = group.drop_duplicates([COST, metric])
            front = pareto_front(group[[COST, metric]].to_numpy(float), directions)
            _draw_front(axes, group.iloc[front].sort_values(COST), metric, colour)
            places += list(group["place"].iloc[front])
    _set_axes(axes, runs[COST], metric, shares)
    _number(axes, runs[runs["place"].isin(places)], metric)
    _list_front(listing, runs[runs["place"].isin(places)], metric, shares)
    return save(figure, path, f"{metric.replace('_', ' ').capitalize()} and size", about)


def data_of(runs: "DataFrame") -> "Series":
    """The name of each run's data; the data sets for which there is no colour share one."""
    fingerprint = runs["data_fingerprint"].fillna("").str[:FINGERPRINT_CHARACTERS]
    data = (runs["data"].fillna("") + " " + fingerprint).str.strip().replace("", "unknown data")
    return data.where(data.isin(data.unique()[: len(COLOURS)]), OTHERS)


def _draw_front(axes: Axes, front: "DataFrame", metric: str, colour: str) -> None:
    axes.step(front[COST], front[metric], where="post", color=colour, linewidth=1.0)
    axes.scatter(front[COST], front[metric], FRONT_POINTS, colour, edgecolors="white", zorder=2)


def _number(axes: Axes, front: "DataFrame", metric: str) -> None:
    """Write the places at the dots, those of dots that lie close together in one text."""
    label = {"textcoords": "offset points", "ha": "right", "color": INK, "weight": "bold"}
    dots = front[[COST, metric]].to_numpy(float)
    shares = axes.transAxes.inverted().transform(axes.transData.transform(dots))
    groups: dict[int, list[str]] = {}
    for i, place in enumerate(front["place"]):
        near = (j for j in groups if (abs(shares[i] - shares[j]) < NEAR).all())
        groups.setdefault(next(near, i), []).append(str(place))
    for i, places in groups.items():
        axes.annotate(", ".join(places), dots[i], LABEL_OFFSET, **label)


def _set_axes(axes: Axes, costs: "Series", metric: str, shares: bool) -> None:
    axes.set_xscale("log")
    if costs.max() < costs.min() * MARGIN_OF_ONE:
        axes.set_xlim(costs.min() / MARGIN_OF_ONE, costs.max() * MARGIN_OF_ONE)
    axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("multiply-adds of the backbone for one clip")
    axes.set_ylabel(metric.replace("_", " "))
    if shares:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(loc="upper left", bbox_to_anchor=LEGEND_BELOW, ncols=2)


def _list_front(axes: Axes, front: "DataFrame", metric: str, shares: bool) -> None:
    """The runs of the front beside the picture, where their names do not cover each other."""
    axes.axis("off")
    cost = EngFormatter(places=2, sep=" ")
    lines = ["place in the table, run, value, multiply-adds"]
    for run in front[:LISTED].to_dict("records"):
        value = percent(run[metric]) if shares else f"{run[metric]:.4g}"
        name = shorten(run["run"], NAME_CHARACTERS)
        lines.append(f"{run['place']}  {name}  {value}  {cost(run[COST])}")
    if len(front) > LISTED:
        lines.append(f"and {len(front) - LISTED} more")
    for i, line in enumerate(lines):
        axes.text(0.0, 1 - i * LIST_STEP, line, va="top", size=LIST_POINTS)
