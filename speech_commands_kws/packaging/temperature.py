"""The temperature: one number that logits are divided by, so that a probability is the share of right answers.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.

Legend: N clips, K keywords.
"""

import logging
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from speech_commands_kws.errors import check_number, check_positive, check_whole
from speech_commands_kws.evaluation.metrics import log_loss

__all__ = ["Temperature", "tempered"]

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Temperature:
    """How the temperature of a model is chosen.

    Attributes:
        value: the temperature; None fits it.
        limit: a fitted one lies from 1 / limit to limit.
        wrong_clips: with fewer wrong answers it is 1. They alone keep it from 0, at which every answer is sure.
    """

    value: float | None
    limit: float
    wrong_clips: int

    def __post_init__(self) -> None:
        if self.value is not None:
            check_positive(value=self.value)
        check_number(1, limit=self.limit)
        check_whole(wrong_clips=self.wrong_clips)

    def choose(self, probabilities: np.ndarray, targets: np.ndarray) -> float:
        """The given temperature, or that with the least log loss for answers (N, K) of clips with classes (N,)."""
        if self.value is not None:
            return self.value
        wrong = np.sum(probabilities.argmax(axis=1) != targets)
        if wrong < self.wrong_clips:
            LOG.info(
                "the temperature stays at 1: %d of %d validation clips are answered wrongly, and %d are needed to fit "
                "it (temperature.wrong_clips)",
                *(wrong, len(targets), self.wrong_clips),
            )
            return 1.0
        # The loss is convex in the inverse, so that over the logarithm it has one minimum too.
        bound = math.log(self.limit)
        found = minimize_scalar(
            lambda exponent: log_loss(tempered(probabilities, math.exp(exponent)), targets),
            bounds=(-bound, bound),
            method="bounded",
        )
        return math.exp(found.x)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of logits that are divided by the temperature, (N, K), from the softmax of the logits."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
    return softmax(logits / temperature, axis=1)
