"""A model file run by onnxruntime."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError, check_whole, summarize_error
from speech_commands_kws.inference.locate import MODEL_FILE
from speech_commands_kws.inference.model_info import (
    INPUT,
    LOGITS,
    NEXT_STATE,
    PROBABILITIES,
    STATE,
    ModelInfo,
)

__all__ = ["OnnxBackend"]

# At batch 1 a second thread only adds overhead.
INTRA_THREADS = 1
MOST_THREADS = 256  # onnxruntime takes a minute to start some thousands
PROVIDERS = ("CPUExecutionProvider",)
ERRORS_ONLY = 3
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


class OnnxBackend:
    """An exported keyword spotter in an onnxruntime session.

    Args:
        model: the ONNX file.
        intra_threads: threads inside one operator; 0 lets onnxruntime choose.
        providers: onnxruntime's execution providers, the preferred one first.

    Attributes:
        model: the file.
        info: what the model says about itself.
        session: the `onnxruntime.InferenceSession`.
        call_samples: of a stream, in each call of `step`; None: any whole number of frames.

    Raises:
        KwsError: the file cannot be read, is not ONNX, or is not one of our exports.
    """

    is_server = False
    suffix = ".onnx"
    call_samples = None

    def __init__(
        self,
        model: str | Path,
        intra_threads: int = INTRA_THREADS,
        providers: Sequence[str] = PROVIDERS,
    ) -> None:
        if isinstance(providers, str):
            raise KwsError(f"providers must be a list such as [{PROVIDERS[0]}], got {providers!r}")
        self.model = model
        self.session = open_session(Path(model), intra_threads, list(providers))
        self.info = ModelInfo.from_metadata(self.session.get_modelmeta().custom_metadata_map, model)

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips.

        Shape:
            - waveforms: float32 `(B, T)` with `T = info.clip_samples`
            - probabilities, logits: float32 `(B, K)`

        Raises:
            KwsError: the model does not take what its metadata tells.
        """
        try:
            return tuple(self.session.run([PROBABILITIES, LOGITS], {INPUT: waveforms}))
        except refusals() as error:
            raise KwsError(
                f"the model {self.model} fails for clips {waveforms.shape} ({summarize_error(error)}): "
                f"give a {MODEL_FILE} made by `kws export`"
            ) from None

    def step(self, waveform: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the next sound of streams; see `StreamingModel`.

        Raises:
            KwsError: the model does not take them.
        """
        try:
            return tuple(
                self.session.run([PROBABILITIES, NEXT_STATE], {INPUT: waveform, STATE: state})
            )
        except refusals() as error:
            raise KwsError(
                f"the model {self.model} fails for sound {waveform.shape} with a state {state.shape} "
                f"({summarize_error(error)}): give whole frames of {self.info.streaming['hop_samples']} samples and "
                "the state of the call before"
            ) from None


def import_onnxruntime() -> Any:
    """onnxruntime without its telemetry; imported inside a function, because other engines do not need it.

    Official builds from 1.29 on send events and keep a device id unless this is set before the library is loaded
    (Privacy.md of onnxruntime, "Disabling Telemetry"). A value that the environment already has stays.
    """
    os.environ.setdefault(NO_TELEMETRY, "1")
    import onnxruntime

    return onnxruntime


def refusals() -> tuple[type[Exception], ...]:
    """By what onnxruntime refuses a model or its input; nothing else that it raises has one class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as engine

    return (
        engine.EPFail,
        engine.Fail,
        engine.InvalidArgument,
        engine.InvalidGraph,
        engine.InvalidProtobuf,
        engine.NotImplemented,
        engine.RuntimeException,
    )


def open_session(model: Path, intra_threads: int, providers: list[str]) -> Any:
    """onnxruntime's session of a file.

    Raises:
        KwsError: it cannot run the model, or not on these providers.
    """
    onnxruntime = import_onnxruntime()
    check_whole(0, MOST_THREADS, intra_threads=intra_threads)
    available = onnxruntime.get_available_providers()
    if not set(providers) <= set(available):
        raise KwsError(
            f"onnxruntime here has no {', '.join(providers)}: choose from {', '.join(available)}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_threads
    options.log_severity_level = ERRORS_ONLY
    try:
        # The bytes rather than the name: Python's own errors are clearer, and any file name works.
        return onnxruntime.InferenceSession(model.read_bytes(), options, providers=providers)
    except OSError as error:
        raise KwsError(f"{model} cannot be opened: {error.strerror}") from None
    except refusals() as error:
        raise KwsError(
            f"{model} is not an ONNX model that onnxruntime can run ({summarize_error(error)}): "
            f"give a {MODEL_FILE} made by `kws export`"
        ) from None
