from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import burst
from trained_looking import LABELS, SAMPLE_RATE

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.parity import check_parity, compare

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
    assert found.difference < 1e-6 and found.same_keyword == 1


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
    assert found.difference == pytest.approx(0.01 * logits.max(), rel=1e-3)
    assert found.same_keyword == 1


def test_another_keyword_in_one_kind_of_sound_is_found(tiny_onnx: Path, sounds) -> None:
    backend = OnnxBackend(tiny_onnx)

    def deaf_to_no(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, logits = backend(batch)
        logits[:, 3] = 0
        return probabilities, logits

    found = compare(backend, deaf_to_no, sounds, [1])
    assert (found.same_keyword, found.kind) == (0.75, "clips")


def test_what_is_no_number_is_no_agreement(tiny_onnx: Path, sounds) -> None:
    backend = OnnxBackend(tiny_onnx)
    found = compare(
        backend, lambda batch: (backend(batch)[0] * np.nan, backend(batch)[1]), sounds, [2]
    )
    assert np.isnan(found.difference)
