"""The runs of an experiment: a metric against multiply-adds."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, PercentFormatter

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.figures.style import COLOURS, GREY, INK, STYLE, save
from speech_commands_kws.tracking.experiments import Standing, pareto_front

COST = "multiply_adds"
OTHERS = "other data"
INCHES, WIDTHS = (11.0, 5.5), (2, 1)
DOT_POINTS, FRONT_POINTS = 22, 48
FAINT = 0.45
LABEL_OFFSET = (-4, 4)  # points, towards where a front has no neighbours
LISTED, LIST_STEP, LIST_POINTS = 16, 0.055, 8.5
NAME_CHARACTERS = 34
FINGERPRINT_CHARACTERS = 8
MARGIN_OF_ONE = 1.5  # the axis around runs that all cost the same
TICKS = (1, 2, 5)
LEGEND_BELOW = (0.0, -0.14)


class Point(NamedTuple):
    """A run in the picture; `place` is its number in the table."""

    place: int
    name: str
    data: str
    cost: float
    value: float


@matplotlib.rc_context(STYLE)
def plot_standings(
    ranked: Sequence[Standing], metric: str, descending: bool, about: str, path: Path
) -> Path:
    """Draw a metric against multiply-adds, with the runs of each front that none beats listed by their place.

    Results on different data do not compare: each data set has its colour and a front of its own.

    Args:
        ranked: the runs in the order of their places; those without one of the two figures are left out.
        descending: whether more of the metric is better.

    Raises:
        KwsError: no run has both figures.
    """
    groups = by_data(points_of(ranked, metric))
    if not groups:
        raise KwsError(f"expected runs with {metric} and {COST} for a picture, got none")
    figure = Figure(figsize=INCHES)
    axes, listing = figure.subplots(1, 2, width_ratios=WIDTHS)
    fronts = [
        _draw_group(axes, points, data, colour, descending)
        for (data, points), colour in zip(groups.items(), [*COLOURS, GREY])
    ]
    shares = "accuracy" in metric
    _set_axes(axes, [point.cost for points in groups.values() for point in points], metric, shares)
    _list_front(listing, sorted(chain.from_iterable(fronts)), shares)
    return save(figure, path, f"{metric.replace('_', ' ').capitalize()} and size", about)


def points_of(ranked: Sequence[Standing], metric: str) -> list[Point]:
    found = []
    for place, standing in enumerate(ranked, 1):
        cost, value = standing.number(COST), standing.number(metric)
        if value is not None and cost:
            fingerprint = standing.tags.get("data_fingerprint", "")[:FINGERPRINT_CHARACTERS]
            data = f"{standing.tags.get('data', '')} {fingerprint}".strip() or "unknown data"
            found.append(Point(place, standing.run, data, cost, value))
    return found


def by_data(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Points by their data, in the order of the best of each; more data sets than colours share one group."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        full = len(groups) >= len(COLOURS) and point.data not in groups
        groups.setdefault(OTHERS if full else point.data, []).append(point)
    return groups


def _draw_group(
    axes: Axes, points: list[Point], data: str, colour: str, descending: bool
) -> list[Point]:
    """Draw the runs on one data set; returns those of the front. Different data have no front."""
    costs, values = zip(*((point.cost, point.value) for point in points))
    axes.scatter(costs, values, DOT_POINTS, colour, alpha=FAINT, linewidths=0, label=data)
    if data == OTHERS:
        return []
    front = [points[i] for i in pareto_front(list(zip(costs, values)), descending)]
    costs, values = [point.cost for point in front], [point.value for point in front]
    axes.step(costs, values, where="post", color=colour, linewidth=1.0)
    axes.scatter(costs, values, FRONT_POINTS, colour, edgecolors="white", zorder=2)
    for point in front:
        axes.annotate(
            str(point.place),
            (point.cost, point.value),
            LABEL_OFFSET,
            textcoords="offset points",
            ha="right",
            color=INK,
            weight="bold",
        )
    return front


def _set_axes(axes: Axes, costs: list[float], metric: str, shares: bool) -> None:
    axes.set_xscale("log")
    if min(costs) == max(costs):
        axes.set_xlim(costs[0] / MARGIN_OF_ONE, costs[0] * MARGIN_OF_ONE)
    axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("multiply-adds of the backbone for one clip")
    axes.set_ylabel(metric.replace("_", " "))
    if shares:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(loc="upper left", bbox_to_anchor=LEGEND_BELOW, ncols=2)


def _list_front(axes: Axes, front: list[Point], shares: bool) -> None:
    """The runs of the front beside the picture, where their names do not cover each other."""
    axes.axis("off")
    cost = EngFormatter(places=2, sep=" ")
    lines = ["place in the table, run, value, multiply-adds"]
    for point in front[:LISTED]:
        value = percent(point.value) if shares else f"{point.value:.4g}"
        lines.append(f"{point.place}  {_shortened(point.name)}  {value}  {cost(point.cost)}")
    if len(front) > LISTED:
        lines.append(f"and {len(front) - LISTED} more")
    for i, line in enumerate(lines):
        axes.text(0.0, 1 - i * LIST_STEP, line, va="top", size=LIST_POINTS)


def _shortened(name: str) -> str:
    """The end of a long name, where a trial's number stands."""
    return name if len(name) <= NAME_CHARACTERS else f"…{name[-NAME_CHARACTERS:]}"
