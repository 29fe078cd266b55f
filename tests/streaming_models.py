"""A streaming spotter that looks as if it were trained, and its exported file."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from trained_looking import INFO, LABELS, OPSET, SAMPLE_RATE, trained_looking

from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.models.streaming import StreamingBCResNet
from speech_commands_kws.packaging.onnx_export import write_streaming_onnx

DETECTOR = {
    "thresholds": {"yes": 0.5, "no": 0.5},
    "hysteresis": 0.15,
    "minimum_ms": 30,
    "settle_ms": 80,
    "refractory_ms": 700,
    "warm_up_ms": 300,
}
STREAMING_INFO: ModelInfo = replace(INFO, detector=DETECTOR)
HOP_SAMPLES = 160
SECONDS = 6


@cache
def streaming_spotter(kernel: int = 3) -> SpotterModule:
    torch.manual_seed(0)
    blocks = ([2, 2, 4, 4], [1, 2, 4, 8]) if kernel == 3 else ([1, 1, 2, 2], [1, 2, 4, 4])
    backbone = StreamingBCResNet(len(LABELS), 40, 1, 5, 0.1, *blocks, kernel, 33, False)
    spotter = trained_looking(backbone, causal=True)
    # Each label is the most probable one now and then.
    classifier = backbone.head[-1]
    with torch.no_grad():
        logits = backbone.stream(spotter.frontend(torch.from_numpy(lively_sound(SECONDS)[None])))
        classifier.weight *= 3 / logits.std(dim=2).mean()
        logits = backbone.stream(spotter.frontend(torch.from_numpy(lively_sound(SECONDS)[None])))
        classifier.bias -= logits.mean(dim=(0, 2))
    return spotter


def lively_sound(seconds: int, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Noise and tones that come and go, float32 (T,)."""
    time = np.arange(seconds * rate) / rate
    noise = np.random.default_rng(5).normal(0, 0.1, len(time)) * np.where(time % 2 < 1, 1, 1e-3)
    tones = 0.2 * np.sin(2 * np.pi * 600 * time) * (time % 3 < 1)
    return (noise + tones).clip(-1, 1).astype(np.float32)


class DrawnGate:
    """Open by chance."""

    def __init__(self, seed: int, open_share: float = 0.5):
        self.seed, self.open_share = seed, open_share

    def reset(self) -> None:
        self.generator = np.random.default_rng(self.seed)

    def __call__(self, sound: np.ndarray, seconds: float) -> bool:
        return bool(self.generator.random() < self.open_share)


def streaming_file(folder: Path, kernel: int = 3) -> Path:
    path = folder / "model.streaming.onnx"
    path.write_bytes(streaming_bytes(kernel))
    return path


@cache
def streaming_bytes(kernel: int) -> bytes:
    """Exported once, which takes seconds."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_streaming_onnx(streaming_spotter(kernel), STREAMING_INFO, OPSET, path)
        return path.read_bytes()
