"""A TensorRT plan: what is asked of the engine, and what is refused.

TensorRT runs on a GPU only. Two modules of the names that it would be imported by stand in: memory is a dictionary, and
the plan is an ONNX file that onnxruntime runs. They check our use of the documented interface, not TensorRT.
"""

import ctypes
import enum
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import SAMPLE_RATE, TINY_LABELS, burst

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.tensorrt import TensorRTBackend
from speech_commands_kws.inference.spotter import KeywordSpotter

SMALLEST, LARGEST = 2, 8


class Fault(enum.IntEnum):
    SUCCESS = 0
    NO_DEVICE = 100
    OUT_OF_MEMORY = 2


class Cuda(ModuleType):
    """`cuda.bindings.runtime`: calls answer (fault, value) or (fault,)."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.fault, self.devices, self.memory, self.full = Fault.SUCCESS, 1, {}, False

    def cudaGetDeviceCount(self):
        return self.fault, self.devices

    def cudaStreamCreate(self):
        return Fault.SUCCESS, 7

    def cudaMalloc(self, size: int):
        if self.full:
            return Fault.OUT_OF_MEMORY, None
        block = np.zeros(size, np.uint8)
        self.memory[block.ctypes.data] = block
        return Fault.SUCCESS, block.ctypes.data

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int):
        assert (target if kind == 1 else source) in self.memory and stream == 7
        ctypes.memmove(target, source, size)
        return (Fault.SUCCESS,)

    def cudaStreamSynchronize(self, stream: int):
        return (Fault.SUCCESS,)

    def cudaFree(self, address: int):
        del self.memory[address]
        return (Fault.SUCCESS,)

    def cudaStreamDestroy(self, stream: int):
        return (Fault.SUCCESS,)


class Engine:
    """An `ICudaEngine` and its `IExecutionContext`; what it was asked is noted."""

    def __init__(self, cuda: Cuda, content: bytes, folder: Path) -> None:
        (folder / "engine.onnx").write_bytes(content)
        self.onnx, self.cuda = OnnxBackend(folder / "engine.onnx"), cuda
        self.addresses, self.shapes, self.works = {}, [], True

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, int]]:
        assert (name, profile) == ("waveform", 0)
        return [(count, SAMPLE_RATE) for count in (SMALLEST, 4, LARGEST)]

    def create_execution_context(self) -> "Engine":
        return self

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def set_input_shape(self, name: str, shape: tuple[int, int]) -> None:
        assert SMALLEST <= shape[0] <= LARGEST and shape[1] == SAMPLE_RATE
        self.shapes.append(shape[0])

    def execute_async_v3(self, stream: int) -> bool:
        count = self.shapes[-1]
        memory = {name: self.cuda.memory[place] for name, place in self.addresses.items()}
        waveforms = memory["waveform"].view(np.float32).reshape(-1, SAMPLE_RATE)[:count]
        for name, scores in zip(("probabilities", "logits"), self.onnx(waveforms)):
            memory[name].view(np.float32).reshape(-1, 4)[:count] = scores
        return self.works


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The two modules; `engine` is the one that was opened last."""
    cuda, made = Cuda(), SimpleNamespace(engine=None, fits=True)

    def deserialize(content: bytes) -> Engine | None:
        made.engine = Engine(cuda, content, tmp_path) if made.fits else None
        return made.engine

    tensorrt = SimpleNamespace(
        __version__="10.16.0.72",
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=deserialize),
    )
    made.cuda, made.tensorrt = cuda, tensorrt
    modules = {"tensorrt": tensorrt, "cuda": ModuleType("cuda")}
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = cuda
    modules |= {"cuda.bindings": bindings, "cuda.bindings.runtime": cuda}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.fixture
def plan(tmp_path: Path, make_tiny_onnx: Callable) -> Path:
    """A "plan" beside its ONNX file, with the facts that trt/convert.sh writes."""
    onnx = make_tiny_onnx(tmp_path / "model.onnx")
    path = tmp_path / "model.plan"
    path.write_bytes(onnx.read_bytes())
    write_facts(path)
    return path


def write_facts(plan: Path, **changes: object) -> None:
    digest = sha256(plan.read_bytes()).hexdigest()
    facts = {"onnx": "model.onnx", "onnx_sha256": digest, "plan_sha256": digest}
    Path(f"{plan}.json").write_text(json.dumps({**facts, "tensorrt": "10.16.0", **changes}))


@pytest.mark.parametrize(
    ("count", "shapes"), [(1, [2]), (2, [2]), (8, [8]), (9, [8, 2]), (20, [8, 8, 4])]
)
def test_any_number_of_clips_is_scored(
    device: SimpleNamespace, plan: Path, count: int, shapes: list[int]
) -> None:
    waveforms = np.random.default_rng(0).normal(size=(count, SAMPLE_RATE)).astype(np.float32)
    backend = TensorRTBackend(plan)
    backend(waveforms[::-1])
    device.engine.shapes.clear()
    found = backend(waveforms)
    assert device.engine.shapes == shapes
    for answer, expected in zip(found, OnnxBackend(plan)(waveforms), strict=True):
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_a_spotter_names_words_with_it(device: SimpleNamespace, plan: Path) -> None:
    """The plan, or the ONNX file that it lies beside."""
    for model in (plan, plan.with_suffix(".onnx")):
        spotter = KeywordSpotter(model, backend=TensorRTBackend)
        assert spotter.labels == tuple(TINY_LABELS)
        assert [answer.label for answer in spotter(burst("yes"))] == ["yes"]


def test_its_memory_is_given_back(device: SimpleNamespace, plan: Path) -> None:
    backend = TensorRTBackend(plan)
    assert len(device.cuda.memory) == 3
    del backend
    assert device.cuda.memory == {}


def test_what_does_not_belong_together_is_refused(device: SimpleNamespace, plan: Path) -> None:
    facts = Path(f"{plan}.json")
    for text in ("{", "[]", '{"onnx": 1}'):
        facts.write_text(text)
        with pytest.raises(KwsError, match="json does not tell what .* was built from: build it"):
            TensorRTBackend(plan)
    write_facts(plan, plan_sha256="0")
    with pytest.raises(KwsError, match="is about another plan"):
        TensorRTBackend(plan)
    write_facts(plan, onnx_sha256="0")
    with pytest.raises(KwsError, match="model.onnx has changed since"):
        TensorRTBackend(plan)
    write_facts(plan, onnx="gone.onnx")
    with pytest.raises(KwsError, match="gone.onnx cannot be opened"):
        TensorRTBackend(plan)
    facts.unlink()
    with pytest.raises(KwsError, match=r"plan.json cannot be opened .*trt/convert.sh"):
        TensorRTBackend(plan)


def test_what_cannot_run_here_is_refused(device: SimpleNamespace, plan: Path) -> None:
    write_facts(plan, tensorrt="10.15.1")
    device.fits = False
    with pytest.raises(KwsError, match="by TensorRT 10.15.1, does not fit .* TensorRT 10.16.0.72"):
        TensorRTBackend(plan)
    write_facts(plan)
    device.fits, device.cuda.full = True, True
    with pytest.raises(KwsError, match="the GPU refuses .OUT_OF_MEMORY."):
        TensorRTBackend(plan)
    for device.cuda.fault, device.cuda.devices in ((Fault.NO_DEVICE, 1), (Fault.SUCCESS, 0)):
        fault = device.cuda.fault.name
        with pytest.raises(KwsError, match=f"CUDA finds none here .{fault}.: use backend=onnx"):
            TensorRTBackend(plan)


def test_an_engine_that_fails_is_no_answer(device: SimpleNamespace, plan: Path) -> None:
    backend = TensorRTBackend(plan)
    device.engine.works = False
    with pytest.raises(KwsError, match="could not score 1 clips"):
        backend(np.zeros((1, SAMPLE_RATE), np.float32))


def test_without_tensorrt_one_line_says_what_to_install(answer: Callable, plan: Path, burst_wav):
    recording = burst_wav("yes.wav", "yes")
    outcome = answer(recording, f"model={plan}", "backend=tensorrt")
    expected = 'error: tensorrt is not installed: pip install "speech-commands-kws[tensorrt]"'
    if "tensorrt" not in sys.modules:
        assert (outcome.status, outcome.complaints) == (1, [expected])
