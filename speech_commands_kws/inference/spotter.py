"""The public way to use a trained model: a model file and some sound in, keywords out.

    from speech_commands_kws import KeywordSpotter
    spotter = KeywordSpotter("model.onnx")  # or KeywordSpotter(), with the model of a release
    print(spotter("clip.wav"))

Shapes: `B` batch, `T` samples, `K` keywords, `C` channels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from speech_commands_kws.audio.reading import cut_windows, mono_waveform, resample, stream_audio
from speech_commands_kws.errors import KwsError, check_number, check_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import MODEL_FILE
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.released import released_model

__all__ = ["KeywordSpotter", "Prediction", "Keyword", "Backend"]

HOPS_PER_CLIP = 4  # where neither the caller nor the model's file names a step
TOP_K = 3
BATCH_SIZE = 32


class Backend(Protocol):
    """An engine that runs one model file."""

    info: ModelInfo

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and logits, both `(B, K)`, of float32 waveforms `(B, T)`."""


@dataclass(frozen=True)
class Keyword:
    """A keyword and how probable the model finds it.

    Attributes:
        label: the keyword.
        probability: from 0 to 1.
    """

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one window of sound.

    Attributes:
        start_seconds: where the window begins in the recording.
        end_seconds: where it ends (in a short recording, which is padded, after the end of the
            sound).
        keywords: the most probable ones, the best first.
    """

    start_seconds: float
    end_seconds: float
    keywords: tuple[Keyword, ...]

    @property
    def label(self) -> str:
        """The most probable keyword."""
        return self.keywords[0].label

    @property
    def probability(self) -> float:
        """How probable it is, 0 to 1."""
        return self.keywords[0].probability


class KeywordSpotter:
    """Names the keywords in sound with a trained model.

    Args:
        model: the exported model file; None takes the one that came with the package.
        backend: makes the engine that runs the file; onnxruntime on the CPU by default.
        hop_seconds: step between the windows of a recording longer than the model's clip; None takes
            the one that the file names, or else a quarter of the clip.
        top_k: how many keywords a prediction names.
        batch_size: windows scored at once.

    Attributes:
        labels: every keyword the model knows, `_silence_` and `_unknown_` among them.
        sample_rate: Hz, of the waveforms the model takes; any other rate is converted.
        clip_samples: their length.

    Raises:
        KwsError: the file is not a keyword spotter, no model came with the package, or a number is out of range.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        backend: Callable[[str | Path], Backend] = OnnxBackend,
        hop_seconds: float | None = None,
        top_k: int = TOP_K,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        check_whole(top_k=top_k, batch_size=batch_size)
        model = released_model(MODEL_FILE) if model is None else model
        self.model = Path(model)
        self.backend = backend(model)
        if self.backend.info.streaming:
            raise KwsError(
                f"{model} listens to a stream: use KeywordListener, `kws listen` or `kws infer` without windows=true, "
                "or give the model.onnx beside it"
            )
        self.labels = self.backend.info.labels
        self.sample_rate = self.backend.info.sample_rate
        self.clip_samples = self.backend.info.clip_samples
        clip_seconds = self.clip_samples / self.sample_rate
        if hop_seconds is None:
            quarter = clip_seconds / HOPS_PER_CLIP
            hop_seconds = self.backend.info.detection.get("hop_seconds", quarter)
        check_number(1 / self.sample_rate, clip_seconds, hop_seconds=hop_seconds)
        self.hop_seconds = hop_seconds
        self.hop_samples = round(hop_seconds * self.sample_rate)
        self.top_k = min(top_k, len(self.labels))
        self.batch_size = batch_size

    def __call__(
        self, audio: str | Path | BinaryIO | np.ndarray, sample_rate: int | None = None
    ) -> list[Prediction]:
        """Answer for a whole recording: one prediction for a short one, one a window for a longer
        one.

        Args:
            audio: a file name, an open binary file, or samples `(T,)` or `(T, C)`: floats within ±1
                or integers (int16, int32, uint8).
            sample_rate: of samples in memory, Hz; the model's own rate if left out. Files carry
                theirs.

        Raises:
            AudioError: the sound cannot be used, with the reason.
        """
        return list(self.stream(audio, sample_rate))

    def stream(
        self, audio: str | Path | BinaryIO | np.ndarray, sample_rate: int | None = None
    ) -> Iterator[Prediction]:
        """The same, one prediction after the other, in flat memory."""
        for windows in batched(self.windows(audio, sample_rate), self.batch_size):
            yield from self.predict(windows)

    def windows(
        self, audio: str | Path | BinaryIO | np.ndarray, sample_rate: int | None = None
    ) -> Iterator[tuple[float, np.ndarray]]:
        """What the model takes of a recording: `(start in seconds, waveform (T,))`."""
        if isinstance(audio, (str, Path)) or (
            not isinstance(audio, np.ndarray) and hasattr(audio, "read")
        ):
            if sample_rate is not None:
                raise KwsError(
                    "sample_rate is for samples in memory, a file carries its own: leave it out"
                )
            blocks = stream_audio(audio, self.sample_rate)
        else:
            rate = self.sample_rate if sample_rate is None else sample_rate
            waveform = resample(mono_waveform(np.asarray(audio), rate), rate, self.sample_rate)
            blocks = iter([waveform])
        for start, window in cut_windows(blocks, self.clip_samples, self.hop_samples):
            yield start / self.sample_rate, window

    def predict(self, windows: Sequence[tuple[float, np.ndarray]]) -> list[Prediction]:
        """Score windows made by `windows`, of one recording or several, as one batch."""
        rows = self.score(np.stack([waveform for _, waveform in windows]))
        return [self.prediction(start, row) for (start, _), row in zip(windows, rows)]

    def prediction(self, start: float, probabilities: np.ndarray) -> Prediction:
        """What the probabilities (K,) of a window say that begins at `start` (seconds)."""
        best = np.argsort(-probabilities, kind="stable")[: self.top_k]
        keywords = tuple(Keyword(self.labels[i], float(probabilities[i])) for i in best)
        return Prediction(start, start + self.clip_samples / self.sample_rate, keywords)

    def score(self, waveforms: np.ndarray) -> np.ndarray:
        """Probabilities `(B, K)` of float32 waveforms `(B, T)`, columns in the order of `labels`.

        Raises:
            KwsError: the model gives no finite numbers.
        """
        probabilities, _ = self.backend(waveforms)
        if not np.isfinite(probabilities).all():
            raise KwsError(
                f"{self.model} gives NaN for a sound whose samples are finite: train and export it again"
            )
        return probabilities


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive lists of `size` items, the last one shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
