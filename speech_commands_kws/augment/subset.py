"""Which clips of a batch an effect applies to.

A share of the batch, not a coin for each clip: the number of clips is then known before anything is drawn, so that the
effect is computed for these alone and a GPU never waits for the answer. Over many batches it comes to the same.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor


def random_rows(batch: int, share: float, generator: Generator) -> Tensor:
    """round(share * batch) different rows of a batch, in random order."""
    order = torch.randperm(batch, generator=generator, device=generator.device)
    return order[: round(share * batch)]


def change_rows(waveform: Tensor, rows: Tensor, effect: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of (B, T) in which `effect` is applied to the rows."""
    if not len(rows):
        return waveform
    return waveform.index_copy(0, rows, effect(waveform[rows]))


def change_groups(
    waveform: Tensor, rows: Tensor, effects: Sequence[Callable[[Tensor], Tensor]]
) -> Tensor:
    """A copy of (B, T) in which the rows, dealt out evenly, have gone through one of the effects each."""
    groups = rows.tensor_split(len(effects))
    changed = [
        effect(waveform[group]) for effect, group in zip(effects, groups, strict=True) if len(group)
    ]
    return waveform.index_copy(0, rows, torch.cat(changed)) if changed else waveform


def uniform(low: float, high: float, count: int, generator: Generator) -> Tensor:
    """(count, 1) numbers from U(low, high)."""
    level = torch.rand(count, 1, generator=generator, device=generator.device)
    return low + (high - low) * level
