"""Quantised variants of an exported model.

The front-end stays in 32 bits: the dynamic range of power spectra exceeds 16 bits, and all that follows rests on them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
from onnx import TensorProto

from speech_commands_kws.errors import check_flag, check_whole
from speech_commands_kws.inference.backends.onnx import import_onnxruntime
from speech_commands_kws.inference.model_info import INPUT, LOGITS
from speech_commands_kws.packaging.parity import VariantGate

# The last step of the front-end.
LOGARITHM = "Log"
HALF = "_half"  # what names of tensors in half precision end with
CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class Int8:
    """Weights and activations in 8 bits, by static quantisation (QDQ), weights of each output channel by themselves.

    Attributes:
        gate: of the result.
        calibration_clips: how many clips of the training split show the ranges of activations, besides some silence,
            clipping and noise.
        symmetric: zero points of 0 and biases in single precision, which TensorRT asks for and ONNX Runtime computes
            more slowly.
        operators: which operators of the network are quantised.
        grouped: grouped convolutions too, the depthwise ones among them.
    """

    gate: VariantGate
    calibration_clips: int
    symmetric: bool
    operators: Sequence[str]
    grouped: bool
    name: ClassVar[str] = "int8"

    def __post_init__(self) -> None:
        check_whole(calibration_clips=self.calibration_clips)
        check_flag(symmetric=self.symmetric, grouped=self.grouped)

    def convert(self, source: Path, target: Path, waveforms: np.ndarray) -> None:
        """Write the variant of `source`, calibrated on waveforms (n, T)."""
        starts = range(0, len(waveforms), CALIBRATION_BATCH)
        calls = ({INPUT: waveforms[i : i + CALIBRATION_BATCH]} for i in starts)
        self.convert_by_calls(onnx.load(source), target, calls)

    def convert_by_calls(
        self, model: onnx.ModelProto, target: Path, calls: Iterator[dict[str, np.ndarray]]
    ) -> None:
        """Write the variant of `model`, calibrated on what it is called with, arrays by the names of its inputs."""
        import_onnxruntime()
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        class Calls(CalibrationDataReader):
            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(calls, None)

        left_out = front_end_nodes(model)
        if not self.grouped:
            left_out += grouped_convolutions(model)
        # It need not be prepared with onnxruntime's tool, as a warning would ask: the exporter has folded constants.
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
        quantize_static(
            model,
            target,
            Calls(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(self.operators),
            per_channel=True,
            activation_type=QuantType.QInt8 if self.symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=left_out,
            extra_options={
                "ActivationSymmetric": self.symmetric,
                "QuantizeBias": not self.symmetric,
            },
        )


@dataclass(frozen=True)
class Fp16:
    """Weights and activations of the network in half precision; waveform and scores stay in single precision."""

    gate: VariantGate
    name: ClassVar[str] = "fp16"
    calibration_clips: ClassVar[int] = 0

    def convert(self, source: Path, target: Path, waveforms: np.ndarray) -> None:
        """Write the variant of `source`; needs no waveforms."""
        model = onnx.load(source)
        nodes = model.graph.node
        end = len(front_end_nodes(model))
        network = nodes[end:-1]  # the softmax is the last
        features = nodes[end - 1].output[0]
        halved = {features, *halve_constants(model, nodes[:end], network)}
        for node in network:
            node.input[:] = [f"{name}{HALF}" if name in halved else name for name in node.input]
            node.output[:] = [f"{name}{HALF}" if name == LOGITS else name for name in node.output]
        nodes.insert(len(nodes) - 1, cast(f"{LOGITS}{HALF}", LOGITS, TensorProto.FLOAT))
        nodes.insert(end, cast(features, f"{features}{HALF}", TensorProto.FLOAT16))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, target)


def halve_constants(
    model: onnx.ModelProto, front_end: Sequence[onnx.NodeProto], network: Sequence[onnx.NodeProto]
) -> set[str]:
    """Names of the network's weights, given in half precision; those of the front-end stay beside them."""
    used = {name for node in network for name in node.input}
    kept = {name for node in front_end for name in node.input}
    halved = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in used and tensor.data_type == TensorProto.FLOAT
    ]
    for tensor in halved:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{tensor.name}{HALF}"))
        if tensor.name not in kept:
            model.graph.initializer.remove(tensor)
    return {tensor.name for tensor in halved}


def cast(source: str, target: str, element_type: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"cast_{source}", to=element_type)


def front_end_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes up to the logarithm of the mel energies, in the order in which the exporter writes them."""
    operators = [node.op_type for node in model.graph.node]
    return [node.name for node in model.graph.node[: operators.index(LOGARITHM) + 1]]


def grouped_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions of which an output channel does not see every channel."""
    return [
        node.name
        for node in model.graph.node
        if any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]
