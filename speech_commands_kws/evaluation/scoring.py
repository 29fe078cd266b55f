"""A model's predictions for labelled clips, and what follows from them.

Legend: N clips, B batch, T samples, K keywords.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation import metrics
from speech_commands_kws.evaluation.metrics import percent

Predict = Callable[[np.ndarray], np.ndarray]


class ScoredClip(NamedTuple):
    """A clip to show, waveform (T,): its true word, the prediction, and the probabilities of both."""

    waveform: np.ndarray
    name: str
    truth: str
    prediction: str
    truth_probability: float
    prediction_probability: float


@dataclass(frozen=True)
class Scores:
    """Probabilities (N, K) of clips with known classes, and what follows from them."""

    labels: Sequence[str]
    names: Sequence[str]
    targets: np.ndarray
    probabilities: np.ndarray

    @cached_property
    def predictions(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray:
        return metrics.confusion_matrix(self.targets, self.predictions, len(self.labels))

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.predictions == self.targets))

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        return metrics.wilson_interval(int(np.trace(self.confusion)), len(self.targets))

    def worst(self, count: int) -> np.ndarray:
        """Indices of the clips with the greatest loss."""
        order = metrics.worst_first(self.probabilities, self.targets)
        return order[self.predictions[order] != self.targets[order]][:count]


def score(
    predict: Predict,
    clips: SplitClips,
    labels: Sequence[str],
    batch_size: int,
    watch: Callable[[Iterable], Iterable] = iter,
) -> Scores:
    """Score every clip with a model.

    Args:
        predict: waveforms (B, T) to probabilities (B, K).
        labels: the K keywords, in the order of the model's outputs and of the targets.
        watch: may wrap the batches, to show progress.

    Raises:
        KwsError: there are no clips, or the model returns something that is no number.
    """
    if not len(clips.targets):
        raise KwsError(
            "expected clips to score, got none: choose another split or folder, or hold speakers out for it when you "
            "train (data.test_speakers)"
        )
    probabilities = np.concatenate([predict(batch) for batch in watch(clips.batches(batch_size))])
    expected = (len(clips.targets), len(labels))
    assert probabilities.shape == expected, (probabilities.shape, expected)
    undefined = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if undefined.size:
        raise KwsError(
            f"the model returns NaN for {undefined.size} of {len(clips.targets)} clips, "
            f"{display_name(clips.names[undefined[0]])} the first: train or export it again"
        )
    return Scores(labels, clips.names, clips.targets, probabilities)


def summary(scores: Scores, bins: int, worst: int) -> dict[str, Any]:
    """All figures as JSON-able values; what is undefined, such as the recall of no clips, is None.

    Args:
        bins: of confidence, for the expected calibration error.
        worst: how many of the worst clips to name.
    """
    curve = metrics.reliability(scores.probabilities, scores.targets, bins)
    columns = metrics.class_scores(scores.confusion)._asdict()
    return {
        "clips": len(scores.targets),
        "accuracy": scores.accuracy,
        "accuracy_interval_95": list(scores.accuracy_interval),
        "log_loss": metrics.log_loss(scores.probabilities, scores.targets),
        "expected_calibration_error": metrics.expected_calibration_error(curve),
        "classes": {
            label: {name: _plain(column[k]) for name, column in columns.items()}
            for k, label in enumerate(scores.labels)
        },
        "confusion": {"labels": list(scores.labels), "counts": scores.confusion.tolist()},
        "worst_clips": [_clip_facts(scores, i) for i in scores.worst(worst)],
    }


def _clip_facts(scores: Scores, index: int) -> dict[str, Any]:
    truth, prediction = scores.targets[index], scores.predictions[index]
    return {
        "name": scores.names[index],
        "truth": scores.labels[truth],
        "prediction": scores.labels[prediction],
        "truth_probability": float(scores.probabilities[index, truth]),
        "prediction_probability": float(scores.probabilities[index, prediction]),
    }


def _plain(value: np.number) -> float | int | None:
    return None if np.isnan(value) else value.item()


def headline(facts: Mapping[str, Any]) -> str:
    """Number of clips and accuracy of a `summary`, in words."""
    low, high = map(percent, facts["accuracy_interval_95"])
    accuracy = percent(facts["accuracy"])
    return f"{facts['clips']:,} clips, accuracy {accuracy} (95% interval {low} to {high})"


def worst_clips(scores: Scores, clips: SplitClips, count: int) -> list[ScoredClip]:
    """The wrong clips with the greatest loss, with their waveforms."""
    worst = scores.worst(count)
    waveforms = clips.waveforms(worst)
    return [
        ScoredClip(waveform, **_clip_facts(scores, i))
        for waveform, i in zip(waveforms, worst, strict=True)
    ]
