"""Decides from the probabilities of a streaming model, one row a frame, when a keyword was said.

Legend: F frames, K labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import numpy as np

from speech_commands_kws.errors import (
    KwsError,
    SettingError,
    check_choice,
    check_mapping,
    check_number,
    check_positive,
)
from speech_commands_kws.labels import keywords_of

__all__ = ["Event", "Detector"]

MS_PER_SECOND = 1000


@dataclass(frozen=True)
class Event:
    """A keyword that was heard.

    Attributes:
        keyword: which one.
        time: when it was decided, in seconds from the beginning of the stream.
        score: its highest probability until then.
        start: when its probability reached the threshold (seconds).
    """

    keyword: str
    time: float
    score: float
    start: float


@dataclass
class Run:
    """A keyword from the frame in which it reaches its threshold to the one in which it falls below `off`."""

    start: int
    peak: float
    # It took part in a decision, and in no further one.
    spent: bool = False


class Detector:
    """Called with rows of one stream, however many at a time; the events do not depend on how they are cut.

    A keyword whose probability reaches its threshold, and does not fall below `threshold - hysteresis` for
    `minimum_ms`, is an event `settle_ms` later, unless another one that lasted as long was more probable by then. A NaN
    counts as zero.

    Args:
        labels: of the columns of the rows.
        frame_ms: from row to row (milliseconds, as the others that end so).
        thresholds: of each keyword that is to be heard (probabilities).
        hysteresis: how far below its threshold a keyword goes on.
        minimum_ms: how long a keyword must last.
        settle_ms: how long a more probable keyword is waited for then.
        refractory_ms: after an event, the next keyword lasts long enough only after this.
        warm_up_ms: as after an event, at the beginning.

    Raises:
        SettingError: a threshold of no keyword, or a value out of its range.
    """

    def __init__(
        self,
        labels: Sequence[str],
        frame_ms: float,
        thresholds: Mapping[str, float],
        hysteresis: float,
        minimum_ms: float,
        settle_ms: float,
        refractory_ms: float,
        warm_up_ms: float,
    ) -> None:
        check_positive(frame_ms=frame_ms)
        check_number(0, 1, hysteresis=hysteresis)
        self.durations = {"minimum_ms": minimum_ms, "settle_ms": settle_ms}
        self.durations |= {"refractory_ms": refractory_ms, "warm_up_ms": warm_up_ms}
        check_number(0, **self.durations)
        check_thresholds(labels, thresholds, hysteresis)
        self.labels = tuple(labels)
        self.seconds_per_frame = frame_ms / MS_PER_SECOND
        self.thresholds, self.hysteresis = dict(thresholds), hysteresis
        frames = (ceil(duration / frame_ms) for duration in self.durations.values())
        self.minimum, self.settle, self.refractory, self.warm_up = frames
        # Rounded like the probabilities, so that 0.7 reaches 0.7.
        self.on = np.array([thresholds.get(label, inf) for label in labels], np.float32)
        self.off = (self.on - np.float64(hysteresis)).astype(np.float32)
        self.limits = list(zip(self.on.tolist(), self.off.tolist(), strict=True))
        self.reset()

    @classmethod
    def from_settings(
        cls, labels: Sequence[str], frame_ms: float, settings: Mapping[str, Any]
    ) -> "Detector":
        """The detector with the `settings` of another one."""
        try:
            return cls(labels, frame_ms, **settings)
        except TypeError as error:
            raise KwsError(
                f"malformed settings of a detector ({error}): choose them again"
            ) from None

    def settings(self) -> dict[str, Any]:
        """What it was made with, as JSON-able values."""
        return {"thresholds": self.thresholds, "hysteresis": self.hysteresis, **self.durations}

    def reset(self) -> None:
        """Begin a new stream."""
        self.frame = 0
        self.runs: dict[int, Run] = {}
        # Those that lasted long enough before the next decision, which is made in this frame.
        self.candidates: dict[int, Run] = {}
        self.decides_in: float = inf
        self.ready_in = self.warm_up

    def __call__(self, rows: np.ndarray) -> list[Event]:
        """The events that the next rows (F, K) decide."""
        above = np.greater_equal(rows, self.off)
        if above.any():
            return self._events(rows, above)
        return self.skip(len(rows))

    def skip(self, frames: int) -> list[Event]:
        """As called with so many rows of zeros."""
        if frames:
            self.runs.clear()
        self.frame += frames
        return [self._decision()] if self.decides_in < self.frame else []

    def finish(self) -> list[Event]:
        """At the end of a stream: what would be decided if no sound followed."""
        return self.skip(self.settle + 1)

    def _events(self, rows: np.ndarray, above: np.ndarray) -> list[Event]:
        """Only rows in which a run goes on or may begin, and those behind them, in which it ends, are looked at."""
        looked_at = np.logical_or.reduce(above, axis=1)
        looked_at[1:] |= looked_at[:-1]
        looked_at[:1] = True
        columns = sorted({*np.flatnonzero(above.any(axis=0)).tolist(), *self.runs})
        indices = np.flatnonzero(looked_at)
        events = []
        for i, scores in zip(indices.tolist(), rows[indices].tolist(), strict=True):
            frame = self.frame + i
            if self.decides_in < frame:
                events.append(self._decision())
            self._follow(frame, scores, columns)
            if self.decides_in == frame:
                events.append(self._decision())
        self.frame += len(rows)
        if self.decides_in < self.frame:
            events.append(self._decision())
        return events

    def _follow(self, frame: int, scores: list[float], columns: list[int]) -> None:
        """Begin, continue and end the runs of some columns by one row."""
        for k in columns:
            on, off = self.limits[k]
            score, run = scores[k], self.runs.get(k)
            if run is None:
                if score >= on:
                    run = self.runs[k] = Run(frame, score)
            elif score >= off:
                run.peak = max(run.peak, score)
            else:
                del self.runs[k]
                continue
            if run and not run.spent and frame >= max(run.start + self.minimum - 1, self.ready_in):
                self.candidates.setdefault(k, run)
                self.decides_in = min(self.decides_in, frame + self.settle)

    def _decision(self) -> Event:
        """The most probable candidate, and of equal ones the first in the order of the labels."""
        frame = int(self.decides_in)
        winner = max(sorted(self.candidates), key=lambda k: self.candidates[k].peak)
        run = self.candidates[winner]
        for rival in self.runs.values():
            rival.spent = True
        self.candidates.clear()
        self.decides_in, self.ready_in = inf, frame + 1 + self.refractory
        return Event(
            self.labels[winner], self._seconds(frame + 1), run.peak, self._seconds(run.start)
        )

    def _seconds(self, frames: int) -> float:
        return frames * self.seconds_per_frame


def check_thresholds(
    labels: Sequence[str], thresholds: Mapping[str, float], hysteresis: float
) -> None:
    check_mapping(thresholds=thresholds)
    keywords = keywords_of(labels)
    for keyword, threshold in thresholds.items():
        check_choice(keywords, **{"a keyword of thresholds": keyword})
        check_number(0, 1, **{f"thresholds.{keyword}": threshold})
        if threshold <= hysteresis:
            raise SettingError(
                f"thresholds.{keyword} must be above hysteresis ({hysteresis}), got {threshold}"
            )
