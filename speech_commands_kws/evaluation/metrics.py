"""Metrics of a classifier's predictions.

Legend: N clips, K classes. `targets` and `predictions` are class indices (N,), the rows of
`probabilities` (N, K) sum to 1.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Reliability", "expected_calibration_error", "log_loss", "reliability"]

# The two-sided 95 % point of the normal distribution.
Z_95 = 1.959964
CALIBRATION_BINS = 15  # as in Guo et al. 2017


class ClassScores(NamedTuple):
    """Each (K,); NaN is precision of a class never predicted and recall of one without clips."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


class Reliability(NamedTuple):
    """Bins of confidence; an empty one holds NaN.

    Attributes:
        edges: of the bins, (bins + 1,).
        confidence: mean of each bin, (bins,).
        accuracy: share of right predictions in each bin, (bins,).
        count: clips in each bin, (bins,).
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def wilson_interval(successes: int, trials: int, z_score: float = Z_95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927).

    Unlike the textbook one it holds near 1, where accuracies lie. No trials say nothing: (0, 1).
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    shrinkage = 1 + z_score**2 / trials
    centre = (share + z_score**2 / (2 * trials)) / shrinkage
    variance = share * (1 - share) / trials + (z_score / (2 * trials)) ** 2
    half_width = z_score / shrinkage * np.sqrt(variance)
    return max(0.0, float(centre - half_width)), min(1.0, float(centre + half_width))


def confusion_matrix(targets: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Count the clips of class i that were predicted as j: (K, K) integers, truth in rows."""
    assert targets.shape == predictions.shape, (targets.shape, predictions.shape)
    cells = np.bincount(classes * targets + predictions, minlength=classes**2)
    return cells.reshape(classes, classes)


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Precision, recall, F1 and support of every class of a confusion matrix (K, K)."""
    hits = np.diag(confusion)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return ClassScores(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + predicted),
        support=support,
    )


def reliability(
    probabilities: np.ndarray, targets: np.ndarray, bins: int = CALIBRATION_BINS
) -> Reliability:
    """Mean confidence and accuracy of the predictions in each bin ((m - 1) / M, m / M] of confidence.

    Guo et al. 2017 (arXiv 1706.04599), section 2: confidence is the probability of the prediction.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == targets
    edges = np.linspace(0, 1, bins + 1)
    bin_of_clip = np.digitize(confidence, edges[1:-1], right=True)
    count = np.bincount(bin_of_clip, minlength=bins)
    return Reliability(
        edges=edges,
        confidence=_ratio(np.bincount(bin_of_clip, confidence, bins), count),
        accuracy=_ratio(np.bincount(bin_of_clip, correct, bins), count),
        count=count,
    )


def expected_calibration_error(curve: Reliability) -> float:
    """Equation 3 of Guo et al. 2017: mean gap of confidence and accuracy; NaN for no clips."""
    filled = curve.count > 0
    gaps = np.abs(curve.accuracy - curve.confidence)[filled]
    return float(_ratio(np.sum(curve.count[filled] * gaps), curve.count.sum()))


def true_probabilities(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The probability given to the true class of every clip: (N,)."""
    return np.take_along_axis(probabilities, targets[:, None], axis=1)[:, 0]


def log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean cross entropy (nats); a probability of zero counts as float32's smallest."""
    smallest = np.finfo(np.float32).tiny
    true = np.maximum(true_probabilities(probabilities, targets), smallest)
    return float(-np.log(true.astype(np.float64)).mean())


def worst_first(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Indices (N,) of the clips by loss, greatest first; equal ones keep their order."""
    return np.argsort(true_probabilities(probabilities, targets), kind="stable")


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient in float64, NaN where the denominator is zero."""
    nothing = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=nothing, where=np.asarray(denominator) > 0)


class OperatingPoint(NamedTuple):
    """A detection threshold, its rates on the validation clips, and on how many clips these rest."""

    threshold: float
    false_alarms_per_clip: float
    recall: float
    keyword_clips: int
    other_clips: int


def operating_point(
    probabilities: np.ndarray,
    targets: np.ndarray,
    keywords: np.ndarray,
    false_alarms_per_clip: float,
) -> OperatingPoint | None:
    """The lowest threshold at which at most a share of the clips without a keyword is taken for one.

    Args:
        keywords: (K,) whether a class is a keyword.
        false_alarms_per_clip: that share, 0 to 1.

    Returns:
        None where no clip is without a keyword. Recall counts the keywords that are heard as themselves.
    """
    highest = np.where(keywords, probabilities, 0).max(axis=1)
    spoken = keywords[targets]
    others = np.sort(highest[~spoken])[::-1]
    if not len(others):
        return None
    # A clip counts where it lies above the threshold, not at it.
    threshold = others[min(int(false_alarms_per_clip * len(others)), len(others) - 1)]
    heard = highest > threshold
    found = heard & (probabilities.argmax(axis=1) == targets)
    recall = float(np.mean(found[spoken])) if spoken.any() else 0.0
    return OperatingPoint(
        threshold=float(threshold),
        false_alarms_per_clip=float(np.mean(heard[~spoken])),
        recall=recall,
        keyword_clips=int(spoken.sum()),
        other_clips=len(others),
    )


def percent(share: float | None) -> str:
    """A share as text; an undefined one (None or NaN) as a dash."""
    return "–" if share is None or np.isnan(share) else f"{100 * share:.1f}%"
