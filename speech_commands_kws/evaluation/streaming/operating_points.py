"""What a detector misses, and how often it is wrong, at each of many thresholds, and the threshold for a wanted rate.

Counted are the events that the detector decides, with hysteresis, rivals and refractory time, not crossings of a
threshold. Legend: F frames, K labels.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.alarm_rates import alarm_facts
from speech_commands_kws.evaluation.streaming.matching import (
    Matching,
    Word,
    latency,
    match,
    miss_facts,
    misses,
)
from speech_commands_kws.evaluation.streaming.streams import OTHER_WORDS, TALK, Stream
from speech_commands_kws.evaluation.streaming.transcripts import Said
from speech_commands_kws.inference.detector import MS_PER_SECOND, Detector, Event

# Stretches with fewer quiet rows than this between them are kept as one.
JOINED = 50
RECORDINGS = "recordings"


@dataclass(frozen=True)
class ScoredStream:
    """The rows of a stream in which a keyword may be heard, a few in a thousand of ambient sound.

    Attributes:
        kind: of sound; only streams without words count for false alarms.
        frames: of the whole stream.
        stretches: (first frame, rows (n, K)) of what is kept.
        words: the keywords that were said.
        said: of sound without words, what is said all the same; an event there is no false alarm.
        closed: frames for which a gate was closed.
    """

    name: str
    kind: str
    frames: int
    stretches: list[tuple[int, np.ndarray]]
    words: list[Word]
    said: Sequence[Said] = ()
    closed: int = 0

    def events(self, detector: Detector) -> list[Event]:
        """What a detector decides from the whole stream, if none of its `off` is below the floor of the stretches."""
        detector.reset()
        events = []
        for start, rows in self.stretches:
            events += detector.skip(start - detector.frame)
            events += detector(rows)
        return events + detector.skip(self.frames - detector.frame)


def scored_stream(
    stream: Stream, rows: np.ndarray, keywords: np.ndarray, floor: float
) -> ScoredStream:
    """Keep of the rows (F, K) of a stream what reaches the floor in one of the columns `keywords`.

    Args:
        keywords: (K,) whether a label is a keyword.
        floor: at most the lowest `off` of any detector that will be tried.
    """
    busy = np.flatnonzero((rows[:, keywords] >= floor).any(axis=1))
    parts = np.split(busy, np.flatnonzero(np.diff(busy) > JOINED) + 1) if len(busy) else []
    stretches = [(int(part[0]), rows[part[0] : part[-1] + 1].copy()) for part in parts]
    closed = int(np.sum(~rows.any(axis=1)))
    return ScoredStream(
        stream.name, stream.kind, len(rows), stretches, stream.words, stream.said, closed
    )


def closed_shares(streams: Iterable[ScoredStream]) -> dict[str, float]:
    """For which share of each kind of sound a gate was closed."""
    closed: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    for stream in streams:
        closed[stream.kind] += stream.closed
        frames[stream.kind] += stream.frames
    return {kind: closed[kind] / frames[kind] for kind in frames}


@dataclass(frozen=True)
class Tuning:
    """How thresholds are tried.

    Attributes:
        labels, frame_ms: of the model.
        settings: of the detector, without its thresholds.
        grid: the thresholds.
        late_seconds, masked_seconds: of `matching.match`.
    """

    labels: Sequence[str]
    frame_ms: float
    settings: Mapping[str, Any]
    grid: Sequence[float]
    late_seconds: float
    masked_seconds: float

    @property
    def floor(self) -> float:
        """What `scored_stream` needs: the lowest `off` of the grid, rounded as the detector does."""
        return float(np.float32(min(self.grid)) - np.float64(self.settings["hysteresis"]))

    def detector(self, thresholds: Mapping[str, float]) -> Detector:
        settings = {**self.settings, "thresholds": dict(thresholds)}
        return Detector.from_settings(self.labels, self.frame_ms, settings)

    def point(
        self, streams: Iterable[ScoredStream], thresholds: Mapping[str, float]
    ) -> dict[str, Any]:
        """Misses, false alarms an hour and latency at these thresholds of the keywords, as JSON-able values.

        `false_alarms` are those in recordings; without these, in talk; without that, among other words.
        """
        detector = self.detector(thresholds)
        outcomes, false_alarms = [], []
        alarms: Counter[str] = Counter()
        heard: Counter[str] = Counter()
        seconds: Counter[str] = Counter()
        said: Counter[str] = Counter()
        for stream in streams:
            found = self.matching(stream, detector)
            outcomes += [found for found in found.outcomes if found.word.keyword in thresholds]
            if stream.words:
                false_alarms += found.false_alarms
                continue
            wrong = [event for event in found.others if not self.is_said(event, stream)]
            alarms[stream.kind] += len(wrong)
            said[stream.kind] += len(found.others) - len(wrong)
            heard.update(event.keyword for event in wrong)
            seconds[stream.kind] += self.seconds(stream)

        def facts_of(kinds: Iterable[str]) -> dict[str, Any]:
            sums = (sum(count[kind] for kind in kinds) for count in (alarms, seconds, said))
            return alarm_facts(*sums)

        sound, kinds = counted(seconds)
        return {
            "thresholds": dict(thresholds),
            "misses": miss_facts(outcomes),
            "misses_by_condition": misses(outcomes, lambda word: word.condition),
            "misses_by_keyword": misses(outcomes, lambda word: word.keyword),
            "false_alarms_among_words": len(false_alarms),
            "latency_seconds": latency(outcomes),
            "false_alarms": {"sound": sound, **facts_of(kinds)},
            "false_alarms_in_all_sound": facts_of(seconds),
            "false_alarms_by_kind": {kind: facts_of([kind]) for kind in seconds},
            "false_alarms_by_keyword": {keyword: heard[keyword] for keyword in thresholds},
        }

    def matching(self, stream: ScoredStream, detector: Detector) -> Matching:
        return match(stream.words, stream.events(detector), self.late_seconds, self.masked_seconds)

    def is_said(self, event: Event, stream: ScoredStream) -> bool:
        """Whether the keyword of an event is said where it was decided, or a word that sounds the same."""
        return any(
            event.keyword == said.keyword
            and said.start <= event.time <= said.end + self.late_seconds
            for said in stream.said
        )

    def seconds(self, stream: ScoredStream) -> float:
        return stream.frames * self.frame_ms / MS_PER_SECOND

    def curve(
        self, streams: Sequence[ScoredStream], keywords: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The points of the grid, with one threshold for all keywords: the table of the DET curve."""
        return [
            {"threshold": threshold} | self.point(streams, dict.fromkeys(keywords, threshold))
            for threshold in self.grid
        ]


def for_rate(curve: Iterable[Mapping[str, Any]], per_hour: float) -> Mapping[str, Any]:
    """The point that misses least, of those from the highest threshold down to the first with too many false alarms.

    No more an hour than wanted may be in the sound that counts, nor in all sound: hours of talk, in which a model is
    seldom wrong, excuse nothing that it hears in recordings.

    All keywords share the threshold. How often each is heard by mistake depends on the sound: a threshold for each,
    chosen on some kinds of sound, gave more false alarms for the same misses in a kind that was left out.

    Raises:
        KwsError: there is no sound without words, or the highest threshold gives too many false alarms.
    """
    points = sorted(curve, key=lambda point: point["threshold"], reverse=True)
    allowed = list(takewhile(lambda point: holds(point, per_hour), points))
    if not allowed:
        hours = points[0]["false_alarms_in_all_sound"]["hours"]
        raise KwsError(
            f"no threshold up to {points[0]['threshold']} gives {per_hour} false alarms an hour or fewer on "
            f"{hours:.1f} hours of sound without keywords: train on more such sound, or allow more"
        )
    return min(allowed, key=lambda point: point["misses"]["misses"])


def holds(point: Mapping[str, Any], per_hour: float) -> bool:
    rates = [point[sound]["per_hour"] for sound in ("false_alarms", "false_alarms_in_all_sound")]
    return all(rate is not None and rate <= per_hour for rate in rates)


def counted(kinds: Collection[str]) -> tuple[str, list[str]]:
    """Which of these kinds of sound the false alarms of a model are counted in, and what they are together."""
    recordings = [kind for kind in kinds if kind not in (OTHER_WORDS, TALK)]
    found = [(RECORDINGS, recordings)] + [(kind, [kind]) for kind in (TALK, OTHER_WORDS)]
    return next(((sound, own) for sound, own in found if set(own) & set(kinds)), (RECORDINGS, []))


def summary(point: Mapping[str, Any]) -> dict[str, Any]:
    """What a line of the table of operating points says of a point of `Tuning.curve`."""
    return {
        "threshold": point["threshold"],
        "miss_rate": point["misses"]["miss_rate"],
        "miss_rate_by_condition": {
            name: found["miss_rate"] for name, found in point["misses_by_condition"].items()
        },
        "per_hour": point["false_alarms"]["per_hour"],
        "limit_95": point["false_alarms"]["limit_95"],
    }
