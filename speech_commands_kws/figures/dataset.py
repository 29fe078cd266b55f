"""A data set as a picture: how many clips each word has in each split, and how loud they are."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from speech_commands_kws.data.quality import Report
from speech_commands_kws.data.speech_tree import SPLITS
from speech_commands_kws.figures.style import BLUE, GREEN, GREY, ORANGE, STYLE, save

COLOURS = dict(zip(SPLITS, (ORANGE, BLUE, GREEN), strict=True))
WIDTH_INCHES, LEAST_INCHES, MARGIN_INCHES, BAR_INCHES = 11.0, 4.5, 2.0, 0.2
BAR_MARGINS = 0.05, 0.01  # of the axes, behind the longest bar, and above and below all
# The words with the fewest clips are those to know about.
MOST_WORDS = 60
LEVEL_BINS = 60
# Digital silence would stretch the axis.
LOWEST_DB = -100.0


@matplotlib.rc_context(STYLE)
def plot_report(report: Report, silent_db: float, title: str, path: Path) -> Path:
    """Draw what `quality.inspect` found: clips by word, and a histogram of levels by split.

    Args:
        silent_db: below it a clip counts as silent (dBFS).
    """
    found = [f"{count:,} {kind}" for kind, count in report.kinds.items()]
    about = f"{len(report.clips):,} clips; to look at: {', '.join(found) or 'nothing'}"
    counts, splits = report.counts, np.array([clip.split for clip in report.clips])
    fewest = sorted(counts, key=lambda word: -total(counts[word]))[-MOST_WORDS:]
    height = max(LEAST_INCHES, MARGIN_INCHES + BAR_INCHES * len(fewest))
    figure = Figure(figsize=(WIDTH_INCHES, height))
    bars, levels = figure.subplots(1, 2)
    _draw_counts(bars, {word: counts[word] for word in fewest})
    if len(fewest) < len(counts):
        bars.set_title(f"the {len(fewest)} of {len(counts)} words with the fewest clips")
    _draw_levels(levels, np.maximum(report.levels_db, LOWEST_DB), splits, silent_db)
    figure.legend(
        *levels.get_legend_handles_labels(), loc="outside lower center", ncols=len(SPLITS) + 1
    )
    return save(figure, path, title, about)


def total(row: Mapping[str, int]) -> int:
    return sum(row[split] for split in SPLITS)


def _draw_counts(axes: Axes, counts: Mapping[str, Mapping[str, int]]) -> None:
    words = list(counts)
    before = np.zeros(len(words))
    for split, colour in COLOURS.items():
        clips = np.array([counts[word][split] for word in words])
        axes.barh(words, clips, left=before, color=colour)
        before += clips
    axes.invert_yaxis()
    axes.margins(*BAR_MARGINS)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("clips")


def _draw_levels(axes: Axes, level_db: np.ndarray, splits: np.ndarray, silent_db: float) -> None:
    edges = np.linspace(min(level_db.min(), silent_db) - 1, 0, LEVEL_BINS + 1)
    present = [split for split in SPLITS if np.any(splits == split)]
    axes.hist(
        [level_db[splits == split] for split in present],
        edges,
        stacked=True,
        color=[COLOURS[split] for split in present],
        label=present,
    )
    axes.axvline(silent_db, color=GREY, linestyle="--", label="silent below")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(xlabel="level of the loudest stretch (dBFS)", ylabel="clips")
