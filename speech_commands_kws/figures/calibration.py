"""The reliability diagram: accuracy by confidence."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter, StrMethodFormatter

from speech_commands_kws.evaluation.metrics import Reliability, percent
from speech_commands_kws.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    WHISKERS,
    interval_arms,
    save,
)

DIAMONDS = {"marker": "D", "linestyle": "none", "markeredgecolor": "white"}
INCHES, HEIGHTS = (7.5, 7.5), (3, 1)


@matplotlib.rc_context(STYLE)
def plot_reliability(curve: Reliability, error: float, about: str, path: Path) -> Path:
    """Draw accuracy by confidence above a histogram of confidence; `error` is the ECE, a share."""
    figure = Figure(figsize=INCHES)
    above, below = figure.subplots(2, sharex=True, height_ratios=HEIGHTS)
    edges, filled = curve.edges, curve.count > 0
    middles, bars = (edges[1:] + edges[:-1]) / 2, {"width": edges[1], "edgecolor": "white"}
    accuracy, count = curve.accuracy[filled], curve.count[filled]
    above.bar(middles, curve.accuracy, color=BLUE, alpha=0.5, label="accuracy", **bars)
    arms = interval_arms(np.round(accuracy * count), count)
    above.errorbar(middles[filled], accuracy, arms, label="its 95% interval", **WHISKERS)
    above.plot(middles, curve.confidence, color=ORANGE, label="mean confidence", **DIAMONDS)
    above.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    figure.legend(loc="outside lower center", ncols=2)
    below.bar(middles, curve.count, color=GREY, **bars)
    below.set(xlabel="confidence: the probability of the predicted class", ylabel="clips")
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return save(figure, path, f"Calibration: expected calibration error {percent(error)}", about)
