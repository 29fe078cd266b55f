"""The confusion matrix.

Legend: K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from speech_commands_kws.figures.style import INK, STYLE, save

CELL_INCHES, SMALL_CELL_INCHES, MANY_CLASSES = 0.6, 0.37, 20
MARGIN_INCHES, LEAST_INCHES = 1.8, 7.5
COUNT_POINTS, SMALL_COUNT_POINTS = 9, 7
ERRORS_AT_FULL_COLOUR = 0.4  # share of a class's clips
DARK_CELL = 0.6  # counts turn white on cells darker than this share of the colour map


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def plot_confusion(confusion: np.ndarray, labels: Sequence[str], about: str, path: Path) -> Path:
    """Draw the counts (K, K), truth in rows; errors have a colour scale of their own."""
    many = len(labels) > MANY_CLASSES
    side = (SMALL_CELL_INCHES if many else CELL_INCHES) * len(labels) + MARGIN_INCHES
    figure = Figure(figsize=(max(side, LEAST_INCHES), side))
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # (K, K) of the row
    right = np.eye(len(labels), dtype=bool)
    points = SMALL_COUNT_POINTS if many else COUNT_POINTS
    blues, oranges = matplotlib.colormaps["Blues"], matplotlib.colormaps["Oranges"]
    _draw_cells(axes, confusion, share, right, blues, Normalize(0, 1), points)
    scale = PowerNorm(0.5, 0, ERRORS_AT_FULL_COLOUR, clip=True)
    _draw_cells(axes, confusion, share, ~right, oranges, scale, points)
    axes.set_xticks(range(len(labels)), labels, rotation="vertical")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted word", ylabel="true word")
    edges = np.arange(len(labels) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    title = "Confusion matrix: correct blue, errors orange, by their share of the row"
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
