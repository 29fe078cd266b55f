"""The effect of each augmentation on one clip, as a figure.

The mel images are those of the training's own front-end. Legend: T samples, M mel bins, F frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from speech_commands_kws.figures.clips import draw_mel
from speech_commands_kws.figures.style import BLUE, STYLE, save
from speech_commands_kws.training.module import KeywordModule

COPIES = 40
COLUMNS = 4
PANEL_INCHES, MARGIN_INCHES = (3.1, 2.9), 0.9
HEIGHTS = (1, 2)
TITLE_POINTS = 10
DYNAMIC_RANGE_DB = 60


class Example(NamedTuple):
    """A clip after an augmentation: waveform (T,), log-mel (M, F)."""

    name: str
    waveform: np.ndarray
    log_mel: np.ndarray


@torch.no_grad()
def examples(module: KeywordModule, clip: Tensor, other: Tensor) -> list[Example]:
    """The clip (T,) as it is, after each augmentation alone, and a few times after all of them.

    Each falls on a share of the clips and draws its strength, so that of many copies the one that changed most is
    shown, and of all augmentations together the first copies. Mixup mixes the clip with `other` (T,).
    """
    generator = Generator(clip.device).manual_seed(module.seed)
    frontend = module.spotter.frontend.by_fft
    copies = clip.repeat(COPIES, 1)
    before = frontend(copies)
    spoken = torch.zeros(COPIES, dtype=torch.bool, device=clip.device)
    steps = waveform_steps(module.waveform_augment)
    changed = {name: step(copies, spoken, generator) for name, step in steps}
    if module.mixup and module.mixup.share:
        pairs = torch.stack([clip, other]).repeat(COPIES, 1)
        targets = torch.zeros(len(pairs), dtype=torch.long, device=clip.device)
        changed["mixup"] = module.mixup(pairs, targets, generator)[0][::2]
    found = [_example("clip", clip, before[0])]
    for name, waveforms in changed.items():
        log_mels = frontend(waveforms)
        i = distance(waveforms, copies).add(distance(log_mels, before)).argmax()
        found.append(_example(name, waveforms[i], log_mels[i]))
    masked = module.spectrogram_augment(before, generator)
    if not torch.equal(masked, before):
        found.append(_example("SpecAugment", clip, masked[distance(masked, before).argmax()]))
    waveforms = module.waveform_augment(copies, spoken, generator)
    log_mels = module.spectrogram_augment(frontend(waveforms), generator)
    for i in range(COLUMNS - len(found) % COLUMNS):
        found.append(_example(f"all together {i + 1}", waveforms[i], log_mels[i]))
    return found


def waveform_steps(augment: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The named steps of a chain, or a module of one step."""
    steps = getattr(augment, "steps", {type(augment).__name__: augment})
    yield from steps.items()


def distance(changed: Tensor, before: Tensor) -> Tensor:
    """(n, ...) to (n,): how far each is from what it was."""
    return (changed - before).flatten(1).norm(dim=1)


def _example(name: str, waveform: Tensor, log_mel: Tensor) -> Example:
    return Example(name.replace("_", " "), waveform.numpy(force=True), log_mel[0].numpy(force=True))


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def plot_augmentations(
    clips: Sequence[Example], frontend: Mapping[str, Any], about: str, path: Path
) -> Path:
    """Draw waveform and log-mel image of each example.

    Args:
        frontend: the model's `sample_rate`, `hop_ms`, `f_min` and `f_max`.
    """
    rows = -(-len(clips) // COLUMNS)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(COLUMNS * width, rows * height + MARGIN_INCHES))
    panels = figure.subplots(2 * rows, COLUMNS, squeeze=False, height_ratios=HEIGHTS * rows)
    loudest = max(np.abs(clip.waveform).max() for clip in clips)
    for i, clip in enumerate(clips):
        above, below = panels[2 * (i // COLUMNS) :, i % COLUMNS][:2]
        _draw_waveform(above, clip, loudest)
        decibels = 10 / np.log(10) * (clip.log_mel - clip.log_mel.max())
        draw_mel(below, np.maximum(decibels, -DYNAMIC_RANGE_DB), frontend)
        if i % COLUMNS:
            below.set(ylabel=None)
    for i in range(len(clips), rows * COLUMNS):
        for axes in panels[2 * (i // COLUMNS) :, i % COLUMNS][:2]:
            axes.set_axis_off()
    title = "Augmentations: each alone where it changed a clip most, and all together at random"
    return save(figure, path, title, about)


def _draw_waveform(axes: Axes, clip: Example, loudest: float) -> None:
    axes.plot(clip.waveform, color=BLUE, linewidth=0.5)
    axes.set(xlim=(0, len(clip.waveform)), ylim=(-loudest, loudest), xticks=[], yticks=[0])
    axes.set_title(clip.name, fontsize=TITLE_POINTS, loc="left")
