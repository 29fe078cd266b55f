"""Many recordings: predictions for their windows, which share batches, or the keywords that are heard in them."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from speech_commands_kws.audio.locate import STANDARD_INPUT, recordings
from speech_commands_kws.audio.reading import stream_audio
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.inference.description import operating_rows
from speech_commands_kws.inference.detector import MS_PER_SECOND, Detector, Event
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.spotter import Keyword, KeywordSpotter, Prediction, batched
from speech_commands_kws.labels import keywords_of

EVERY_WINDOW = "windows=true lists every window."


class Recordings:
    """The recordings of some names; what cannot be used is reported on standard error and passed over.

    Attributes:
        failures: names and recordings reported so far.
    """

    def __init__(self) -> None:
        self.failures = 0

    def sources(self, names: Iterable[str]) -> Iterator[tuple[str, Path | BinaryIO]]:
        """Each recording with its name.

        Args:
            names: files, folders, patterns, or - for standard input.
        """
        for name in names:
            for source in self.passing_over(recordings(name)):
                yield str(source) if isinstance(source, Path) else STANDARD_INPUT, source

    def passing_over(self, items: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from items
        except KwsError as error:
            self.failures += 1
            print(f"error: {display_name(error)}", file=sys.stderr)


class Scored(NamedTuple):
    """A window of a recording, where it begins (seconds), and the probabilities (K,) of the labels."""

    name: str
    start: float
    probabilities: np.ndarray


class BatchInference:
    """Runs a model for clips over recordings.

    Args:
        settings: of the detector, which is called with the windows of a long recording, a row each.

    Attributes:
        recordings: which of them could not be used.
        scored: windows so far.
        long: recordings so far that are longer than a window, of which `events` lists keywords.
    """

    def __init__(self, spotter: KeywordSpotter, settings: Mapping[str, Any]) -> None:
        self.spotter = spotter
        self.detector = window_detector(spotter, settings)
        self.recordings = Recordings()
        self.scored = 0
        self.long = 0

    def predictions(self, names: Iterable[str]) -> Iterator[tuple[str, Prediction]]:
        """The prediction for every window with the name of its recording, in order."""
        for name, start, probabilities in self._scored(names):
            yield name, self.spotter.prediction(start, probabilities)

    def events(self, names: Iterable[str]) -> Iterator[tuple[str, Prediction | None]]:
        """The prediction for each short recording, and of a long one the keywords heard in it, or None."""
        number = 0

        def recording(window: Scored) -> tuple[int, str]:
            nonlocal number
            number += window.start == 0
            return number, window.name

        for (_, name), windows in groupby(self._scored(names), recording):
            begin = list(islice(windows, 2))
            if len(begin) == 1:
                yield name, self.spotter.prediction(begin[0].start, begin[0].probabilities)
                continue
            self.long += 1
            for heard in or_none(self._heard(chain(begin, windows))):
                yield name, heard

    def _heard(self, windows: Iterable[Scored]) -> Iterator[Prediction]:
        clip_seconds = self.spotter.clip_samples / self.spotter.sample_rate
        self.detector.reset()
        for events, last in self._decided(windows):
            for event in events:
                # The last window ends with the sound, and may begin before its turn.
                start = min(event.start, last)
                yield heard_as(event, start, start + clip_seconds)

    def _decided(self, windows: Iterable[Scored]) -> Iterator[tuple[list[Event], float]]:
        """The events of each window, and where it begins."""
        for _, start, probabilities in windows:
            yield self.detector(probabilities[np.newaxis]), start
        yield self.detector.finish(), start

    def _scored(self, names: Iterable[str]) -> Iterator[Scored]:
        for batch in batched(self._windows(names), self.spotter.batch_size):
            rows = self.spotter.score(np.stack([waveform for _, (_, waveform) in batch]))
            self.scored += len(batch)
            for (name, (start, _)), probabilities in zip(batch, rows):
                yield Scored(name, start, probabilities)

    def _windows(self, names: Iterable[str]) -> Iterator[tuple[str, tuple[float, np.ndarray]]]:
        for name, source in self.recordings.sources(names):
            for window in self.recordings.passing_over(self.spotter.windows(source)):
                yield name, window

    @property
    def note(self) -> str:
        """What the keywords of a long recording are."""
        info = self.spotter.backend.info
        return (
            f"Of long recordings the keywords are listed that reach the model's threshold in a window. "
            f"{info.threshold_note} A streaming model, trained on streams, gives far fewer false alarms. "
            f"{EVERY_WINDOW}"
        )


class ListeningInference:
    """Listens to recordings with a streaming model.

    Args:
        spotter: gives the predictions for recordings that are no longer than a clip; None: they are listened to too.

    Attributes:
        recordings, long: as those of `BatchInference`.
        scored: recordings so far.
    """

    def __init__(self, listener: KeywordListener, spotter: KeywordSpotter | None = None) -> None:
        self.listener, self.spotter = listener, spotter
        self.recordings = Recordings()
        self.scored = 0
        self.long = 0

    def events(self, names: Iterable[str]) -> Iterator[tuple[str, Prediction | None]]:
        """The prediction for each short recording, and of a long one the keywords heard in it, or None."""
        for name, source in self.recordings.sources(names):
            for prediction in self.recordings.passing_over(or_none(self._recording(source))):
                yield name, prediction
            self.scored += 1

    def _recording(self, source: Path | BinaryIO) -> Iterator[Prediction]:
        clip_samples = self.spotter.clip_samples if self.spotter else 0
        blocks = stream_audio(source, self.listener.sample_rate)
        begin: list[np.ndarray] = []
        while sum(map(len, begin)) <= clip_samples:
            block = next(blocks, None)
            if block is None:
                assert self.spotter, "a recording has samples"
                yield from self.spotter(np.concatenate(begin))
                return
            begin.append(block)
        self.long += 1
        for event in self._events(chain(begin, blocks)):
            yield heard_as(event, event.start, event.time)

    def _events(self, blocks: Iterable[np.ndarray]) -> Iterator[Event]:
        self.listener.reset()
        for block in blocks:
            yield from self.listener(block)
        yield from self.listener.finish()

    @property
    def note(self) -> str:
        """What the keywords of a long recording are, and what the model was measured to miss."""
        model, point = self.listener.model, self.listener.model.info.operating_points
        parts = [f"Of long recordings the keywords are listed that {model.model} hears."]
        if point:
            rows = operating_rows(point)
            parts.append(
                f"Measured: {rows['missed']} missed; false alarms: {rows['false_alarms']}."
            )
        return " ".join([*parts, EVERY_WINDOW] if self.spotter else parts)


def or_none(items: Iterator[Any]) -> Iterator[Any]:
    """The items, or None where there are none."""
    is_empty = True
    for item in items:
        is_empty = False
        yield item
    if is_empty:
        yield None


def heard_as(event: Event, start: float, end: float) -> Prediction:
    return Prediction(start, end, (Keyword(event.keyword, event.score),))


def window_detector(spotter: KeywordSpotter, settings: Mapping[str, Any]) -> Detector:
    """A detector for the windows of a model for clips, with the threshold in its file.

    Args:
        settings: of the detector; `threshold` where the file has none.
    """
    settings = dict(settings)
    threshold = spotter.backend.info.detection.get("threshold") or settings["threshold"]
    del settings["threshold"]
    settings["hysteresis"] = min(settings["hysteresis"], threshold / 2)
    settings["warm_up_ms"] = 0  # a window is full from the beginning
    thresholds = dict.fromkeys(keywords_of(spotter.labels), threshold)
    return Detector(spotter.labels, spotter.hop_seconds * MS_PER_SECOND, thresholds, **settings)
