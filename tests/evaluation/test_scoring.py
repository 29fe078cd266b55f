import json
from dataclasses import dataclass

import numpy as np
import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation import scoring

LABELS = ["yes", "no", "go"]
CLIP_SAMPLES = 3


@dataclass
class FakeClips:
    """Clips whose waveform is what the fake model answers."""

    targets: np.ndarray
    samples: np.ndarray

    @property
    def names(self):
        return [f"word/{i}.wav" for i in range(len(self.targets))]

    def waveforms(self, part):
        return self.samples[part]

    def batches(self, batch_size):
        for start in range(0, len(self.targets), batch_size):
            yield self.samples[start : start + batch_size]


def echo(waveforms):
    """A model that takes a waveform of K samples for its K probabilities."""
    return waveforms


@pytest.fixture
def clips():
    waveforms = [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.9, 0.0], [0.3, 0.6, 0.1]]
    return FakeClips(np.array([0, 1, 1, 0]), np.array(waveforms, dtype=np.float32))


@pytest.fixture
def scores(clips):
    return scoring.score(echo, clips, LABELS, batch_size=3)


def test_every_clip_is_scored_once_and_in_order_whatever_the_batch(clips):
    for batch_size in (1, 3, 4, 100):
        scores = scoring.score(echo, clips, LABELS, batch_size)
        np.testing.assert_array_equal(scores.probabilities, clips.samples)


def test_scores_know_answers_accuracy_and_the_worst(scores):
    np.testing.assert_array_equal(scores.predictions, [0, 0, 1, 1])
    np.testing.assert_array_equal(scores.confusion, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert scores.accuracy == 0.5
    assert scores.accuracy_interval == pytest.approx((0.15004, 0.84996), abs=1e-5)
    np.testing.assert_array_equal(scores.worst(4), [1, 3], "only what is wrong")


def test_no_clips_and_undefined_answers_are_errors_of_one_line(clips):
    with pytest.raises(KwsError, match="expected clips to score, got none"):
        scoring.score(echo, FakeClips(np.empty(0, int), np.empty((0, 3))), LABELS, 2)
    clips.samples[2, 1] = np.nan
    with pytest.raises(KwsError, match="NaN for 1 of 4 clips, word/2.wav the first"):
        scoring.score(echo, clips, LABELS, 2)


def test_progress_sees_every_batch(clips):
    seen = []
    scoring.score(
        echo,
        clips,
        LABELS,
        3,
        watch=lambda batches: (seen.append(len(batch)) or batch for batch in batches),
    )
    assert seen == [3, 1]


def test_the_summary_is_json_with_none_for_what_is_undefined(scores):
    facts = json.loads(json.dumps(scoring.summary(scores, bins=10, worst=1), allow_nan=False))
    assert facts["clips"] == 4
    assert facts["accuracy"] == 0.5
    assert facts["classes"]["yes"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert facts["classes"]["go"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert facts["confusion"] == {"labels": LABELS, "counts": [[1, 1, 0], [1, 1, 0], [0, 0, 0]]}
    assert facts["log_loss"] == pytest.approx(-np.log([0.8, 0.2, 0.9, 0.3]).mean())
    # Gaps of the bins: |1 - 0.8|, |0 - 0.7|, |1 - 0.9|, |0 - 0.6|.
    assert facts["expected_calibration_error"] == pytest.approx(1.6 / 4)
    (worst,) = facts["worst_clips"]
    assert (worst["name"], worst["truth"], worst["prediction"]) == ("word/1.wav", "no", "yes")
    assert worst["truth_probability"] == pytest.approx(0.2)
    assert worst["prediction_probability"] == pytest.approx(0.7)


def test_the_worst_clips_come_with_their_waveforms(scores, clips):
    worst = scoring.worst_clips(scores, clips, 2)
    assert [clip.name for clip in worst] == ["word/1.wav", "word/3.wav"]
    np.testing.assert_array_equal(worst[1].waveform, clips.samples[3])
