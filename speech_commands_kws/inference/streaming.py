"""A streaming model run by onnxruntime: sound and a stream's state in, answers for each frame and the next state out.

Legend: B streams, n frames of a call, K keywords, R rows of the state, H frames that it keeps.
"""

from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError, check_whole, summarize_error
from speech_commands_kws.inference.backends.onnx import OnnxBackend, refusals
from speech_commands_kws.inference.detector import MS_PER_SECOND
from speech_commands_kws.inference.model_info import INPUT, NEXT_STATE, PROBABILITIES, STATE

CALL_FRAMES = 1000  # of a stream that is there as a whole


class StreamingModel:
    """A model file that goes on where a stream stopped.

    Args:
        model: the file that `kws export` writes for a streaming backbone, model.streaming.onnx.
        options: of `OnnxBackend`.

    Attributes:
        info: what the model says about itself.
        hop_samples: of a frame.

    Raises:
        KwsError: the file cannot be read, or answers for clips.
    """

    def __init__(self, model: str | Path, **options: Any) -> None:
        self.model = model
        backend = OnnxBackend(model, **options)
        self.session, self.info = backend.session, backend.info
        facts = self.info.streaming
        if not facts:
            raise KwsError(
                f"{model} answers for clips, it does not listen to a stream: give the model.streaming.onnx that "
                "`kws export` writes of a run with backbone=bc_resnet_streaming"
            )
        try:
            self.hop_samples, self.state_shape = facts["hop_samples"], tuple(facts["state_shape"])
            check_whole(hop_samples=self.hop_samples)
        except (KeyError, TypeError, ValueError) as error:
            raise KwsError(f"{model} has malformed metadata ({error}): export it again") from None
        self.frame_ms = MS_PER_SECOND * self.hop_samples / self.info.sample_rate

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
        try:
            probabilities, next_state = self.session.run(
                [PROBABILITIES, NEXT_STATE], {INPUT: waveform, STATE: state}
            )
        except refusals() as error:
            raise KwsError(
                f"the model {self.model} fails for sound {waveform.shape} with a state {state.shape} "
                f"({summarize_error(error)}): give whole frames of {self.hop_samples} samples and the state of "
                "the call before"
            ) from None
        return probabilities, next_state

    def rows(
        self, waveform: np.ndarray, call_frames: Iterable[int] = repeat(CALL_FRAMES)
    ) -> np.ndarray:
        """Probabilities (F, K) of a whole stream (T,), by calls of so many frames each."""
        state, parts, start = self.initial_state(), [], 0
        whole = len(waveform) // self.hop_samples * self.hop_samples
        for n_frames in call_frames:
            stop = min(start + n_frames * self.hop_samples, whole)
            probabilities, state = self(waveform[np.newaxis, start:stop], state)
            parts.append(probabilities[0])
            start = stop
            if start == whole:
                break
        return np.concatenate(parts)
