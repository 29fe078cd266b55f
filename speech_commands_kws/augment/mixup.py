"""Mixtures of two clips with the labels of both.

Legend: B batch, T samples, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from speech_commands_kws.augment.primitives import by_width
from speech_commands_kws.augment.subset import random_rows, uniform
from speech_commands_kws.errors import check_number


class Mixup(nn.Module):
    """A share of the clips is mixed with another clip of the batch (Zhang et al., arXiv 1710.09412).

    A clip becomes weight * clip + (1 - weight) * other, and its target the same mixture of both, with a weight from
    U(least_weight, 1). From 0.5 on, the clip stays the louder one, so that the accuracy of training still means
    something; 0.5 itself is the paper's Beta(1, 1).

    Args:
        shares: of the clips, by the width of the model: the entry of the largest key that is not above `model_width`.
            Small models, which underfit, learn less from mixtures.
        least_weight: of the clip itself.
        model_width: width of the backbone.
        n_classes: K.

    Shape: waveform (B, T), targets (B,) to (B, T), (B, K) probabilities; where the share is zero, to the same.
    """

    def __init__(
        self,
        shares: Mapping[float, float],
        least_weight: float,
        model_width: float,
        n_classes: int,
    ):
        super().__init__()
        self.share = by_width(shares, model_width)
        check_number(0, 1, shares=self.share, least_weight=least_weight)
        self.least_weight = least_weight
        self.n_classes = n_classes

    def forward(
        self, waveform: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        if not self.share:
            return waveform, targets
        rows = random_rows(len(waveform), self.share, generator)
        others = torch.randperm(len(waveform), generator=generator, device=generator.device)
        others = others[: len(rows)]
        weight = uniform(self.least_weight, 1, len(rows), generator)
        soft = functional.one_hot(targets, self.n_classes).to(waveform.dtype)
        return mix(waveform, rows, others, weight), mix(soft, rows, others, weight)


def mix(values: Tensor, rows: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """A copy of (B, n) whose rows keep `weight` (rows, 1) of themselves and take the rest from others."""
    return values.index_copy(0, rows, torch.lerp(values[others], values[rows], weight))
