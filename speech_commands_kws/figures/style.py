"""What all pictures share: colours, style, intervals, and how a figure is saved.

Every picture is drawn on a Figure of its own, never on pyplot's global one: the runs of one process do not mix. Colours
are those of Okabe and Ito (2008), which colour-blind readers tell apart. `about` stands under a title: which data, how
many clips, what accuracy.
"""

import logging
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from speech_commands_kws.evaluation.metrics import wilson_interval
from speech_commands_kws.files.atomic import replacing, written_to

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
SKY_BLUE = "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", SKY_BLUE, "#E69F00")
# Paul Tol's "muted" scheme (SRON/EPS/TN/09-002), for as many lines in one picture.
MANY_COLOURS = (
    *("#332288", "#CC6677", "#117733", "#88CCEE", "#AA4499", "#DDCC77", "#882255", "#44AA99"),
    "#999933",
)
GREY, PALE, INK = "#767676", "#E8E8E8", "#222222"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.color": PALE,
    "legend.frameon": False,
    "savefig.dpi": 120,
    "text.color": INK,
    "text.parse_math": False,  # the name of a clip may hold dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
}

LOG = logging.getLogger(__name__)

NO_LETTERS = "Last Resort High-Efficiency"  # comes with matplotlib and draws a box for every letter
WHISKERS = {"fmt": "none", "ecolor": INK, "elinewidth": 1.2}
TITLE_LEFT_INCHES, MOST_CHARACTERS_PER_INCH = 0.12, 14


def save(figure: Figure, path: Path, title: str, about: str) -> Path:
    """Write a figure under its title; the folder is made where missing."""
    set_title(figure, (title, *about.splitlines()))
    with replacing(path) as partial, written_to(path):
        figure.savefig(partial)
    return path


def set_title(figure: Figure, texts: Sequence[str]) -> None:
    """Write texts above a figure, in lines that are no wider than it."""
    width = figure.get_size_inches()[0]
    heading = figure.suptitle("\n".join(texts), x=TITLE_LEFT_INCHES / width, ha="left")
    set_fonts(figure)
    for letters in range(int(width * MOST_CHARACTERS_PER_INCH), 0, -1):
        heading.set_text("\n".join(line for text in texts for line in textwrap.wrap(text, letters)))
        if heading.get_window_extent().x1 <= figure.bbox.width:
            break


def set_fonts(figure: Figure) -> None:
    """Let fonts of the machine draw what matplotlib's own lacks: words in Chinese, Japanese, Korean, Thai …"""
    texts = figure.findobj(Text)
    letters = {letter for text in texts for letter in text.get_text() if letter.isprintable()}
    families = list(matplotlib.rcParams["font.family"])
    missing = set(map(ord, letters)) - glyphs(findfont(FontProperties(family=families)))
    if not missing:
        return
    for font in fontManager.ttflist:
        found = missing & glyphs(font.fname)
        if found and font.name != NO_LETTERS:
            families.append(font.name)
            missing -= found
    for text in texts:
        text.set_fontfamily(families)
    if missing:
        LOG.warning(
            "no font on this machine draws %s: install one, such as Noto Sans CJK",
            "".join(map(chr, sorted(missing))),
        )


@cache
def glyphs(font: str) -> frozenset[int]:
    """The code points that the font of a file draws."""
    return frozenset(get_font(font).get_charmap())


def shorten(name: str, characters: int) -> str:
    """Keep both ends of a long name: its folder, and what tells it from its neighbours."""
    half = characters // 2
    return name if len(name) <= characters else f"{name[:half]}…{name[1 - half:]}"


def interval_arms(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Lengths (2, n) of the arms of the 95 % interval below and above each share."""
    share = hits / trials
    intervals = [wilson_interval(*pair) for pair in zip(hits, trials, strict=True)]
    low, high = np.transpose(intervals)
    return np.maximum([share - low, high - share], 0)
