"""The pictures of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speech_commands_kws.evaluation import metrics
from speech_commands_kws.evaluation.scoring import ScoredClip, Scores
from speech_commands_kws.figures.calibration import plot_reliability
from speech_commands_kws.figures.classes import plot_class_scores
from speech_commands_kws.figures.clips import plot_worst_clips
from speech_commands_kws.figures.confusion import plot_confusion
from speech_commands_kws.figures.robustness import plot_robustness


def draw(
    scores: Scores,
    worst_clips: Sequence[ScoredClip],
    frontend: Mapping[str, float],
    title: str,
    bins: int,
    folder: Path,
    robustness: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draw the pictures of an evaluation into a folder.

    Args:
        frontend: the parameters of the model's signal path.
        bins: of confidence.
        robustness: what `Robustness.measure` found, if anything.
    """
    curve = metrics.reliability(scores.probabilities, scores.targets, bins)
    error = metrics.expected_calibration_error(curve)
    pictures = [
        plot_confusion(scores.confusion, scores.labels, title, folder / "confusion.png"),
        plot_class_scores(scores.confusion, scores.labels, title, folder / "classes.png"),
        plot_reliability(curve, error, title, folder / "calibration.png"),
    ]
    path = folder / "worst_clips.png"
    path.unlink(missing_ok=True)  # of an evaluation before
    if worst_clips:
        pictures.append(plot_worst_clips(worst_clips, frontend, title, path))
    if robustness:
        pictures.append(plot_robustness(robustness, title, folder / "robustness.png"))
    return pictures
