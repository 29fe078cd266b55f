"""The comparison of two engines and its gate, with onnxruntime in the place of TensorRT."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE_RATE, burst

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging import tensorrt_plan
from speech_commands_kws.packaging.tensorrt_plan import Agreement, PlanGate, compare

GATE = PlanGate(difference=1e-3, same_keyword=0.9, accuracy_loss=0.003)
GOOD = Agreement(1e-5, 1.0, "clips")


@pytest.fixture
def waveforms() -> dict[str, np.ndarray]:
    clips = np.stack([burst(word) for word in ("yes", "no", "yes", "_unknown_")])
    return {"clips": clips, "silence": np.zeros((4, SAMPLE_RATE), np.float32)}


def test_an_engine_agrees_with_itself(tiny_onnx: Path, waveforms) -> None:
    backend = OnnxBackend(tiny_onnx)
    found = compare(backend, backend, waveforms, [1, 3])
    assert found.difference < 1e-6 and found.same_keyword == 1


def test_every_clip_is_asked_about_in_batches_of_every_size(tiny_onnx: Path, waveforms) -> None:
    backend, asked = OnnxBackend(tiny_onnx), []

    def engine(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(batch))
        return backend(batch)

    compare(backend, engine, waveforms, [1, 3, 8])
    assert asked == 2 * [1, 1, 1, 1, 3, 1, 8]


def test_a_difference_is_found(make_tiny_onnx: Callable, tiny_onnx, waveforms, tmp_path) -> None:
    other = OnnxBackend(make_tiny_onnx(tmp_path / "other.onnx", scale=20.2))
    found = compare(OnnxBackend(tiny_onnx), other, waveforms, [2])
    logits = OnnxBackend(tiny_onnx)(waveforms["clips"])[1]
    assert found.difference == pytest.approx(0.01 * logits.max(), rel=1e-3)
    assert found.same_keyword == 1


def test_another_keyword_in_one_kind_of_sound_is_found(tiny_onnx: Path, waveforms) -> None:
    backend = OnnxBackend(tiny_onnx)

    def deaf_to_no(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, logits = backend(batch)
        logits[:, 3] = 0
        return probabilities, logits

    found = compare(backend, deaf_to_no, waveforms, [1])
    assert (found.same_keyword, found.kind) == (0.75, "clips")


def test_what_is_no_number_is_no_agreement(tiny_onnx: Path, waveforms) -> None:
    backend = OnnxBackend(tiny_onnx)
    found = compare(
        backend, lambda batch: (backend(batch)[0] * np.nan, backend(batch)[1]), waveforms, [2]
    )
    assert np.isnan(found.difference)
    assert "answers differ by nan" in GATE.objections(found, (0.9, 0.9), exact=True)


@pytest.mark.parametrize(
    ("agreement", "accuracies", "exact", "objection"),
    [
        (GOOD, (0.97, 0.97), True, ""),
        (GOOD, (0.97, 0.968), True, ""),
        (
            Agreement(0.002, 1.0, "clips"),
            (0.97, 0.97),
            True,
            "answers differ by 2.0e-03, not 0.001",
        ),
        (Agreement(0.2, 1.0, "clips"), (0.97, 0.97), False, ""),
        (Agreement(0.2, 0.8, "noise"), (0.97, 0.97), False, "hears the same in 80.0% of noise"),
        (GOOD, (0.97, 0.966), True, "its accuracy is 96.60%, that of ONNX 97.00%"),
        (GOOD, (0.97, float("nan")), True, "its accuracy is nan%"),
    ],
)
def test_the_gate(agreement, accuracies, exact: bool, objection: str) -> None:
    found = GATE.objections(agreement, accuracies, exact)
    assert objection in found and bool(objection) == bool(found)


def test_the_script_is_found_and_its_own_words_are_told(tmp_path, monkeypatch) -> None:
    with pytest.raises(KwsError, match="^min_batch must be a whole number of 1 or more, got 'x'$"):
        tensorrt_plan.build_plan(
            make_model(tmp_path), tmp_path / "m.plan", min_batch="x", image=None
        )
    monkeypatch.setattr(tensorrt_plan, "SCRIPT", Path("trt/gone.sh"))
    with pytest.raises(KwsError, match="expected trt/gone.sh at .*, it is not there"):
        tensorrt_plan.build_plan(tmp_path, tmp_path)


def make_model(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"clip_samples\x12\x0516000")
    return path
