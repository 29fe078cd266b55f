"""Accuracy in noise and in rooms, as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.figures.style import COLOURS, GREY, INK, STYLE, WHISKERS, save

INCHES, WIDTHS = (10.0, 5.0), (3, 1)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MEAN = {"color": INK, "linewidth": 2.5, "marker": "o", "zorder": 3}
LINES = ("-", "--", ":")
THIN = {"linewidth": 1, "alpha": 0.8, "markersize": 4}
NAME_CHARACTERS, LEGEND_COLUMNS = 22, 4
TOP_OF_AXIS = 1.01  # leaves room for the marks at 100 %


@matplotlib.rc_context(STYLE)
def plot_robustness(facts: Mapping[str, Any], about: str, path: Path) -> Path:
    """Draw accuracy against the signal-to-noise ratio, a line for each kind of noise, and by reverberation time.

    Args:
        facts: of `Robustness.measure`.
    """
    figure = Figure(figsize=INCHES)
    by_noise, by_room = figure.subplots(1, 2, sharey=True, width_ratios=WIDTHS)
    _draw_noises(by_noise, facts)
    _draw_rooms(by_room, facts)
    figure.legend(
        *by_noise.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        fontsize="small",
    )
    clean = percent(facts["clean"]["accuracy"])
    each = facts["clips_of_each"]
    title = f"Robustness: words in noise and rooms, {each} clips each; {clean} without either"
    return save(figure, path, title, about)


def _draw_noises(axes: Axes, facts: Mapping[str, Any]) -> None:
    places = np.arange(1 + len(facts["snr_db"]))
    for i, (name, noise) in enumerate(facts["noises"].items()):
        style = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i // len(COLOURS) % len(LINES)],
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
    _draw_cells(axes, places, cells, color=GREY, marker="D", linewidth=2)
    axes.set_xticks(places, ["clean", *(f"{room['rt60_seconds']:g} s" for room in facts["rooms"])])
    axes.set(xlabel="reverberation time RT60")


def _draw_cells(axes: Axes, places: np.ndarray, cells: tuple, **style: Any) -> None:
    """A line with the 95 % interval of each cell."""
    values = np.array([cell["accuracy"] for cell in cells])
    low, high = np.transpose([cell["interval_95"] for cell in cells])
    axes.plot(places, values, **style)
    arms = np.maximum([values - low, high - values], 0)
    axes.errorbar(places, values, yerr=arms, **WHISKERS)
