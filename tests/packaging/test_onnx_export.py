import json

import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tensorrt_support import complaints
from trained_looking import INFO, LABELS, OPSET, trained_looking

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.models.speech_embedding import MELS, SpeechEmbeddingNet
from speech_commands_kws.packaging.onnx_export import operator_counts, write_onnx
from speech_commands_kws.packaging.parity import check_parity

TOLERANCE = 1e-4


def test_metadata_says_all_that_running_needs(model):
    info = OnnxBackend(model).info
    assert info == INFO
    properties = {item.key: item.value for item in onnx.load(model).metadata_props}
    assert json.loads(properties["labels"]) == list(LABELS)


def test_the_file_does_not_tell_where_it_was_made(model):
    content = model.read_bytes()
    assert b".py" not in content and b"site-packages" not in content


def test_graph_has_no_complex_operators(model):
    operators = operator_counts(model)
    assert not operators.keys() & {"STFT", "DFT", "Loop", "If"}
    assert operators["MatMul"] > 0 and list(operators.values()) == sorted(
        operators.values(), reverse=True
    )


def test_tensorrt_supports_every_operator(model):
    assert list(complaints(onnx.load(model))) == []


def test_the_order_of_the_weights_in_training_is_not_that_of_the_graph(tmp_path):
    """The exporter would count places where the weights are in another order."""
    network = SpeechEmbeddingNet(len(LABELS), MELS, dropout=0)
    spotter = trained_looking(network, n_mels=MELS)
    assert network.last.weight.is_contiguous(memory_format=torch.channels_last)
    write_onnx(spotter, INFO, OPSET, tmp_path / "model.onnx")
    assert not operator_counts(tmp_path / "model.onnx").keys() & {"Shape", "Range", "Gather"}


class Calibration(CalibrationDataReader):
    def __init__(self, clips):
        self.batches = iter({"waveform": clip[None]} for clip in clips)

    def get_next(self):
        return next(self.batches, None)


def quantised(model, clips, path, **options):
    """As onnxruntime does it, in signed 8 bits."""
    reader, types = Calibration(clips), {"activation_type": QuantType.QInt8}
    quantize_static(model, path, reader, QuantFormat.QDQ, per_channel=True, **types, **options)
    return onnx.load(path)


def test_tensorrt_supports_symmetric_int8_only(model, waveforms, tmp_path):
    """By itself onnxruntime gives activations a zero point, and biases 32 bits."""
    clips, path = waveforms["real clips"][:2], tmp_path / "int8.onnx"
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    proto = quantised(model, clips, path, extra_options=symmetric)
    assert sum(node.op_type == "QuantizeLinear" for node in proto.graph.node) > 20
    assert list(complaints(proto)) == []
    assert set(complaints(quantised(model, clips, path))) == {
        "QuantizeLinear has a zero point that is not 0 in int8",
        "DequantizeLinear has a zero point that is not 0 in int8",
        "DequantizeLinear of INT32",
    }


@pytest.mark.parametrize("opset", [3, 17, 99, "18", True])
def test_an_opset_that_the_exporter_does_not_write_is_refused(spotter, tmp_path, opset):
    with pytest.raises(
        KwsError, match=f"opset must be a whole number from 18 to [0-9]+, got {opset!r}"
    ):
        write_onnx(spotter, INFO, opset, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_format_is_the_oldest_that_has_the_operators(model):
    """What ONNX Runtime 1.15 to 1.17 reads too; benchmarks/old_onnxruntime.py asks them."""
    assert onnx.load(model).ir_version == 8


def test_second_family_exports_too(tmp_path, waveforms):
    torch.manual_seed(0)
    spotter = trained_looking(DSCNN(4, 40, 64, 4, [4, 10], [2, 2], 0.2))
    write_onnx(spotter, INFO, OPSET, tmp_path / "ds_cnn.onnx")
    assert check_parity(spotter, tmp_path / "ds_cnn.onnx", waveforms, [1, 2], TOLERANCE) < TOLERANCE
    assert list(complaints(onnx.load(tmp_path / "ds_cnn.onnx"))) == []
