"""From a trained module to one ONNX file: waveform in, probabilities and logits out.

Legend: B batch, T samples, K keywords.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES, ArtefactInfo
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.graph import inference_graph

REAL = "real clips"
# It warns at every export that torchvision, of which nothing here has use, is not installed.
EXPORTERS_LOG = "torch.onnx._internal.exporter._registration"
EXAMPLE_BATCH = 2  # of 1 the exporter would take the batch for a constant


class SpotterGraph(nn.Module):
    """What the file computes. Shape: (B, T) to probabilities (B, K) and logits (B, K)."""

    def __init__(self, spotter: nn.Module):
        super().__init__()
        self.spotter = spotter

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.spotter(waveform)
        return logits.softmax(dim=1), logits


def write_onnx(spotter: SpotterModule, info: ArtefactInfo, opset: int | None, path: Path) -> None:
    """Write the module, in evaluation mode, with a batch of any size and the metadata that running it needs.

    `opset` None is the exporter's own.
    """
    logging.getLogger(EXPORTERS_LOG).setLevel(logging.ERROR)
    batch = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        SpotterGraph(inference_graph(spotter)).eval(),
        (torch.zeros(EXAMPLE_BATCH, info.clip_samples),),
        input_names=[INPUT],
        output_names=[PROBABILITIES, LOGITS],
        dynamic_shapes={"waveform": {0: batch}},
        opset_version=opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = program.model_proto
    written = next(entry.version for entry in model.opset_import if not entry.domain)
    if opset not in (None, written):  # it only logs that it writes another one
        raise KwsError(f"the exporter writes opset {written}, not opset={opset}: give that one")
    forget_origin(model)
    onnx.helper.set_model_props(model, info.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes about each node: lines of source code, with folders of this machine."""
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def write_metadata(info: ArtefactInfo, path: Path) -> None:
    """Replace the metadata of a file."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, info.to_metadata())
    onnx.save(model, path)


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


def trial_waveforms(clips: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The kinds of sound that an export is tested on, given (n, T) real clips."""
    generator = np.random.default_rng(seed)
    noise = generator.uniform(-1, 1, clips.shape).astype(np.float32)
    return {
        REAL: clips,
        "silence": np.zeros_like(clips),
        "clipping": np.sign(noise),
        "noise": noise * generator.uniform(0, 1, (len(clips), 1)).astype(np.float32),
    }
