"""Keeps the sound around events as clips, as `kws train data=folder` reads them."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.takes import check_speaker, keep
from speech_commands_kws.errors import check_number
from speech_commands_kws.inference.detector import Detector, Event
from speech_commands_kws.inference.listener import KeywordListener

NEAR_MISSES = "near_misses"
# A keyword reaches its threshold about when it ends.
AFTER_SECONDS = 0.15
# An event is decided so long after it reached the threshold, at most.
DECIDED_SECONDS = 2.0


class EventClips:
    """Writes the second in which a keyword was heard to `<folder>/<keyword>/<name>_nohash_<k>.wav`.

    Near misses, which reach a lower threshold and are no event, go to `<folder>/near_misses/<keyword>/`, where no
    training looks for them.

    Args:
        listener: whose events and scores they are, hearing sound at the rate of its model.
        name: of the speaker or the place.
        near_miss: the lower threshold; None keeps events alone.
    """

    def __init__(
        self, folder: Path, listener: KeywordListener, name: str, near_miss: float | None = None
    ) -> None:
        check_speaker(name)
        if near_miss is not None:
            check_number(0, 1, near_miss=near_miss)
        info = listener.model.info
        self.folder, self.listener, self.name = folder, listener, name
        self.rate, self.clip_samples = info.sample_rate, info.clip_samples
        self.near_detector = near_detector(listener, near_miss)
        # The last seconds, which end with sample `samples` of the stream.
        self.sound = np.zeros(0, np.float32)
        self.samples = 0
        self.events: list[Event] = []
        self.near: list[Event] = []
        self.kept: list[Event] = []

    def hear(self, chunk: np.ndarray, events: Sequence[Event]) -> None:
        self.sound = np.concatenate([self.sound, chunk])
        self.samples += len(chunk)
        self.events += events
        if self.near_detector:
            for rows in self.listener.rows:
                self.near += self.near_detector(rows)
        self._write(self.samples / self.rate)
        held = self.clip_samples + self.listener.call_samples + round(DECIDED_SECONDS * self.rate)
        self.sound = self.sound[-held:]

    def close(self) -> None:
        self._write(inf)

    def _write(self, now: float) -> None:
        """The clips whose sound is there, and the near misses of which it is known that they are no event."""
        due, self.events = divided(self.events, now - AFTER_SECONDS)
        for event in due:
            self._keep(event, self.folder / event.keyword)
        self.kept += due
        due, self.near = divided(self.near, now - AFTER_SECONDS - DECIDED_SECONDS)
        for event in due:
            if all(abs(event.start - other.start) > DECIDED_SECONDS for other in self.kept):
                self._keep(event, self.folder / NEAR_MISSES / event.keyword)
        if not self.near:
            _, self.kept = divided(self.kept, now - DECIDED_SECONDS * 2)

    def _keep(self, event: Event, folder: Path) -> None:
        behind = self.samples - round((event.start + AFTER_SECONDS) * self.rate)
        stop = len(self.sound) - max(behind, 0)
        clip = self.sound[max(stop - self.clip_samples, 0) : stop]
        keep(np.nan_to_num(clip), self.rate, folder, self.name)


def divided(events: list[Event], time: float) -> tuple[list[Event], list[Event]]:
    """Those that began until then, and the others."""
    early = [event for event in events if event.start <= time]
    return early, [event for event in events if event.start > time]


def near_detector(listener: KeywordListener, near_miss: float | None) -> Detector | None:
    if near_miss is None:
        return None
    settings = listener.detector.settings()
    settings["thresholds"] = dict.fromkeys(settings["thresholds"], near_miss)
    return Detector.from_settings(listener.labels, listener.model.frame_ms, settings)
