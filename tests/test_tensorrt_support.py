"""The check of exported graphs against what TensorRT's ONNX parser supports can fail; test_onnx_export.py uses it."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tensorrt_support import complaints, supported_operators


def test_the_list_is_that_of_the_documentation() -> None:
    names = supported_operators()
    assert {"Conv", "QuantizeLinear", "Cast", "STFT", "Xor", "Abs"} < names
    assert not names & {"DFT", "ConvInteger", "QLinearConv", "DynamicQuantizeLinear"}


def test_casts_to_fp16_are_supported_and_complex_operators_seen() -> None:
    axes = numpy_helper.from_array(np.array([1]), "axes")
    nodes = [
        helper.make_node("Cast", ["waveform"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("ReduceMean", ["half", "axes"], ["mean"]),
    ]
    graph = helper.make_graph(nodes, "half", [], [], initializer=[axes])
    opsets = [helper.make_opsetid("", 18)]
    assert list(complaints(helper.make_model(graph, opset_imports=opsets))) == []
    graph.node.append(helper.make_node("DFT", ["half"], ["spectrum"]))
    graph.node[1].input[1] = "computed"
    late = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)])
    assert list(complaints(late)) == [
        "opset {'': 26}",
        "ReduceMean has axes that are no constant",
        "DFT is not supported",
    ]
