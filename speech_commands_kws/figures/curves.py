"""The curves of a training: loss, accuracy, learning rate and throughput by epoch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.figures.style import BLUE, GREEN, INK, ORANGE, STYLE, save

CURVE_INCHES = (8.0, 4.5)
BEST_MARKER_POINTS = 70
HEADROOM = 1.05


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
        "accuracy",
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
        axes.set_ylim(0, HEADROOM * axes.get_ylim()[1])
    if curve.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(curve.series) > 1:
        axes.legend()
    return save(figure, path, curve.name.replace("_", " ").capitalize(), ", ".join(about))
