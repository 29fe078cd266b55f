"""The backend that Triton's process runs, with a stand-in for what Triton gives it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.serving.onnxruntime_backend import TritonPythonModel, groups_of_one_shape


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> np.ndarray:
        return self.values


class TritonModelException(Exception):
    pass


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that exists in Triton's process only, and the NumPy that has to be there."""
    stand_in = SimpleNamespace(
        Tensor=Tensor,
        TritonError=str,
        TritonModelException=TritonModelException,
        InferenceResponse=lambda tensors, error=None: SimpleNamespace(tensors=tensors, error=error),
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)
    monkeypatch.setattr(np, "__version__", "1.26.4")


@pytest.fixture
def backend(triton, tiny_onnx: Path) -> TritonPythonModel:
    (tiny_onnx.parent / "7").mkdir(exist_ok=True)
    (tiny_onnx.parent / "7" / "model.onnx").write_bytes(tiny_onnx.read_bytes())
    return opened(tiny_onnx.parent)


def opened(repository: Path) -> TritonPythonModel:
    config = {
        "input": [{"name": "waveform"}],
        "output": [{"name": "probabilities"}, {"name": "logits"}],
        "parameters": {"intra_op_thread_count": {"string_value": "1"}},
    }
    backend = TritonPythonModel()
    backend.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(repository),
            "model_version": "7",
        }
    )
    return backend


def request(values: np.ndarray) -> dict[str, Tensor]:
    return {"waveform": Tensor("waveform", values)}


def test_requests_of_different_sizes_get_their_own_rows(
    backend: TritonPythonModel, tiny_onnx: Path
) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (6, 16_000)).astype(np.float32)
    parts = np.split(noise, [1, 4])
    responses = backend.execute([request(part) for part in parts])
    for part, response in zip(parts, responses, strict=True):
        expected = OnnxBackend(tiny_onnx)(part)
        assert response.error is None
        assert [tensor.name for tensor in response.tensors] == ["probabilities", "logits"]
        for tensor, values in zip(response.tensors, expected, strict=True):
            np.testing.assert_allclose(tensor.values, values, atol=1e-6)


def test_what_onnxruntime_refuses_fails_alone(backend: TritonPythonModel) -> None:
    good, bad = np.zeros((2, 16_000), np.float32), np.zeros((1, 99), np.float32)
    responses = backend.execute([request(bad), request(good), request(bad)])
    assert [response.error is None for response in responses] == [False, True, False]
    assert "waveform" in responses[0].error
    assert responses[1].tensors[0].values.shape == (2, 4)


def test_numpy_2_is_refused(triton, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(np, "__version__", "2.2.0")
    with pytest.raises(TritonModelException, match="needs numpy 1, found 2.2.0"):
        opened(tmp_path)


def test_arrays_are_grouped_by_everything_but_their_batch() -> None:
    arrays = [np.zeros((2, 3)), np.zeros((1, 4)), np.zeros((5, 3)), np.zeros((1, 3), np.int8)]
    assert groups_of_one_shape({"waveform": array} for array in arrays) == [[0, 2], [1], [3]]


def test_nothing_else_of_this_package_is_needed() -> None:
    """It runs in an environment without it."""
    path = Path(sys.modules[TritonPythonModel.__module__].__file__)
    assert "speech_commands_kws" not in path.read_text()
