"""Whether an exported file answers as the trained module does."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import SpotterGraph

REAL = "real clips"


def check_parity(
    spotter: SpotterModule,
    path: Path,
    waveforms: Mapping[str, np.ndarray],
    batch_sizes: Sequence[int],
    tolerance: float,
) -> float:
    """Largest difference between the file run by onnxruntime and the module run by torch.

    Args:
        waveforms: float32 (n, T) by kind, such as clips, silence and noise.
        batch_sizes: each kind is asked about in batches of each of these sizes.
        tolerance: largest difference allowed, of probabilities and of logits.

    Raises:
        KwsError: a difference above the tolerance, or an answer that is not finite.
    """
    backend = OnnxBackend(path)
    largest = 0.0
    for kind, samples in waveforms.items():
        for size in batch_sizes:
            difference = _difference(spotter, backend, np.resize(samples, (size, samples.shape[1])))
            if not difference <= tolerance:
                raise KwsError(
                    f"expected onnxruntime and torch to agree to {tolerance:g}, they differ by {difference:g} on "
                    f"{kind} in batches of {size}: nothing was exported; please report this with the run's config.yaml"
                )
            largest = max(largest, difference)
    return largest


def _difference(spotter: SpotterModule, backend: OnnxBackend, waveform: np.ndarray) -> float:
    with torch.inference_mode():
        expected = SpotterGraph(spotter).eval()(torch.from_numpy(waveform))
    answers = backend(waveform)
    return max(
        float(np.abs(answer - wanted.numpy()).max())
        for answer, wanted in zip(answers, expected, strict=True)
    )


def probe_waveforms(clips: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The kinds of sound that an export is tested on, given (n, T) real clips."""
    generator = np.random.default_rng(seed)
    noise = generator.uniform(-1, 1, clips.shape).astype(np.float32)
    return {
        REAL: clips,
        "silence": np.zeros_like(clips),
        "clipping": np.sign(noise),
        "noise": noise * generator.uniform(0, 1, (len(clips), 1)).astype(np.float32),
    }
