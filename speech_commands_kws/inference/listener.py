"""Keywords in sound that never ends.

    from speech_commands_kws import KeywordListener
    listener = KeywordListener("model.streaming.onnx")
    for chunk in microphone():
        for event in listener(chunk):
            print(event.keyword, event.time, event.score)

Shapes: `T` samples, `C` channels, `F` frames, `K` keywords.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.audio.reading import resampler
from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.inference.detector import Detector, Event
from speech_commands_kws.inference.gate import Gate
from speech_commands_kws.inference.locate import STREAMING_FILE
from speech_commands_kws.inference.released import released_model
from speech_commands_kws.inference.streaming import ModelStream, StreamingModel

__all__ = ["KeywordListener"]

CALL_MS = 100  # sound that is scored at once: more of it costs less time, and answers later


class KeywordListener:
    """Listens to one stream: called with its sound, chunk by chunk, it returns the keywords that were decided in it.

    The events do not depend on how the sound is cut into chunks. Streams are independent of each other: each has a
    listener of its own, and listeners may share a model.

    Args:
        model: the exported file, model.streaming.onnx, or a `StreamingModel` that another listener uses too; None
            takes the one that came with the package.
        sample_rate: of the chunks (Hz); None: the model's own. Any other rate is converted.
        thresholds: from which probability on a keyword counts: one for all, or one for each; None: those in the file.
        call_ms: sound that is scored at once (milliseconds); a server has its own.
        gate: decides of each call whether the model hears it, such as an `EnergyGate` of this listener alone; for the
            detector there is no keyword where it is closed. None: it hears all.

    Attributes:
        labels: what the model knows.
        scores (np.ndarray): probabilities (K,) of the labels in the frame that was scored last.
        rows (list[np.ndarray]): those of all frames that the last chunk completed, each (F, K).

    Raises:
        KwsError: the file is no streaming model, none came with the package, or a value is out of its range.
    """

    def __init__(
        self,
        model: str | Path | StreamingModel | None = None,
        sample_rate: int | None = None,
        thresholds: float | Mapping[str, float] | None = None,
        call_ms: float = CALL_MS,
        gate: Gate | None = None,
    ) -> None:
        model = released_model(STREAMING_FILE) if model is None else model
        self.model = model if isinstance(model, StreamingModel) else StreamingModel(model)
        info = self.model.info
        self.labels = info.labels
        self.sample_rate = info.sample_rate if sample_rate is None else sample_rate
        check_whole(sample_rate=self.sample_rate)
        check_positive(call_ms=call_ms)
        call_samples = self.model.frames_in(call_ms) * self.model.hop_samples
        self.call_samples = self.model.call_samples or call_samples
        settings = detector_settings(info.detector, thresholds, self.model.model)
        self.gate = gate
        self.detector = Detector.from_settings(info.labels, self.model.frame_ms, settings)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self.detector.reset()
        self.stream = ModelStream(self.model, self.gate)
        self.pending = np.zeros(0, np.float32)
        self.scores = np.zeros(len(self.labels), np.float32)
        self.rows: list[np.ndarray] = []
        self.samples = 0
        self.convert = resampler(self.sample_rate, self.model.info.sample_rate)

    @property
    def seconds(self) -> float:
        """Sound heard so far."""
        return self.samples / self.model.info.sample_rate

    def __call__(self, chunk: np.ndarray) -> list[Event]:
        """Hear a chunk of any length, (T,) or (T, C); floats within ±1 or int16.

        Returns:
            the events that were decided in it, their times from the beginning of the stream.

        Raises:
            KwsError: it holds something else.
        """
        return self._hear(mono(chunk), is_last=False)

    def finish(self) -> list[Event]:
        """The events in what has not been scored yet, at the end of a stream; then a new one begins."""
        events = self._hear(np.zeros(0, np.float32), is_last=True) + self.detector.finish()
        self.reset()
        return events

    async def listen(self, chunks: AsyncIterable[np.ndarray]) -> AsyncIterator[Event]:
        """The events of asynchronous chunks; a chunk is scored in a thread, so that nothing else waits for it."""
        async for chunk in chunks:
            for event in await asyncio.to_thread(self, chunk):
                yield event
        for event in await asyncio.to_thread(self.finish):
            yield event

    def _hear(self, waveform: np.ndarray, is_last: bool) -> list[Event]:
        waveform = self.convert(waveform, last=is_last)
        sound = np.concatenate([self.pending, waveform]) if len(self.pending) else waveform
        events: list[Event] = []
        self.rows = []
        start = 0
        while len(sound) - start >= self.call_samples:
            events += self._score(sound[start : start + self.call_samples])
            start += self.call_samples
        self.pending = sound[start:].copy()  # the caller may write into its chunk
        if is_last:
            whole = len(self.pending) // self.model.hop_samples * self.model.hop_samples
            if whole:
                events += self._score(self.pending[:whole])
        return events

    def _score(self, sound: np.ndarray) -> list[Event]:
        rows = self.stream(sound)
        self.samples += len(sound)
        self.scores = rows[-1]
        self.rows.append(rows)
        return self.detector(rows)


def mono(chunk: np.ndarray) -> np.ndarray:
    """A chunk as float32 (T,), the mean of its channels."""
    chunk = np.asarray(chunk)
    if chunk.dtype == np.int16:
        samples = chunk.astype(np.float32) / INT16_SCALE
    elif np.issubdtype(chunk.dtype, np.floating):
        samples = chunk.astype(np.float32, copy=False)
    else:
        raise KwsError(f"expected floats within ±1 or int16 samples, got {chunk.dtype}")
    if samples.ndim not in (1, 2):
        raise KwsError(f"expected a chunk (samples,) or (samples, channels), got {chunk.shape}")
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def detector_settings(
    saved: Mapping[str, Any], thresholds: float | Mapping[str, float] | None, model: str | Path
) -> dict[str, Any]:
    """The settings in the model file with other thresholds."""
    if not saved:
        raise KwsError(f"{model} says nothing about its detector: export it again")
    settings = dict(saved)
    if isinstance(thresholds, Mapping):
        settings["thresholds"] = {**saved["thresholds"], **thresholds}
    elif thresholds is not None:
        settings["thresholds"] = dict.fromkeys(saved["thresholds"], thresholds)
    return settings
