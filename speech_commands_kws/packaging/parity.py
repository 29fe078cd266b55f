"""Whether two engines answer alike, such as an exported file and the trained module.

Legend: B batch, T samples, K keywords.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from speech_commands_kws.errors import KwsError, check_number
from speech_commands_kws.inference.backends.batches import in_batches
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import SpotterGraph

Answers = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

REAL = "real clips"
PIECES = (1, 10, 3, 16, 39)  # frames of the calls by which a stream is compared


class Agreement(NamedTuple):
    """How closely two engines agree on one kind of sound.

    Attributes:
        difference: the largest, of probabilities and logits.
        same_keyword: share of the clips that both hear the same in.
    """

    difference: float
    same_keyword: float


@dataclass(frozen=True)
class VariantGate:
    """How closely a variant, such as one in 8 bits or a TensorRT plan, must match its ONNX file, or it is not kept.

    Attributes:
        accuracy_loss: most accuracy that it may lose on the validation clips.
        agreement: least share of the validation clips with the same prediction.
        probe_agreement: the same of each kind of trial sound, such as silence, clipping and noise.
        difference: largest of probabilities and logits; None where it calculates in fewer bits.
    """

    accuracy_loss: float
    agreement: float
    probe_agreement: float
    difference: float | None = None

    def __post_init__(self) -> None:
        check_number(0, 1, accuracy_loss=self.accuracy_loss, agreement=self.agreement)
        check_number(0, 1, probe_agreement=self.probe_agreement)
        if self.difference is not None:
            check_number(0, difference=self.difference)

    def objections(
        self, accuracy_loss: float, agreement: float, probes: Mapping[str, Agreement]
    ) -> str:
        """Why a variant is not kept, in a line; nothing where it is.

        Args:
            agreement: share of the validation clips with the same prediction.
            probes: by kind of trial sound.
        """
        # Not >: NaN must not pass either.
        found = []
        if not accuracy_loss <= self.accuracy_loss:
            found.append(
                f"it loses {accuracy_loss:.2%} of accuracy, {self.accuracy_loss:.2%} are allowed"
            )
        shares = {"validation clips": (agreement, self.agreement)}
        shares |= {kind: (one.same_keyword, self.probe_agreement) for kind, one in probes.items()}
        for kind, (share, least) in shares.items():
            if not share >= least:
                found.append(f"it agrees on {share:.1%} of {kind}, {least:.1%} are expected")
        difference = largest_difference(probes)
        if self.difference is not None and not difference <= self.difference:
            found.append(f"its outputs differ by {difference:.1e}, not {self.difference:g}")
        return "; ".join(found)


def compare(
    expected: Answers,
    answers: Answers,
    waveforms: Mapping[str, np.ndarray],
    batch_sizes: Sequence[int],
) -> dict[str, Agreement]:
    """Run two engines on the same clips and compare their outputs, for each kind of sound.

    Args:
        expected, answers: waveforms (B, T) to probabilities and logits, both (B, K).
        waveforms: float32 (n, T) by kind, such as clips, silence and noise.
        batch_sizes: each kind is asked about in batches of each of these sizes.
    """
    found = {}
    for kind, samples in waveforms.items():
        differences, shares = [], []
        for size in batch_sizes:
            batch = np.resize(samples, (max(size, len(samples)), samples.shape[1]))
            wanted = expected(batch)
            given = in_batches(answers, batch, size)
            differences += [np.abs(one - other).max() for one, other in zip(wanted, given)]
            is_same = wanted[1].argmax(1) == given[1].argmax(1)
            shares.append((is_same & np.isfinite(given[1]).all(1)).mean())
        found[kind] = Agreement(float(np.max(differences)), float(np.min(shares)))
    return found


def largest_difference(found: Mapping[str, Agreement]) -> float:
    return float(np.max([agreement.difference for agreement in found.values()]))


def check_parity(
    spotter: SpotterModule,
    path: Path,
    waveforms: Mapping[str, np.ndarray],
    batch_sizes: Sequence[int],
    tolerance: float,
) -> float:
    """Largest difference between the file run by onnxruntime and the module run by torch.

    Args:
        waveforms, batch_sizes: as `compare` takes them.
        tolerance: largest difference allowed, of probabilities and of logits.

    Raises:
        KwsError: a difference above the tolerance, or an answer that is not finite.
    """
    graph = SpotterGraph(spotter).eval()

    def module(waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            probabilities, logits = graph(torch.from_numpy(waveforms))
        return probabilities.numpy(), logits.numpy()

    found = compare(module, OnnxBackend(path), waveforms, batch_sizes)
    for kind, (difference, _) in found.items():
        check_difference(difference, tolerance, kind)
    return largest_difference(found)


def check_streaming_parity(
    spotter: SpotterModule, path: Path, waveforms: Mapping[str, np.ndarray], tolerance: float
) -> float:
    """Largest difference of probabilities between a streaming file, called piece by piece, and the module run at once.

    Args:
        waveforms: float32 (n, T) by kind; the clips of a kind are one stream.

    Raises:
        KwsError: a difference above the tolerance, or an answer that is not finite.
    """
    model = StreamingModel(path)
    differences = []
    for kind, clips in waveforms.items():
        stream = clips.reshape(-1)
        stream = stream[: len(stream) // model.hop_samples * model.hop_samples]
        with torch.inference_mode():
            logits = spotter.backbone.stream(spotter.frontend(torch.from_numpy(stream[np.newaxis])))
            expected = logits.softmax(dim=1).numpy()[0].T
        given = model.rows(stream, cycle(PIECES))
        differences.append(float(np.abs(expected - given).max()))
        check_difference(differences[-1], tolerance, kind)
    return max(differences)


def check_difference(difference: float, tolerance: float, kind: str) -> None:
    if not difference <= tolerance:
        raise KwsError(
            f"expected onnxruntime and torch to agree to {tolerance:g}, they differ by {difference:g} on "
            f"{kind}: nothing was exported; please report this with the run's config.yaml"
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
