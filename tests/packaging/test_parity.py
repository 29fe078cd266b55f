import numpy as np
import onnx
import pytest
from trained_looking import LABELS, SAMPLE_RATE

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging.parity import check_parity

BATCH_SIZES = [1, 2, 32]
TOLERANCE = 1e-4


def test_file_and_module_agree(spotter, model, waveforms):
    assert set(waveforms) == {"real clips", "silence", "clipping", "noise"}
    assert np.abs(waveforms["clipping"]).min() == 1 and waveforms["silence"].max() == 0
    assert check_parity(spotter, model, waveforms, BATCH_SIZES, TOLERANCE) < TOLERANCE


def test_one_perturbed_weight_fails_the_gate(spotter, model, waveforms, tmp_path):
    proto = onnx.load(model)
    # the bias of the last layer: no activation can hide it
    weights = next(
        tensor for tensor in proto.graph.initializer if list(tensor.dims) == [len(LABELS)]
    )
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] += 0.1
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, tmp_path / "perturbed.onnx")
    with pytest.raises(KwsError, match="differ by .* nothing was exported"):
        check_parity(spotter, tmp_path / "perturbed.onnx", waveforms, BATCH_SIZES, TOLERANCE)


def test_answers_that_are_not_finite_fail_the_gate(spotter, model, waveforms):
    broken = {"broken": np.full((1, SAMPLE_RATE), np.nan, dtype=np.float32)}
    with pytest.raises(KwsError, match="broken"):
        check_parity(spotter, model, broken, [1], TOLERANCE)
