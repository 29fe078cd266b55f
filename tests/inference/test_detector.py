"""Hand-written scores of two keywords, a row every 10 ms, and properties of any scores."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.detector import Detector

LABELS = ("left", "right", "_unknown_", "_silence_")
FRAME_MS = 10
NAN = float("nan")
SETTINGS: dict[str, Any] = {
    "thresholds": {"left": 0.7, "right": 0.5},
    "hysteresis": 0.15,
    "minimum_ms": 30,
    "settle_ms": 40,
    "refractory_ms": 100,
    "warm_up_ms": 0,
}
# Of a keyword that is there from the first frame on: two frames more make 30 ms, then come 40 ms for rivals.
FIRST_DECISION = 0.07


def detector(**changed: Any) -> Detector:
    return Detector(LABELS, FRAME_MS, **(SETTINGS | changed))


def rows(left: list[float], right: list[float] | None = None) -> np.ndarray:
    """(F, K) probabilities, with a second of none behind them."""
    scores = np.zeros((max(len(left), len(right or [])) + 100, len(LABELS)), np.float32)
    scores[: len(left), 0] = left
    scores[: len(right or []), 1] = right or []
    scores[:, 3] = 1 - scores[:, :2].sum(axis=1)
    return scores


def found(left: list[float], right: list[float] | None = None, **changed: Any) -> list[tuple]:
    """Keywords and the times at which they were decided."""
    events = detector(**changed)(rows(left, right))
    return [(event.keyword, round(event.time, 9)) for event in events]


def test_an_event_says_when_and_how_probable() -> None:
    (event,) = detector()(rows([0, 0.2, 0.75, 0.8, 0.9, 0.6, 0.1]))
    assert event.keyword == "left"
    assert event.start == pytest.approx(0.02)
    assert event.time == pytest.approx(0.02 + FIRST_DECISION)
    assert event.score == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("left", "heard"),
    [
        ([0.7] * 3, True),
        ([0.699] * 30, False),
        # Once there it may fall to 0.55.
        ([0.7, 0.55, 0.55], True),
        ([0.7, 0.549, 0.7], False),
        ([0.7] * 2, False),
        ([0.7, 0.7, 0, 0.7, 0.7], False),
        ([0.54] * 30 + [0.7] * 3, True),
    ],
)
def test_a_keyword_needs_its_threshold_for_its_duration(left: list[float], heard: bool) -> None:
    assert bool(found(left)) == heard


def test_each_keyword_has_its_own_threshold() -> None:
    assert found([0.6] * 5, [0.5] * 5) == [("right", FIRST_DECISION)]
    assert found([0.9] * 5, [0] * 5, thresholds={"right": 0.5}) == []


@pytest.mark.parametrize(
    ("right", "winner"),
    [
        ([0] * 3 + [0.95] * 3, "right"),
        # It lasts long enough in the frame of the decision, and one too late.
        ([0] * 4 + [0.95] * 3, "right"),
        ([0] * 5 + [0.95] * 9, "left"),
        ([0.8] * 5, "left"),
        # The highest probability counts, not the one at the end.
        ([0.95] + [0.6] * 4, "right"),
    ],
)
def test_the_most_probable_of_two_rivals_wins(right: list[float], winner: str) -> None:
    assert found([0.9] * 7, right) == [(winner, FIRST_DECISION)]


def test_of_equally_probable_rivals_the_first_label_wins() -> None:
    assert found([0] + [0.9] * 5, [0.9] * 6) == [("left", FIRST_DECISION)]


def test_a_rival_that_lost_is_heard_again_only_after_it_was_gone() -> None:
    assert found([0.9] * 7, [0.6] * 40) == [("left", FIRST_DECISION)]
    again = [0.6] * 25 + [0.2] + [0.6] * 5
    assert found([0.9] * 7, again) == [("left", FIRST_DECISION), ("right", 0.33)]


def test_a_keyword_is_heard_again_only_after_it_was_gone() -> None:
    assert found([0.9] * 90) == [("left", FIRST_DECISION)]
    assert found([0.9] * 30 + [0.56] + [0.9] * 30) == [("left", FIRST_DECISION)]
    twice = [0.9] * 30 + [0.54] + [0.9] * 30
    assert found(twice) == [("left", FIRST_DECISION), ("left", 0.38)]


def test_after_an_event_there_is_none_for_the_refractory_time() -> None:
    """What begins within it and lasts is an event at its end."""
    short, long = [0.9] * 8 + [0] + [0.9] * 5, [0.9] * 8 + [0] + [0.9] * 30
    assert found(short) == [("left", FIRST_DECISION)]
    assert found(long) == [("left", FIRST_DECISION), ("left", 0.22)]
    assert len(found(short, refractory_ms=0)) == 2


def test_there_is_no_event_while_the_model_warms_up() -> None:
    assert found([0.9] * 29, warm_up_ms=300) == []
    assert found([0.9] * 31, warm_up_ms=300) == [("left", 0.35)]


def test_durations_are_rounded_up_to_frames() -> None:
    assert found([0.9] * 3, minimum_ms=31) == []
    assert found([0.9] * 4, minimum_ms=31, settle_ms=0) == [("left", 0.04)]


def test_a_nan_is_no_event_and_leaves_none_behind() -> None:
    assert found([NAN] * 50) == []
    assert found([0.9, 0.9, NAN, 0.9, 0.9]) == []
    assert found([NAN] * 5 + [0.9] * 3) == [("left", 0.12)]
    assert found([NAN] * 5, [0.9] * 5) == [("right", FIRST_DECISION)]


def test_a_reset_begins_a_new_stream() -> None:
    stream = detector()
    first = stream(rows([0.9] * 5)[:5])
    stream.reset()
    assert first == [] and stream(rows([])) == []
    stream.reset()
    assert [event.start for event in stream(rows([0.9] * 5))] == [0]


# Values at and about the thresholds and where the runs end.
SCORES = st.sampled_from([0, 0.2, 0.349, 0.35, 0.5, 0.549, 0.55, 0.699, 0.7, 0.9, NAN])
STRETCHES = st.lists(st.tuples(SCORES, SCORES, st.integers(1, 12)), max_size=30)


def stretched(stretches: list[tuple[float, float, int]]) -> np.ndarray:
    pairs = [pair for *pair, length in stretches for _ in range(length)]
    return rows([left for left, _ in pairs], [right for _, right in pairs])


@given(STRETCHES, st.lists(st.integers(0, 400), max_size=40))
def test_events_do_not_depend_on_how_the_rows_are_cut(
    stretches: list[tuple[float, float, int]], cuts: list[int]
) -> None:
    scores, whole, cut = stretched(stretches), detector(), detector()
    parts = np.split(scores, sorted(min(place, len(scores)) for place in cuts))
    events = [event for part in parts for event in cut(part)]
    assert events == whole(scores)
    by_row = detector()
    assert events == [event for row in scores for event in by_row(row[None])]


@given(STRETCHES, st.integers(0, 20))
def test_skipped_frames_are_rows_of_zeros(
    stretches: list[tuple[float, float, int]], frames: int
) -> None:
    scores, skipping, called = stretched(stretches)[:-100], detector(), detector()
    zeros = np.zeros((frames, len(LABELS)), np.float32)
    first = skipping(scores), called(scores)
    assert first[0] == first[1] and skipping.skip(frames) == called(zeros)
    assert skipping(scores) == called(scores)


@given(STRETCHES)
def test_every_event_follows_from_the_scores(stretches: list[tuple[float, float, int]]) -> None:
    scores, stream = stretched(stretches), detector()
    events = stream(scores)
    for event in events:
        k, start, end = LABELS.index(event.keyword), frame(event.start), frame(event.time)
        lasting = scores[start : start + 3, k]
        assert lasting[0] >= stream.on[k] and np.all(lasting >= stream.off[k])
        assert event.score in scores[start:end, k]
    for one, other in pairwise(events):
        assert frame(other.time) - frame(one.time) > 10


def frame(seconds: float) -> int:
    return round(seconds * 1000 / FRAME_MS)


def test_settings_give_the_same_detector() -> None:
    again = Detector.from_settings(LABELS, FRAME_MS, json.loads(json.dumps(detector().settings())))
    assert again.settings() == SETTINGS
    scores = rows([0.9] * 5)
    assert again(scores) == detector()(scores) != []
    with pytest.raises(KwsError, match="malformed settings of a detector"):
        Detector.from_settings(LABELS, FRAME_MS, SETTINGS | {"on": 0.5})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"thresholds": {"up": 0.7}}, "must be one of left, right, got up"),
        ({"thresholds": {"_silence_": 0.7}}, "must be one of left, right, got _silence_"),
        ({"thresholds": {"left": 1.1}}, "thresholds.left must be a number from 0 to 1, got 1.1"),
        ({"thresholds": {"left": 0.15}}, "must be above hysteresis .0.15., got 0.15"),
        ({"thresholds": 0.5}, "thresholds must be a mapping"),
        ({"hysteresis": -0.1}, "hysteresis must be a number from 0 to 1"),
        ({"settle_ms": -1}, "settle_ms must be a number of 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(KwsError, match=message):
        detector(**changed)
