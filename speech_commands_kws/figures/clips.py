"""Clips as mel spectrograms, in a separate module because librosa takes seconds to load.

Legend: T samples, M mel bins, F frames.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import librosa
import librosa.display
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.evaluation.scoring import ScoredClip
from speech_commands_kws.figures.style import STYLE, save, shorten

PANEL_WIDTH_INCHES, PANEL_HEIGHT_INCHES, MARGIN_INCHES = 3.1, 2.4, 0.9
PANEL_COLUMNS, TIME_TICKS = 4, 4
PANEL_TITLE_POINTS, NAME_CHARACTERS, LABEL_CHARACTERS = 8, 38, 12
DYNAMIC_RANGE_DB = 80
KILOHERTZ_OF_TICKS = {250: "¼", 500: "½", 1000: "1", 2000: "2", 4000: "4", 8000: "8"}


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def plot_worst_clips(
    clips: Sequence[ScoredClip], frontend: Mapping[str, float], about: str, path: Path
) -> Path:
    """Draw clips as the front-end of the model sees them, each scaled to its own peak.

    Args:
        frontend: the model's `sample_rate`, `window_ms`, `hop_ms`, `n_fft`, `n_mels`, `f_min` and
            `f_max`.
    """
    rows = -(-len(clips) // PANEL_COLUMNS)
    size = (PANEL_COLUMNS * PANEL_WIDTH_INCHES, rows * PANEL_HEIGHT_INCHES + MARGIN_INCHES)
    figure = Figure(figsize=size)
    panels = figure.subplots(rows, PANEL_COLUMNS, squeeze=False).ravel()
    for i, (axes, clip) in enumerate(zip(panels, clips, strict=False)):
        draw_mel(axes, mel_decibels(clip.waveform, **frontend), frontend)
        truth, prediction = percent(clip.truth_probability), percent(clip.prediction_probability)
        words = (shorten(word, LABEL_CHARACTERS) for word in (clip.truth, clip.prediction))
        verdict = "{} {truth} → {} {prediction}".format(*words, truth=truth, prediction=prediction)
        axes.set_title(
            f"{verdict}\n{shorten(clip.name, NAME_CHARACTERS)}",
            fontsize=PANEL_TITLE_POINTS,
            loc="left",
        )
        if i % PANEL_COLUMNS:
            axes.set(ylabel=None)
    for axes in panels[len(clips) :]:
        axes.set_axis_off()
    title = "Worst clips: true class → prediction, each with its probability"
    return save(figure, path, title, about)


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def mel_png(waveform: np.ndarray, frontend: Mapping[str, float]) -> bytes:
    """A waveform (T,) as the front-end of the model sees it, without a title, as a PNG file."""
    figure = Figure(figsize=(PANEL_WIDTH_INCHES, PANEL_HEIGHT_INCHES))
    draw_mel(figure.subplots(), mel_decibels(waveform, **frontend), frontend)
    file = BytesIO()
    figure.savefig(file)
    return file.getvalue()


def mel_decibels(
    waveform: np.ndarray,
    sample_rate: int,
    window_ms: float,
    hop_ms: float,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    **_: float,
) -> np.ndarray:
    """Mel energies (M, F) of a waveform (T,) in dB below their peak; HTK scale, equal heights."""
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=sample_rate,
        n_fft=n_fft,
        hop_length=round(sample_rate * hop_ms / 1000),
        win_length=round(sample_rate * window_ms / 1000),
        n_mels=n_mels,
        fmin=f_min,
        fmax=f_max,
        htk=True,
        norm=None,
    )
    return librosa.power_to_db(power, ref=np.max, top_db=DYNAMIC_RANGE_DB)


def draw_mel(axes: Axes, decibels: np.ndarray, frontend: Mapping[str, float]) -> None:
    """Draw mel energies (M, F) by time (s) and frequency (kHz)."""
    librosa.display.specshow(
        decibels,
        sr=frontend["sample_rate"],
        hop_length=round(frontend["sample_rate"] * frontend["hop_ms"] / 1000),
        x_axis="time",
        y_axis="mel",
        fmin=frontend["f_min"],
        fmax=frontend["f_max"],
        htk=True,
        cmap="magma",
        ax=axes,
    )
    axes.set(xlabel="s", ylabel="kHz")
    axes.xaxis.set_major_locator(MaxNLocator(TIME_TICKS))
    ticks = {
        hertz: name for hertz, name in KILOHERTZ_OF_TICKS.items() if hertz <= frontend["f_max"]
    }
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_yticks([], minor=True)
