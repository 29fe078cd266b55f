"""Recall and precision of every class.

Legend: K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from speech_commands_kws.evaluation.metrics import class_scores, percent
from speech_commands_kws.figures.style import BLUE, ORANGE, STYLE, WHISKERS, interval_arms, save

ROW_INCHES, ROWS_MARGIN_INCHES, ROWS_WIDTH_INCHES = 0.27, 2.0, 9.0
FLOOR_STEPS = 10  # the axis of shares starts at a multiple of a tenth
COLUMN_PLACES, COLUMNS_WIDTH = (0.3, 0.75, 1.0), 0.3  # the figures right of the dots
RING_POINTS = 8  # precision rings the dot of an equal recall


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
