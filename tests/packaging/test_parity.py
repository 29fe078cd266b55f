from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import burst
from trained_looking import LABELS, SAMPLE_RATE

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.parity import Agreement, VariantGate, check_parity, compare

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


# Two engines


@pytest.fixture
def sounds() -> dict[str, np.ndarray]:
    clips = np.stack([burst(word) for word in ("yes", "no", "yes", "_unknown_")])
    return {"clips": clips, "silence": np.zeros((4, SAMPLE_RATE), np.float32)}


def test_an_engine_agrees_with_itself(tiny_onnx: Path, sounds) -> None:
    backend = OnnxBackend(tiny_onnx)
    found = compare(backend, backend, sounds, [1, 3])
    assert set(found) == {"clips", "silence"}
    assert all(one.difference < 1e-6 and one.same_keyword == 1 for one in found.values())


def test_every_clip_is_asked_about_in_batches_of_every_size(tiny_onnx: Path, sounds) -> None:
    backend, asked = OnnxBackend(tiny_onnx), []

    def engine(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(batch))
        return backend(batch)

    compare(backend, engine, sounds, [1, 3, 8])
    assert asked == 2 * [1, 1, 1, 1, 3, 1, 8]


def test_a_difference_is_found(make_tiny_onnx: Callable, tiny_onnx, sounds, tmp_path) -> None:
    other = OnnxBackend(make_tiny_onnx(tmp_path / "other.onnx", scale=20.2))
    found = compare(OnnxBackend(tiny_onnx), other, sounds, [2])
    logits = OnnxBackend(tiny_onnx)(sounds["clips"])[1]
    assert found["clips"].difference == pytest.approx(0.01 * logits.max(), rel=1e-3)
    assert found["clips"].same_keyword == 1


def test_another_keyword_in_one_kind_of_sound_is_found(tiny_onnx: Path, sounds) -> None:
    backend = OnnxBackend(tiny_onnx)

    def deaf_to_no(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, logits = backend(batch)
        logits[:, 3] = 0
        return probabilities, logits

    found = compare(backend, deaf_to_no, sounds, [1])
    assert {kind: one.same_keyword for kind, one in found.items()} == {"clips": 0.75, "silence": 1}


def test_what_is_no_number_is_no_agreement(tiny_onnx: Path, sounds) -> None:
    backend = OnnxBackend(tiny_onnx)
    found = compare(
        backend, lambda batch: (backend(batch)[0] * np.nan, backend(batch)[1]), sounds, [2]
    )
    assert np.isnan(found["clips"].difference)


NAN = float("nan")


@pytest.mark.parametrize(
    ("loss", "agreement", "probe", "objection"),
    [
        (0.003, 0.97, Agreement(1e-3, 0.9), ""),
        (0.006, 1.0, Agreement(0.0, 1.0), "it loses 0.60% of accuracy, 0.30% are allowed"),
        (NAN, 1.0, Agreement(0.0, 1.0), "it loses nan%"),
        (0.0, 0.96, Agreement(0.0, 1.0), "agrees on 96.0% of validation clips, 97.0% are expected"),
        (0.0, 1.0, Agreement(0.0, 0.8), "agrees on 80.0% of silence, 90.0% are expected"),
        (0.0, 1.0, Agreement(0.002, 1.0), "its outputs differ by 2.0e-03, not 0.001"),
        (0.0, 1.0, Agreement(NAN, 1.0), "its outputs differ by nan"),
    ],
)
def test_the_gate_says_what_is_wrong(loss, agreement, probe, objection) -> None:
    gate = VariantGate(accuracy_loss=0.003, agreement=0.97, probe_agreement=0.9, difference=1e-3)
    found = gate.objections(loss, agreement, {"silence": probe})
    assert objection in found and bool(objection) == bool(found)
    assert "differs" not in replace(gate, difference=None).objections(
        loss, agreement, {"silence": probe}
    )
