"""A streaming model, here or on a server: sound and a stream's state in, answers for each frame and the next state out.

Legend: B streams, n frames of a call, K keywords, R rows of the state, H frames that it keeps.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError, check_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.detector import MS_PER_SECOND
from speech_commands_kws.inference.gate import Gate

__all__ = ["StreamingModel", "ModelStream"]

CALL_FRAMES = 1000  # of a stream that is there as a whole


class StreamingModel:
    """A model file that goes on where a stream stopped.

    Args:
        model: the file that `kws export` writes for a streaming backbone, model.streaming.onnx, or what else `backend`
            takes.
        backend: the class of the engine, such as `partial(TritonBackend, url="127.0.0.1:8000")`.

    Attributes:
        info: what the model says about itself.
        hop_samples: of a frame.
        call_samples: of each call but the last of a stream; None: any whole number of frames.
        memory_frames: what lies further back does not matter to an answer.

    Raises:
        KwsError: the file cannot be read, or answers for clips.
    """

    def __init__(self, model: str | Path, backend: Callable[[Any], Any] = OnnxBackend) -> None:
        self.model = model
        self.backend = backend(model)
        self.info, self.call_samples = self.backend.info, self.backend.call_samples
        facts = self.info.streaming
        if not facts:
            raise KwsError(
                f"{model} answers for clips, it does not listen to a stream: give the model.streaming.onnx that "
                "`kws export` writes of a run with backbone=bc_resnet_streaming, or kws_stream of a server"
            )
        try:
            self.hop_samples, self.state_shape = facts["hop_samples"], tuple(facts["state_shape"])
            self.memory_frames = facts["memory_frames"]
            check_whole(hop_samples=self.hop_samples, memory_frames=self.memory_frames)
        except (KeyError, TypeError, ValueError) as error:
            raise KwsError(f"{model} has malformed metadata ({error}): export it again") from None
        self.frame_ms = MS_PER_SECOND * self.hop_samples / self.info.sample_rate

    def frames_in(self, milliseconds: float) -> int:
        """Whole frames, one at least."""
        return max(round(milliseconds / self.frame_ms), 1)

    def initial_state(self, streams: int = 1) -> np.ndarray:
        """The state (B, R, H) at the beginning of streams."""
        return np.zeros((streams, *self.state_shape), np.float32)

    def __call__(self, waveform: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers for the next sound of B streams.

        Args:
            waveform: float32 (B, n hop_samples).
            state: of the streams, (B, R, H), which the call before gave.

        Returns:
            probabilities (B, n, K) and the next state.
        """
        return self.backend.step(waveform, state)

    def rows(
        self,
        waveform: np.ndarray,
        call_frames: Iterable[int] = repeat(CALL_FRAMES),
        gate: Gate | None = None,
    ) -> np.ndarray:
        """Probabilities (F, K) of a whole stream (T,), by calls of so many frames each."""
        stream, parts, start = ModelStream(self, gate), [], 0
        whole = len(waveform) // self.hop_samples * self.hop_samples
        for n_frames in call_frames:
            stop = min(start + n_frames * self.hop_samples, whole)
            parts.append(stream(waveform[start:stop]))
            start = stop
            if start == whole:
                break
        return np.concatenate(parts)


class ModelStream:
    """One stream that a model hears, piece after piece, but for those for which a gate is closed.

    While it is closed, no more of the last sound is kept than the model remembers. When it opens, that is scored in the
    same call as the new piece, so that the answers are those without a gate from there on.

    Args:
        model: hears it.
        gate: of this stream alone; None: it is always open.
    """

    def __init__(self, model: StreamingModel, gate: Gate | None = None) -> None:
        self.model, self.gate = model, gate
        if gate:
            gate.reset()
        self.state = model.initial_state()
        self.passed: deque[np.ndarray] = deque()
        self.passed_samples = 0

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Probabilities (n, K) of the next piece (n hop_samples,); zeros where the gate is closed."""
        n_frames = len(sound) // self.model.hop_samples
        if self.gate and not self.gate(sound, n_frames * self.model.frame_ms / MS_PER_SECOND):
            self._pass(sound)
            return np.zeros((n_frames, len(self.model.info.labels)), np.float32)
        if self.passed:
            sound = np.concatenate([*self.passed, sound])
            self.passed.clear()
            self.passed_samples = 0
        probabilities, self.state = self.model(sound[np.newaxis], self.state)
        return probabilities[0, -n_frames:]

    def _pass(self, sound: np.ndarray) -> None:
        self.passed.append(sound.copy())  # its caller may write into it
        self.passed_samples += len(sound)
        remembered = self.model.memory_frames * self.model.hop_samples
        while self.passed_samples - len(self.passed[0]) >= remembered:
            self.passed_samples -= len(self.passed.popleft())
