import numpy as np
import onnx
import pytest
from trained_looking import INFO, SAMPLE_RATE

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.packaging.onnx_export import write_metadata
from speech_commands_kws.packaging.parity import VariantGate, compare
from speech_commands_kws.packaging.quantize import (
    Fp16,
    Int8,
    front_end_nodes,
)

GATE = VariantGate(accuracy_loss=0.005, agreement=0.97, probe_agreement=0.9)
NETWORK = ["Add", "Conv", "Gemm", "MatMul", "Mul", "ReduceMean", "Relu", "Sigmoid"]
CONVOLUTIONS = ["Conv", "Gemm", "MatMul", "Relu"]


@pytest.fixture(scope="module")
def waveforms():
    generator = np.random.default_rng(0)
    clips = generator.standard_normal((12, SAMPLE_RATE)) * np.geomspace(1e-3, 0.5, 12)[:, None]
    return clips.astype(np.float32)


@pytest.mark.parametrize(
    ("variant", "largest", "bits"),
    [
        (Int8(GATE, 12, False, CONVOLUTIONS, False), 0.1, onnx.TensorProto.INT8),
        (Int8(GATE, 12, False, NETWORK, True), 0.1, onnx.TensorProto.INT8),
        (Int8(GATE, 12, True, NETWORK, True), 0.1, onnx.TensorProto.INT8),
        (Fp16(GATE), 0.01, onnx.TensorProto.FLOAT16),
    ],
    ids=["int8", "int8 all over", "symmetric int8", "fp16"],
)
def test_a_variant_answers_alike(variant, largest, bits, model, waveforms, tmp_path) -> None:
    target = tmp_path / "variant.onnx"
    variant.convert(model, target, waveforms)
    exact, rounded = (OnnxBackend(path)(waveforms)[0] for path in (model, target))
    assert 0 < np.abs(exact - rounded).max() < largest
    info = OnnxBackend(target).info
    assert info == INFO
    proto, original = onnx.load(target), onnx.load(model)
    assert (proto.ir_version, proto.opset_import) == (original.ir_version, original.opset_import)
    assert bits in {tensor.data_type for tensor in proto.graph.initializer}
    zero_points = [tensor for tensor in proto.graph.initializer if "zero_point" in tensor.name]
    centred = not any(onnx.numpy_helper.to_array(tensor).any() for tensor in zero_points)
    symmetric = getattr(variant, "symmetric", True)
    biases = any(tensor.data_type == onnx.TensorProto.INT32 for tensor in proto.graph.initializer)
    assert centred == symmetric and biases != symmetric
    # The front-end is the same, weights and all, and is left in single precision.
    inside = set(front_end_nodes(original))
    own = {tensor.name: tensor.data_type for tensor in original.graph.initializer}
    kept = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    nodes = {node.name: node for node in proto.graph.node}
    for node in original.graph.node:
        if node.name in inside:
            assert nodes[node.name].input == node.input
            assert all(kept[name] == own[name] for name in node.input if name in own)


@pytest.mark.parametrize("grouped", [False, True])
def test_grouped_convolutions_are_quantised_if_wanted(grouped, model, waveforms, tmp_path) -> None:
    target = tmp_path / "variant.onnx"
    Int8(GATE, 12, False, CONVOLUTIONS, grouped).convert(model, target, waveforms)
    proto = onnx.load(target)
    makers = {output: node.op_type for node in proto.graph.node for output in node.output}
    weights = {False: set(), True: set()}
    for node in proto.graph.node:
        if node.op_type == "Conv":
            groups = next(each.i for each in node.attribute if each.name == "group")
            weights[groups > 1].add(makers.get(node.input[1]) == "DequantizeLinear")
    assert weights == {False: {True}, True: {grouped}}


def test_the_front_end_ends_with_the_logarithm(model) -> None:
    proto = onnx.load(model)
    inside = set(front_end_nodes(proto))
    operators = {node.op_type for node in proto.graph.node if node.name in inside}
    assert {"Log", "MatMul", "Pad"} <= operators
    assert not operators & {"Conv", "Relu", "Softmax"}


def test_a_damaged_variant_disagrees_and_is_refused(model, waveforms, tmp_path) -> None:
    proto = onnx.load(model)
    bias = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [4])
    answers = OnnxBackend(model)(waveforms)[0].argmax(axis=1)
    values = onnx.numpy_helper.to_array(bias).copy()
    values[answers[0]] -= 100
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(proto, tmp_path / "damaged.onnx")
    damaged = OnnxBackend(tmp_path / "damaged.onnx")
    found = compare(OnnxBackend(model), damaged, {"real clips": waveforms}, [4])
    assert found["real clips"].same_keyword == np.mean(answers != answers[0])
    assert "of real clips, 90.0% are expected" in GATE.objections(0.0, 1.0, found)


def test_metadata_is_replaced(model, tmp_path) -> None:
    copied = tmp_path / "copy.onnx"
    copied.write_bytes(model.read_bytes())
    changed = ModelInfo(
        INFO.labels, SAMPLE_RATE, SAMPLE_RATE, {}, {"accuracy": 0.9}, {"threshold": 0.5}
    )
    write_metadata(changed, copied)
    assert OnnxBackend(copied).info == changed
