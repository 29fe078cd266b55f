"""Words that were said in a stream against the events of a detector: hits, misses, confusions, repeats, latency."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from speech_commands_kws.evaluation.metrics import wilson_interval
from speech_commands_kws.inference.detector import Event

MEDIAN, LATE = 50, 95


@dataclass(frozen=True)
class Word:
    """A keyword that was said in a stream, from `start` to `end` (seconds), clean, in noise or in a room."""

    stream: str
    keyword: str
    start: float
    end: float
    condition: str


class Outcome(NamedTuple):
    """What became of a word: heard by an event, or missed; `confused` is what was heard instead."""

    word: Word
    event: Event | None
    confused: Event | None

    @property
    def latency(self) -> float:
        """From the word's end to the decision (seconds)."""
        return self.event.time - self.word.end


@dataclass(frozen=True)
class Matching:
    """Outcomes of the words of a stream, and the events that are none of them, which are false alarms.

    `repeats` fall on a word that is heard already, `others` anywhere.
    """

    outcomes: list[Outcome]
    repeats: list[Event]
    others: list[Event]

    @property
    def false_alarms(self) -> list[Event]:
        return [*self.repeats, *self.others]


def match(
    words: Iterable[Word], events: Iterable[Event], late_seconds: float, masked_seconds: float
) -> Matching:
    """Give each word of a stream its event.

    A hit is the earliest event of the keyword, not yet given to another word, that is decided from the beginning of the
    word to `late_seconds` behind its end. Where there is none, the earliest event of another keyword in that time is a
    confusion.

    Args:
        masked_seconds: events of its keyword that come later, up to this time behind the end of a word, do not count.
    """
    words, free = sorted(words, key=lambda word: word.start), sorted(events, key=_time)
    hits = []
    for word in words:
        hits.append(
            _first(free, word, late_seconds, lambda event, word=word: event.keyword == word.keyword)
        )
    outcomes = [
        Outcome(word, hit, None if hit else _first(free, word, late_seconds, lambda _: True))
        for word, hit in zip(words, hits, strict=True)
    ]
    free = [
        event
        for event in free
        if not any(_is_masked(event, word, late_seconds, masked_seconds) for word in words)
    ]
    repeats = [
        event for event in free if any(_repeats(event, word, late_seconds) for word in words)
    ]
    return Matching(outcomes, repeats, [event for event in free if event not in repeats])


def _time(event: Event) -> float:
    return event.time


def _first(
    free: list[Event], word: Word, late_seconds: float, fits: Callable[[Event], bool]
) -> Event | None:
    """Take the earliest free event in the time of a word that fits."""
    for event in free:
        if word.start <= event.time <= word.end + late_seconds and fits(event):
            free.remove(event)
            return event
    return None


def _is_masked(event: Event, word: Word, late_seconds: float, masked_seconds: float) -> bool:
    late = event.time - word.end
    return event.keyword == word.keyword and late_seconds < late <= masked_seconds


def _repeats(event: Event, word: Word, late_seconds: float) -> bool:
    return event.keyword == word.keyword and word.start <= event.time <= word.end + late_seconds


def misses(
    outcomes: Iterable[Outcome], group: Callable[[Word], Hashable]
) -> dict[Hashable, dict[str, Any]]:
    """Number of words, misses and confusions of each group of words, and the miss rate with its 95 % interval."""
    groups: dict[Hashable, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(group(outcome.word), []).append(outcome)
    return {name: miss_facts(found) for name, found in groups.items()}


def miss_facts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    missed = sum(outcome.event is None for outcome in outcomes)
    return {
        "words": len(outcomes),
        "misses": missed,
        "confusions": sum(outcome.confused is not None for outcome in outcomes),
        "miss_rate": missed / len(outcomes) if outcomes else None,
        "interval_95": list(wilson_interval(missed, len(outcomes))),
    }


def latency(outcomes: Iterable[Outcome]) -> dict[str, float | None]:
    """Median and 95th percentile of the hits (seconds)."""
    seconds = [outcome.latency for outcome in outcomes if outcome.event]
    if not seconds:
        return {"median": None, "p95": None}
    median, late = np.percentile(seconds, [MEDIAN, LATE])
    return {"median": float(median), "p95": float(late)}
