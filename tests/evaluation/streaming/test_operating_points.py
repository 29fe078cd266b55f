"""Made rows of two keywords: bumps of known heights, in sound without words and on words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.matching import Word
from speech_commands_kws.evaluation.streaming.operating_points import (
    ScoredStream,
    Tuning,
    closed_shares,
    for_rate,
    scored_stream,
)
from speech_commands_kws.evaluation.streaming.streams import OTHER_WORDS, TALK, Stream
from speech_commands_kws.evaluation.streaming.transcripts import Said

LABELS = ("left", "right", "_silence_")
IS_KEYWORD = np.array([True, True, False])
SETTINGS = {
    "hysteresis": 0.1,
    "minimum_ms": 30,
    "settle_ms": 50,
    "refractory_ms": 400,
    "warm_up_ms": 0,
}
TUNING = Tuning(LABELS, 10, SETTINGS, [0.9, 0.5, 0.7], 0.75, 0.75)
HOUR = 360_000
Bump = tuple[int, str, float]


def rows_with(bumps: Sequence[Bump], frames: int) -> np.ndarray:
    """Bumps (first frame, keyword, height) of 200 ms."""
    rows = np.zeros((frames, len(LABELS)), np.float32)
    rows[:, 2] = 1
    for start, keyword, height in bumps:
        rows[start : start + 20, LABELS.index(keyword)] = height
    return rows


def ambient(
    bumps: Sequence[Bump],
    kind: str = "speech",
    frames: int = HOUR,
    said: Sequence[Said] = (),
) -> ScoredStream:
    stream = Stream(kind, kind, np.zeros(0), [], said)
    return scored_stream(stream, rows_with(bumps, frames), IS_KEYWORD, TUNING.floor)


def test_a_gate_was_closed_where_there_are_no_answers() -> None:
    rows = rows_with([(50, "left", 0.9)], 100)
    rows[60:90] = 0
    streams = [
        scored_stream(Stream(kind, kind, np.zeros(0), []), rows[part], IS_KEYWORD, TUNING.floor)
        for kind, part in (("talk", slice(0, 60)), ("talk", slice(60, 100)), ("music", slice(60)))
    ]
    assert closed_shares(streams) == {"talk": 0.3, "music": 0.0}


def spoken(heights: dict[str, list[float]], condition: str = "clean") -> ScoredStream:
    """Two seconds for each word, of which a bump of a height is all that is heard."""
    said = [(keyword, height) for keyword, row in heights.items() for height in row]
    bumps = [(200 * i + 50, keyword, height) for i, (keyword, height) in enumerate(said)]
    words = [
        Word("words", keyword, 2 * i + 0.5, 2 * i + 0.6, condition)
        for i, (keyword, _) in enumerate(said)
    ]
    rows = rows_with(bumps, 200 * len(said))
    stream = Stream("words", "words", np.zeros(0), words)
    return scored_stream(stream, rows, IS_KEYWORD, TUNING.floor)


HEIGHTS = st.sampled_from([0.2, 0.39, 0.4, 0.45, 0.5, 0.65, 0.7, 0.9, 1.0])
BUMPS = st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(LABELS[:2]), HEIGHTS), max_size=15)


@given(BUMPS, st.sampled_from(TUNING.grid))
def test_the_stretches_give_the_events_of_the_whole_stream(
    bumps: list[Bump], threshold: float
) -> None:
    slow = replace(TUNING, settings=SETTINGS | {"settle_ms": 250})
    detector = slow.detector({"left": threshold, "right": threshold})
    kept = ambient(bumps, frames=2200).events(detector)
    detector.reset()
    assert kept == detector(rows_with(bumps, 2200))


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.7, 0.8, 0.93, 0.999])
def test_the_floor_is_where_the_detector_lets_a_keyword_go(threshold: float) -> None:
    tuning = replace(TUNING, grid=[threshold])
    off = tuning.detector({"left": threshold}).off[0]
    rows = np.array([[off, 0, 1], [np.nextafter(off, np.float32(0)), 0, 1]], np.float32)
    stream = Stream("", "", np.zeros(0), [])
    kept = scored_stream(stream, rows, IS_KEYWORD, tuning.floor)
    assert [len(part) for _, part in kept.stretches] == [1]


def test_of_a_quiet_stream_nothing_is_kept() -> None:
    stream = ambient([(500, "left", 0.3), (900, "right", 0.6)])
    assert [(start, rows.shape) for start, rows in stream.stretches] == [(900, (20, 3))]
    assert TUNING.floor == pytest.approx(0.4)
    assert ambient([]).stretches == [] and ambient([]).frames == HOUR


def test_a_point_counts_decisions_and_not_crossings() -> None:
    """A second crossing in the refractory time is no second alarm."""
    streams = [
        ambient([(100, "left", 0.8), (125, "left", 0.8), (900, "left", 0.8), (5000, "left", 0.6)]),
        ambient([(300, "right", 0.8)], "music", HOUR // 2),
        spoken({"left": [0.95, 0.6], "right": [0.8]}),
        spoken({"right": [0.6, 0.6]}, "0 dB"),
    ]
    point = TUNING.point(streams, {"left": 0.7, "right": 0.7})
    assert point["false_alarms"]["alarms"] == 3
    assert point["false_alarms"]["per_hour"] == pytest.approx(2)
    kinds = point["false_alarms_by_kind"]
    assert kinds["speech"]["per_hour"] == 2 and kinds["music"]["per_hour"] == 2
    assert point["false_alarms_by_keyword"] == {"left": 2, "right": 1}
    assert (point["misses"]["words"], point["misses"]["misses"]) == (5, 3)
    assert point["misses_by_condition"]["0 dB"]["miss_rate"] == 1
    assert point["misses_by_keyword"]["left"]["miss_rate"] == 0.5
    # 30 ms to last and 50 ms to settle, counted from the first row; the word is 100 ms long.
    assert point["latency_seconds"]["median"] == pytest.approx(-0.02)


def test_an_event_of_what_is_said_is_no_false_alarm() -> None:
    """From the beginning of where it is said to `late_seconds` behind it, and of that keyword alone."""
    bumps = [(start, "left", 0.8) for start in (100, 400, 1100, 1300)] + [(600, "right", 0.8)]
    # Decided 80 ms after a bump begins.
    streams = [ambient(bumps, said=[Said("left", 4.08, 10.4)]), ambient([], "music")]
    point = TUNING.point(streams, {"left": 0.7, "right": 0.7})
    facts = point["false_alarms"]
    assert (facts["alarms"], facts["said_or_alike"], facts["per_hour"]) == (3, 2, 1.5)
    kinds = point["false_alarms_by_kind"]
    assert (kinds["speech"]["said_or_alike"], kinds["music"]["said_or_alike"]) == (2, 0)
    assert point["false_alarms_by_keyword"] == {"left": 2, "right": 1}


def test_the_curve_has_a_point_for_each_threshold() -> None:
    streams = [ambient([(100, "left", 0.8), (900, "right", 0.6)]), spoken({"left": [0.95, 0.6]})]
    curve = TUNING.curve(streams, ["left", "right"])
    found = [
        (point["threshold"], point["misses"]["misses"], point["false_alarms"]["alarms"])
        for point in curve
    ]
    assert found == [(0.9, 1, 0), (0.5, 0, 2), (0.7, 1, 1)]


def test_only_keywords_with_a_threshold_are_words_of_a_point() -> None:
    point = TUNING.point([spoken({"left": [0.95], "right": [0.95]})], {"left": 0.7})
    assert point["misses"]["words"] == 1 and point["misses"]["misses"] == 0
    assert point["false_alarms"]["per_hour"] is None


def test_the_false_alarms_of_a_model_are_those_in_recordings_where_there_are_any() -> None:
    sounds = [ambient([], kind) for kind in ("street", OTHER_WORDS, TALK)]
    sounds[0] = ambient([(100, "left", 0.8)], "street")
    sounds[2] = ambient([(100, "left", 0.8), (900, "left", 0.8)], TALK)
    facts = TUNING.point(sounds, {"left": 0.7})
    found = facts["false_alarms"], facts["false_alarms_in_all_sound"]
    assert [(each["alarms"], each["hours"]) for each in found] == [(1, 1), (3, 3)]
    assert facts["false_alarms"]["sound"] == "recordings"
    for kinds, sound in (({OTHER_WORDS, TALK}, TALK), ({OTHER_WORDS}, OTHER_WORDS)):
        heard = [stream for stream in sounds if stream.kind in kinds]
        assert TUNING.point(heard, {"left": 0.7})["false_alarms"]["sound"] == sound
    assert TUNING.point([], {"left": 0.7})["false_alarms"]["per_hour"] is None


def test_the_threshold_for_a_rate_misses_least_with_no_more_false_alarms() -> None:
    words = spoken({"left": [0.95, 0.8, 0.6]})
    streams = [ambient([(1000, "left", 0.8), (9000, "right", 0.6)]), words]
    curve = TUNING.curve(streams, LABELS[:2])
    for per_hour, threshold in ((2, 0.5), (1.5, 0.7), (1, 0.7), (0.9, 0.9)):
        point = for_rate(curve, per_hour)
        assert point["thresholds"] == {"left": threshold, "right": threshold}
        assert point["false_alarms"]["per_hour"] <= per_hour
    assert point["misses"]["misses"] == 2
    # No lower than it helps.
    curve = TUNING.curve([ambient([]), spoken({"left": [0.95, 0.8]})], LABELS[:2])
    assert for_rate(curve, 2)["threshold"] == 0.7


def test_the_rate_holds_in_recordings_and_in_all_sound() -> None:
    """Ten hours of talk without an alarm excuse none in recordings, nor the other way round."""
    loud = [(1000 * i, "left", 0.8) for i in range(1, 6)]
    words = spoken({"left": [0.6]})
    quiet = [ambient([], TALK)] * 10 + [words]
    assert for_rate(TUNING.curve([ambient(loud), *quiet], ["left"]), 1)["threshold"] == 0.9
    quiet = [ambient([])] * 2 + [words]
    assert (
        for_rate(TUNING.curve([ambient(loud, OTHER_WORDS), *quiet], ["left"]), 1)["threshold"]
        == 0.9
    )
    assert (
        for_rate(TUNING.curve([ambient(loud, OTHER_WORDS), *quiet], ["left"]), 2)["threshold"]
        == 0.5
    )


def point_with(threshold: float, alarms: int) -> dict[str, Any]:
    facts = {"per_hour": alarms, "hours": 1.0}
    return {
        "threshold": threshold,
        "misses": {"misses": round(100 * threshold)},
        "false_alarms": facts,
        "false_alarms_in_all_sound": facts,
    }


def test_a_threshold_below_one_with_too_many_false_alarms_is_not_taken() -> None:
    curve = [point_with(0.5, 1), point_with(0.9, 0), point_with(0.7, 2)]
    assert for_rate(curve, 1)["threshold"] == 0.9


def test_a_rate_that_cannot_be_had_is_an_error() -> None:
    noisy = [ambient([(1000, "left", 1.0)]), spoken({"left": [0.95]})]
    with pytest.raises(KwsError, match="no threshold up to 0.9 gives 0.5 false alarms an hour"):
        for_rate(TUNING.curve(noisy, ["left"]), 0.5)
    with pytest.raises(KwsError, match="on 0.0 hours of sound"):
        for_rate(TUNING.curve([spoken({"left": [0.95]})], ["left"]), 0.5)
