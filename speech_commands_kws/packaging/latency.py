"""Time that a model takes for one clip."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from speech_commands_kws.errors import check_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import MODEL_FILE
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import write_onnx


def median_latency_ms(
    backend: Callable[[np.ndarray], Any], waveform: np.ndarray, repeats: int, warm_up: int
) -> float:
    """Median of `repeats` calls with the same clip (1, T), after `warm_up` others; milliseconds."""
    check_whole(repeats=repeats)
    check_whole(0, warm_up=warm_up)
    durations = []
    for _ in range(warm_up + repeats):
        began = perf_counter()
        backend(waveform)
        durations.append(perf_counter() - began)
    return 1000 * median(durations[warm_up:])


def onnx_latency_ms(spotter: SpotterModule, info: ModelInfo, repeats: int, warm_up: int) -> float:
    """The same of a spotter that is not exported yet, run by onnxruntime on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        write_onnx(spotter, info, None, path)
        silence = np.zeros((1, info.clip_samples), np.float32)
        return median_latency_ms(OnnxBackend(path), silence, repeats, warm_up)
