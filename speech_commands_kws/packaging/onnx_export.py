"""From a trained module to one ONNX file: waveform in, probabilities and logits out.

Legend: B batch, T samples, K keywords.
"""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from speech_commands_kws.errors import check_whole
from speech_commands_kws.inference.model_info import (
    INPUT,
    LOGITS,
    NEXT_STATE,
    PROBABILITIES,
    STATE,
    ModelInfo,
)
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.graph import inference_graph
from speech_commands_kws.packaging.streaming_graph import StreamingGraph

# It warns at every export that torchvision, of which nothing here has use, is not installed.
EXPORTERS_LOG = "torch.onnx._internal.exporter._registration"
EXAMPLE_BATCH = 2  # of 1 the exporter would take the batch for a constant
EXAMPLE_FRAMES = 10
MOST_FRAMES = 2**20
OLDEST_OPSET = 18  # that the exporter writes


class SpotterGraph(nn.Module):
    """What the file computes. Shape: (B, T) to probabilities (B, K) and logits (B, K)."""

    def __init__(self, spotter: nn.Module):
        super().__init__()
        self.spotter = spotter

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.spotter(waveform)
        return logits.softmax(dim=1), logits


def write_onnx(spotter: SpotterModule, info: ModelInfo, opset: int | None, path: Path) -> None:
    """Write the module, in evaluation mode, with a batch of any size and the metadata that running it needs.

    `opset` None is the exporter's own.
    """
    batch = torch.export.Dim.DYNAMIC
    model = export_program(
        SpotterGraph(inference_graph(spotter)),
        {INPUT: torch.zeros(EXAMPLE_BATCH, info.clip_samples)},
        {INPUT: {0: batch}},
        [PROBABILITIES, LOGITS],
        opset,
    )
    save_model(model, info, path)


def write_streaming_onnx(
    spotter: SpotterModule, info: ModelInfo, opset: int | None, path: Path
) -> ModelInfo:
    """Write the form of a streaming module that takes a few frames of sound and the state of the stream.

    Returns:
        what the file says about itself.
    """
    graph = StreamingGraph(spotter)
    hop = spotter.frontend.hop_samples
    frames, batch = torch.export.Dim("frames", max=MOST_FRAMES), torch.export.Dim.DYNAMIC
    model = export_program(
        graph,
        {
            INPUT: torch.zeros(EXAMPLE_BATCH, EXAMPLE_FRAMES * hop),
            STATE: torch.zeros(EXAMPLE_BATCH, *graph.state_shape),
        },
        {INPUT: {0: batch, 1: hop * frames}, STATE: {0: batch}},
        [PROBABILITIES, LOGITS, NEXT_STATE],
        opset,
    )
    streaming = {
        "hop_samples": hop,
        "state_shape": list(graph.state_shape),
        "memory_frames": graph.memory_frames,
        "mean_frames": graph.mean_frames,
    }
    info = replace(info, streaming=streaming)
    save_model(model, info, path)
    return info


def export_program(
    module: nn.Module,
    inputs: dict[str, Tensor],
    dynamic_shapes: dict[str, Any],
    outputs: list[str],
    opset: int | None,
) -> onnx.ModelProto:
    check_opset(opset)
    logging.getLogger(EXPORTERS_LOG).setLevel(logging.ERROR)
    # Of weights in the order that trains fastest, the exporter makes a graph with more operators.
    module = module.eval().to(memory_format=torch.contiguous_format)
    return torch.onnx.export(
        module,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=dynamic_shapes,
        opset_version=opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    ).model_proto


def save_model(model: onnx.ModelProto, info: ModelInfo, path: Path) -> None:
    # Of the format the oldest that has these operators, so that old engines read it; the exporter writes a newer one.
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    settle_shapes(model.graph)
    forget_origin(model)
    onnx.helper.set_model_props(model, info.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def check_opset(opset: int | None) -> None:
    """Raises SettingError for one that the exporter does not write."""
    if opset is not None:
        check_whole(OLDEST_OPSET, onnx.defs.onnx_opset_version(), opset=opset)


def settle_shapes(graph: onnx.GraphProto) -> None:
    """Replace the shapes that the exporter computes, out of the batch and the frames, node by node, by constants.

    All arrays that are reshaped begin with the batch, which stays (0), and one more size is left to follow (-1).
    """
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        shape = makers.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.op_type != "Concat":
            continue
        sizes = [int(constants.get(name, [-1])[0]) for name in shape.input]
        sizes[0] = max(sizes[0], 0)
        if sizes.count(-1) > 1:
            continue
        name = f"{node.output[0]}_shape"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes), name))
        node.input[1] = name
        del node.attribute[:]  # else 0 would be a size
    drop_unused(graph)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Leave out what no output depends on."""
    used = {value.name for value in graph.output}
    needed = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            needed.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(needed))
    graph.initializer.extend(tensors)


def forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes about each node: lines of source code, with folders of this machine."""
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def operator_counts(path: Path) -> dict[str, int]:
    """How often each operator occurs in the graph of a file, the most frequent first."""
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_metadata(info: ModelInfo, path: Path) -> None:
    """Replace the metadata of a file."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, info.to_metadata())
    onnx.save(model, path)
