import pytest

from speech_commands_kws.evaluation.streaming.matching import (
    Word,
    latency,
    match,
    miss_facts,
    misses,
)
from speech_commands_kws.inference.detector import Event

LATE = 0.75


def word(keyword: str, start: float, end: float, condition: str = "clean") -> Word:
    return Word("stream", keyword, start, end, condition)


def event(keyword: str, time: float) -> Event:
    return Event(keyword, time, 0.9, time - 0.2)


YES, NO = word("yes", 1.0, 1.5), word("no", 3.0, 3.5)


@pytest.mark.parametrize(
    ("time", "heard"), [(0.99, False), (1.0, True), (1.6, True), (2.25, True), (2.26, False)]
)
def test_a_hit_is_decided_from_the_start_until_late_after_the_end(time: float, heard: bool) -> None:
    found = match([YES], [event("yes", time)], LATE, LATE)
    assert [outcome.event is not None for outcome in found.outcomes] == [heard]
    assert len(found.others) == (not heard) and found.repeats == []


def test_another_keyword_instead_is_a_miss_and_a_confusion() -> None:
    wrong = event("no", 1.7)
    found = match([YES], [wrong], LATE, LATE)
    assert found.outcomes == [(YES, None, wrong)] and found.false_alarms == []
    facts = miss_facts(found.outcomes)
    assert (facts["words"], facts["misses"], facts["confusions"]) == (1, 1, 1)


def test_another_keyword_beside_the_right_one_is_a_false_alarm() -> None:
    found = match([YES], [event("no", 1.4), event("yes", 1.7)], LATE, LATE)
    assert found.outcomes == [(YES, event("yes", 1.7), None)]
    assert found.others == [event("no", 1.4)] and found.repeats == []


def test_a_second_event_of_a_word_is_a_repeat() -> None:
    found = match([YES], [event("yes", 1.7), event("yes", 1.4), event("yes", 9.0)], LATE, LATE)
    assert found.outcomes[0].event == event("yes", 1.4)
    assert found.repeats == [event("yes", 1.7)] and found.others == [event("yes", 9.0)]
    assert found.false_alarms == [event("yes", 1.7), event("yes", 9.0)]


def test_each_event_serves_one_word() -> None:
    """The second event is the only one for the later word, although it comes in the time of both."""
    again = word("yes", 1.8, 2.0)
    both = match([again, YES], [event("yes", 1.6), event("yes", 1.9)], LATE, LATE)
    assert [found.event.time for found in both.outcomes] == [1.6, 1.9]
    one = match([again, YES], [event("yes", 1.9)], LATE, LATE)
    assert [found.event is None for found in one.outcomes] == [False, True]


def test_an_event_of_a_later_word_is_no_confusion_of_the_one_before() -> None:
    soon = word("no", 1.7, 1.9)
    found = match([YES, soon], [event("no", 2.0)], LATE, LATE)
    assert found.outcomes == [(YES, None, None), (soon, event("no", 2.0), None)]


def test_masked_events_do_not_count() -> None:
    events = [event("yes", 1.7), event("yes", 2.3), event("no", 2.3), event("yes", 2.6)]
    assert match([YES], events, 0.5, 1.0).others == [event("no", 2.3), event("yes", 2.6)]
    assert len(match([YES], events, 0.5, 0.5).others) == 3


def test_latency_is_counted_from_the_end_of_the_words_that_were_heard() -> None:
    events = [event("yes", 1.6), event("no", 3.8)]
    found = latency(match([YES, NO, word("go", 8, 9)], events, LATE, LATE).outcomes)
    assert found["median"] == pytest.approx(0.2) and found["p95"] == pytest.approx(0.29)
    assert latency([]) == {"median": None, "p95": None}


def test_misses_are_counted_by_group() -> None:
    words = [YES, word("yes", 5, 6, "0 dB"), word("no", 8, 9, "0 dB")]
    outcomes = match(words, [event("yes", 1.6), event("no", 9.1)], LATE, LATE).outcomes
    by_condition = misses(outcomes, lambda found: found.condition)
    assert by_condition["clean"]["miss_rate"] == 0 and by_condition["0 dB"]["miss_rate"] == 0.5
    assert by_condition["0 dB"]["interval_95"] == pytest.approx([0.0945, 0.9055], abs=1e-4)
    assert misses(outcomes, lambda found: found.keyword)["yes"]["misses"] == 1
