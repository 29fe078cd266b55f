"""What TensorRT's ONNX parser would refuse of a graph, by its documentation."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

LIST = Path(__file__).resolve().parent / "onnx_tensorrt_operators.txt"
OPSETS = range(9, 25)
QUANTISING = ("QuantizeLinear", "DequantizeLinear")
# From opset 18 on the axes are an input, "must be an initializer".
REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceSum")


def supported_operators() -> set[str]:
    lines = LIST.read_text("utf-8").splitlines()
    return {name for line in lines if not line.startswith("#") for name in line.split()}


def complaints(model: onnx.ModelProto) -> Iterator[str]:
    """Operators and quantisation that are not in the documentation as supported."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = next(
                item.t for item in node.attribute if item.name == "value"
            )
    opsets = {item.domain: item.version for item in model.opset_import if item.domain == ""}
    if not set(opsets.values()) <= set(OPSETS):
        yield f"opset {opsets}"
    for node in model.graph.node:
        if node.op_type not in supported_operators() or node.domain:
            yield f"{node.op_type} is not supported"
        if node.op_type in REDUCTIONS and any(name not in constants for name in node.input[1:2]):
            yield f"{node.op_type} has axes that are no constant"
        if node.op_type in QUANTISING:
            yield from quantisation_complaints(node, constants)


def quantisation_complaints(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> Iterator[str]:
    """TensorRT quantises to signed 8 bits about zero, and takes no bias in 32 bits."""
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None or zero.data_type != TensorProto.INT8 or numpy_helper.to_array(zero).any():
        yield f"{node.op_type} has a zero point that is not 0 in int8"
    quantised = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    if quantised is not None and quantised.data_type != TensorProto.INT8:
        yield f"{node.op_type} of {TensorProto.DataType.Name(quantised.data_type)}"
