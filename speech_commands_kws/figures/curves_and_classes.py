"""The graphs of a training run and of an evaluation, each a PNG file.

Every function draws on a Figure of its own, never on pyplot's global one: the runs of one process
do not mix. Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart.

Legend: K classes. `about` stands under a title: which data, how many clips, what accuracy.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from speech_commands_kws.evaluation.metrics import (
    Reliability,
    class_scores,
    percent,
    wilson_interval,
)
from speech_commands_kws.figures.style import BLUE, GREEN, GREY, INK, ORANGE, STYLE, save

DIAMONDS = {"marker": "D", "linestyle": "none", "markeredgecolor": "white"}
WHISKERS = {"fmt": "none", "ecolor": INK, "elinewidth": 1.2}

CURVE_INCHES = (8.0, 4.5)
BEST_MARKER_POINTS = 70

CELL_INCHES, SMALL_CELL_INCHES, MANY_CLASSES = 0.6, 0.37, 20
CONFUSION_MARGIN_INCHES, CONFUSION_LEAST_INCHES = 1.8, 7.5
COUNT_POINTS, SMALL_COUNT_POINTS = 9, 7
MISTAKES_AT_FULL_COLOUR = 0.4  # share of a class's clips
DARK_CELL = 0.6  # counts turn white on cells darker than this share of the colour map

ROW_INCHES, ROWS_MARGIN_INCHES, ROWS_WIDTH_INCHES = 0.27, 2.0, 9.0
FLOOR_STEPS = 10  # the axis of shares starts at a multiple of a tenth
COLUMN_PLACES, COLUMNS_WIDTH = (0.3, 0.75, 1.0), 0.3  # the figures right of the dots
RING_POINTS = 8  # precision rings the dot of an equal recall

RELIABILITY_INCHES, RELIABILITY_HEIGHTS = (7.5, 7.5), (3, 1)


class Series(NamedTuple):
    label: str
    colour: str


class Curve(NamedTuple):
    """A picture of `plot_curves`: what it shows; `best` chooses from its last series."""

    name: str
    unit: str
    series: Mapping[str, Series]
    best: Callable | None = None
    percent: bool = False
    from_zero: bool = False

    def show(self, value: float) -> str:
        return percent(value) if self.percent else f"{value:.4g}"


TRAINING, VALIDATION = Series("training", ORANGE), Series("validation", BLUE)
CURVES = (
    Curve(
        "loss",
        "cross entropy (nats)",
        {"train_loss": TRAINING, "validation_loss": VALIDATION},
        best=min,
    ),
    Curve(
        "accuracy",
        "clips answered right",
        {"train_accuracy": TRAINING, "validation_accuracy": VALIDATION},
        best=max,
        percent=True,
    ),
    Curve("learning_rate", "learning rate", {"learning_rate": Series("learning rate", GREEN)}),
    Curve(
        "throughput",
        "clips a second",
        {"clips_per_second": Series("training", GREEN)},
        from_zero=True,
    ),
)


@matplotlib.rc_context(STYLE)
def plot_curves(history: Sequence[Mapping[str, float]], folder: Path) -> list[Path]:
    """Draw loss, accuracy, learning rate and throughput by epoch; no figures, no picture.

    Args:
        history: one mapping an epoch with `epoch` (from 0) and any of `train_loss`,
            `validation_loss`, `train_accuracy`, `validation_accuracy`, `learning_rate`,
            `clips_per_second`.
        folder: where `loss.png`, `accuracy.png`, `learning_rate.png` and `throughput.png` go.
    """
    recorded = {key for epoch in history for key in epoch}
    curves = [curve for curve in CURVES if recorded & curve.series.keys()]
    return [_plot_curve(curve, history, folder / f"{curve.name}.png") for curve in curves]


def _plot_curve(curve: Curve, history: Sequence[Mapping[str, float]], path: Path) -> Path:
    figure = Figure(figsize=CURVE_INCHES)
    axes = figure.subplots()
    about = []
    for key, series in curve.series.items():
        points = [(row["epoch"] + 1, row[key]) for row in history if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), ".-", color=series.colour, label=series.label)
            about.append(f"{series.label} {curve.show(points[-1][1])} at the end")
    if curve.best and points:
        epoch, value = curve.best(points, key=lambda point: point[1])
        ring = {"s": BEST_MARKER_POINTS, "facecolors": "none", "edgecolors": INK, "zorder": 2}
        axes.scatter(epoch, value, label="best validation", **ring)
        about.append(f"best {curve.show(value)} in epoch {epoch:g}")
    axes.set(xlabel="epoch", ylabel=curve.unit)
    axes.set_xlim(history[0]["epoch"] + 0.5, history[-1]["epoch"] + 1 + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if curve.from_zero:
        axes.set_ylim(bottom=0)
    if curve.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(curve.series) > 1:
        axes.legend()
    return save(figure, path, curve.name.replace("_", " ").capitalize(), ", ".join(about))


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def plot_confusion(confusion: np.ndarray, labels: Sequence[str], about: str, path: Path) -> Path:
    """Draw the counts (K, K), truth in rows; mistakes have a colour scale of their own."""
    many = len(labels) > MANY_CLASSES
    side = (SMALL_CELL_INCHES if many else CELL_INCHES) * len(labels) + CONFUSION_MARGIN_INCHES
    figure = Figure(figsize=(max(side, CONFUSION_LEAST_INCHES), side))
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # (K, K) of the row
    right = np.eye(len(labels), dtype=bool)
    points = SMALL_COUNT_POINTS if many else COUNT_POINTS
    blues, oranges = matplotlib.colormaps["Blues"], matplotlib.colormaps["Oranges"]
    _draw_cells(axes, confusion, share, right, blues, Normalize(0, 1), points)
    scale = PowerNorm(0.5, 0, MISTAKES_AT_FULL_COLOUR, clip=True)
    _draw_cells(axes, confusion, share, ~right, oranges, scale, points)
    axes.set_xticks(range(len(labels)), labels, rotation="vertical")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer", ylabel="true word")
    edges = np.arange(len(labels) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    title = "Confusion matrix: right answers blue, mistakes orange, by their share of the row"
    return save(figure, path, title, about)


def _draw_cells(
    axes: Axes,
    confusion: np.ndarray,
    share: np.ndarray,
    chosen: np.ndarray,
    colours: Colormap,
    scale: Normalize,
    points: float,
) -> None:
    """Colour the cells `chosen` (K, K) that are not zero by their share, and write their counts."""
    shown = chosen & (confusion > 0)
    axes.imshow(np.ma.masked_where(~shown, share), cmap=colours, norm=scale)
    for i, j in np.argwhere(shown):
        ink = "white" if scale(share[i, j]) > DARK_CELL else INK
        count = f"{confusion[i, j]}"
        axes.text(j, i, count, ha="center", va="center", fontsize=points, color=ink)


@matplotlib.rc_context(STYLE)
def plot_class_scores(confusion: np.ndarray, labels: Sequence[str], about: str, path: Path) -> Path:
    """Draw recall with its 95 % interval and precision of every class, the weakest on top.

    Args:
        confusion: counts (K, K), truth in rows. A class without clips is left out.
    """
    scores = class_scores(confusion)
    order = [k for k in np.argsort(scores.recall, kind="stable") if scores.support[k]]
    recall, precision = scores.recall[order], scores.precision[order]
    rows = range(len(order))
    arms = interval_arms(np.diag(confusion)[order], scores.support[order])
    figure = Figure(figsize=(ROWS_WIDTH_INCHES, ROW_INCHES * len(order) + ROWS_MARGIN_INCHES))
    axes, columns = figure.subplots(1, 2, sharey=True, width_ratios=(1, COLUMNS_WIDTH))
    interval = axes.errorbar(recall, rows, xerr=arms, **WHISKERS)
    dots = axes.plot(recall, rows, "o", color=BLUE, clip_on=False)[0]
    ring = {"markersize": RING_POINTS, "fillstyle": "none", "clip_on": False}
    rings = axes.plot(precision, rows, "D", color=ORANGE, **ring)[0]
    lowest = np.nanmin([*(recall - arms[0]), *precision])
    axes.set(xlim=(np.floor(FLOOR_STEPS * lowest) / FLOOR_STEPS, 1), ylim=(len(order) - 0.5, -1))
    axes.set_yticks(rows, [labels[k] for k in order])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    columns.set_axis_off()
    figures = zip(map(percent, recall), map(percent, precision), scores.support[order], strict=True)
    for row, cells in enumerate([("recall", "precision", "clips"), *figures], start=-1):
        for place, cell in zip(COLUMN_PLACES, cells, strict=True):
            columns.text(place, row, cell, ha="right", va="center")
    names = ("recall", "its 95% interval", "precision")
    figure.legend((dots, interval, rings), names, loc="outside lower center", ncols=len(names))
    return save(figure, path, "Classes, the weakest first", about)


@matplotlib.rc_context(STYLE)
def plot_reliability(curve: Reliability, error: float, about: str, path: Path) -> Path:
    """Draw accuracy by confidence above a histogram of confidence; `error` is the ECE, a share."""
    figure = Figure(figsize=RELIABILITY_INCHES)
    above, below = figure.subplots(2, sharex=True, height_ratios=RELIABILITY_HEIGHTS)
    edges, filled = curve.edges, curve.count > 0
    middles, bars = (edges[1:] + edges[:-1]) / 2, {"width": edges[1], "edgecolor": "white"}
    accuracy, count = curve.accuracy[filled], curve.count[filled]
    above.bar(middles, curve.accuracy, color=BLUE, alpha=0.5, label="accuracy", **bars)
    arms = interval_arms(np.round(accuracy * count), count)
    above.errorbar(middles[filled], accuracy, arms, label="its 95% interval", **WHISKERS)
    above.plot(middles, curve.confidence, color=ORANGE, label="mean confidence", **DIAMONDS)
    above.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.legend(loc="upper left")
    below.bar(middles, curve.count, color=GREY, **bars)
    below.set(xlabel="confidence: the probability of the answer", ylabel="clips")
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return save(figure, path, f"Calibration: expected calibration error {percent(error)}", about)


def interval_arms(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Lengths (2, n) of the arms of the 95 % interval below and above each share."""
    share = hits / trials
    intervals = [wilson_interval(*pair) for pair in zip(hits, trials, strict=True)]
    low, high = np.transpose(intervals)
    return np.maximum([share - low, high - share], 0)
