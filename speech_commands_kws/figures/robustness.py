"""Accuracy in noise, in rooms and at other levels, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.figures.style import GREY, INK, MANY_COLOURS, STYLE, WHISKERS, save

INCHES, WIDTHS = (12.0, 5.0), (3, 1, 1)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MEAN = {"color": INK, "linewidth": 2.5, "marker": "o", "zorder": 3}
LINES = ("-", "--", ":")
ALONE = {"color": GREY, "marker": "D", "linewidth": 2}
THIN = {"linewidth": 1, "alpha": 0.8, "markersize": 4}
NAME_CHARACTERS, LEGEND_COLUMNS = 22, 4
TOP_OF_AXIS = 1.01  # leaves room for the marks at 100 %


@matplotlib.rc_context(STYLE)
def plot_robustness(facts: Mapping[str, Any], about: str, path: Path) -> Path:
    """Draw accuracy by signal-to-noise ratio, a line for each kind of noise, by reverberation time and by level.

    Args:
        facts: of `Robustness.measure`.
    """
    figure = Figure(figsize=INCHES)
    by_noise, by_room, by_level = figure.subplots(1, 3, sharey=True, width_ratios=WIDTHS)
    _draw_noises(by_noise, facts)
    _draw_rooms(by_room, facts)
    _draw_levels(by_level, facts)
    figure.legend(
        *by_noise.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        fontsize="small",
    )
    clean = percent(facts["clean"]["accuracy"])
    each = facts["clips_of_each"]
    title = f"Robustness: words in noise, in rooms and at other levels, {each} clips each; {clean} as they are"
    return save(figure, path, title, about)


def _draw_noises(axes: Axes, facts: Mapping[str, Any]) -> None:
    places = np.arange(1 + len(facts["snr_db"]))
    for i, (name, noise) in enumerate(facts["noises"].items()):
        style = {
            "color": MANY_COLOURS[i % len(MANY_COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i // len(MANY_COLOURS) % len(LINES)],
        }
        label = name if len(name) <= NAME_CHARACTERS else f"{name[:NAME_CHARACTERS]}…"
        values = [cell["accuracy"] for cell in (facts["clean"], *noise["by_snr"])]
        axes.plot(places, values, label=label, **THIN, **style)
    cells = (facts["clean"], *facts["mean_by_snr"])
    _draw_cells(axes, places, cells, label="mean, 95% interval", **MEAN)
    axes.set_xticks(places, ["clean", *(f"{snr:g} dB" for snr in facts["snr_db"])])
    axes.set(xlabel="signal-to-noise ratio", ylabel="accuracy")
    axes.set_ylim(top=TOP_OF_AXIS)
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_rooms(axes: Axes, facts: Mapping[str, Any]) -> None:
    cells = (facts["clean"], *facts["rooms"])
    places = np.arange(len(cells))
    _draw_cells(axes, places, cells, **ALONE)
    axes.set_xticks(places, ["clean", *(f"{room['rt60_seconds']:g} s" for room in facts["rooms"])])
    axes.set(xlabel="reverberation time RT60")


def _draw_levels(axes: Axes, facts: Mapping[str, Any]) -> None:
    """From loud to quiet, so that every panel gets harder to the right."""
    by_gain = {0: facts["clean"]} | {level["gain_db"]: level for level in facts["levels"]}
    gains = sorted(by_gain, reverse=True)
    _draw_cells(axes, np.array(gains), tuple(by_gain[gain] for gain in gains), **ALONE)
    axes.invert_xaxis()
    axes.set_xticks(gains, [f"{gain:+g}" if gain else "0" for gain in gains])
    axes.set(xlabel="gain (dB)")


def _draw_cells(axes: Axes, places: np.ndarray, cells: tuple, **style: Any) -> None:
    """A line with the 95 % interval of each cell."""
    values = np.array([cell["accuracy"] for cell in cells])
    low, high = np.transpose([cell["interval_95"] for cell in cells])
    axes.plot(places, values, **style)
    arms = np.maximum([values - low, high - values], 0)
    axes.errorbar(places, values, yerr=arms, **WHISKERS)
