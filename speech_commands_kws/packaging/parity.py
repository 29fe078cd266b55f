"""Whether two engines answer alike, such as an exported file and the trained module.

Legend: B batch, T samples, K keywords.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.batches import in_batches
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import SpotterGraph

Answers = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

REAL = "real clips"


@dataclass(frozen=True)
class Agreement:
    """How closely two engines agree.

    Attributes:
        difference: the largest, of probabilities and logits.
        same_keyword: share of the clips that both hear the same in, the lowest of all kinds of sound.
        kind: the kind with that share.
    """

    difference: float
    same_keyword: float
    kind: str


def compare(
    expected: Answers,
    answers: Answers,
    waveforms: Mapping[str, np.ndarray],
    batch_sizes: Sequence[int],
) -> Agreement:
    """Run two engines on the same clips and compare their outputs.

    Args:
        expected, answers: waveforms (B, T) to probabilities and logits, both (B, K).
        waveforms: float32 (n, T) by kind, such as clips, silence and noise.
        batch_sizes: each kind is asked about in batches of each of these sizes.
    """
    largest, lowest = 0.0, Agreement(0.0, 1.0, "all kinds of sound")
    for kind, samples in waveforms.items():
        for size in batch_sizes:
            batch = np.resize(samples, (max(size, len(samples)), samples.shape[1]))
            wanted = expected(batch)
            given = in_batches(answers, batch, size)
            # np.maximum propagates NaN.
            gaps = [np.abs(one - other).max() for one, other in zip(wanted, given, strict=True)]
            largest = float(np.maximum(largest, np.max(gaps)))
            is_same = wanted[1].argmax(1) == given[1].argmax(1)
            same = float((is_same & np.isfinite(given[1]).all(1)).mean())
            if same < lowest.same_keyword:
                lowest = Agreement(0.0, same, kind)
    return Agreement(largest, lowest.same_keyword, lowest.kind)


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
    graph, backend = SpotterGraph(spotter).eval(), OnnxBackend(path)

    def module(waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            probabilities, logits = graph(torch.from_numpy(waveforms))
        return probabilities.numpy(), logits.numpy()

    largest = 0.0
    for kind, samples in waveforms.items():
        difference = compare(module, backend, {kind: samples}, batch_sizes).difference
        if not difference <= tolerance:
            raise KwsError(
                f"expected onnxruntime and torch to agree to {tolerance:g}, they differ by {difference:g} on "
                f"{kind}: nothing was exported; please report this with the run's config.yaml"
            )
        largest = max(largest, difference)
    return largest


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
