"""Misses against false alarms an hour of a listener, as a picture: its detection error trade-off (DET) curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
)

from speech_commands_kws.figures.style import GREY, INK, MANY_COLOURS, STYLE, save

INCHES = (10.0, 5.0)
TICKS = (1, 2, 5)  # of each decade
PERCENTS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
LINE = {"linewidth": 1.5, "marker": ".", "markersize": 5}
CHOSEN = {"marker": "*", "markersize": 13, "markeredgecolor": INK, "linestyle": "none", "zorder": 3}
# Of nothing counted, so that it has a place on an axis of logarithms.
HALF = 0.5


@matplotlib.rc_context(STYLE)
def plot_detection(
    curve: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], about: str, path: Path
) -> Path:
    """Draw a line for each condition, and the chosen thresholds.

    Args:
        curve: of `operating_points.summary`, with one threshold for all keywords each.
        chosen: of `Tuning.point`; it rests on some sound without words.
    """
    figure = Figure(figsize=INCHES)
    axes = figure.subplots()
    alarms = chosen["false_alarms"]
    least = HALF / alarms["hours"]
    points = sorted(curve, key=lambda point: point["threshold"])
    rates = [max(point["per_hour"], least) for point in points]
    rate = max(alarms["per_hour"], least)
    for i, (name, found) in enumerate(chosen["misses_by_condition"].items()):
        floor = HALF / found["words"]
        missed = [max(point["miss_rate_by_condition"][name], floor) for point in points]
        colour = MANY_COLOURS[i % len(MANY_COLOURS)]
        axes.plot(rates, missed, color=colour, label=name, **LINE)
        axes.plot([rate], [max(found["miss_rate"], floor)], color=colour, **CHOSEN)
    label = f"★ chosen thresholds:\n{alarms['alarms']} in {alarms['hours']:.2f} h"
    axes.axvline(rate, color=GREY, linestyle=":", label=label)
    axes.set(xscale="log", yscale="log", ylabel="words missed")
    axes.set_xlabel(f"false alarms an hour; none is drawn at {least:.2g}")
    axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_locator(FixedLocator(PERCENTS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside right upper", fontsize="small")
    title = "Detection: misses and false alarms at each threshold"
    return save(figure, path, title, about)
