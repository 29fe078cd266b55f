"""A TensorRT plan, run on the GPU that it was built for.

A plan says nothing about itself: `<plan>.json`, written by trt/convert.sh, tells which ONNX file it was built from, and
that file stays beside it.

Legend: B batch, T samples, K keywords.
"""

import json
import weakref
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.batches import in_batches
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES, ModelInfo

__all__ = ["TensorRTBackend"]

PLAN_SUFFIX = ".plan"
MAKE_IT = "build it with `kws export backend=tensorrt` or trt/convert.sh"
FIRST_PROFILE = 0
FLOAT_BYTES = np.dtype(np.float32).itemsize


class TensorRTBackend:
    """An exported keyword spotter as a TensorRT plan.

    Args:
        model: the plan, or the ONNX file that it lies beside.

    Attributes:
        info: what the ONNX file says about itself.
        facts: how the plan was built.

    Raises:
        KwsError: there is no such plan, it does not belong to its ONNX file, or it cannot run here.
    """

    is_server = False
    suffix = PLAN_SUFFIX

    def __init__(self, model: str | Path) -> None:
        plan = Path(model)
        plan = plan.with_suffix(PLAN_SUFFIX) if plan.suffix == ".onnx" else plan
        content = _read(plan)
        self.facts = _read_facts(plan, content)
        self.info = _info_of_onnx(plan, self.facts)
        tensorrt, self._cuda = import_engine()
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine = runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise KwsError(
                f"{plan}, built by TensorRT {self.facts['tensorrt']}, does not fit this GPU or TensorRT "
                f"{tensorrt.__version__}: {MAKE_IT} here"
            )
        smallest, _, largest = self._engine.get_tensor_profile_shape(INPUT, FIRST_PROFILE)
        self._smallest, self._largest = smallest[0], largest[0]
        self._context = self._engine.create_execution_context()
        self._stream = checked(self._cuda.cudaStreamCreate())
        sizes = {INPUT: self.info.clip_samples, PROBABILITIES: len(self.info.labels)}
        sizes[LOGITS] = sizes[PROBABILITIES]
        self._memory = {
            name: checked(self._cuda.cudaMalloc(self._largest * size * FLOAT_BYTES))
            for name, size in sizes.items()
        }
        for name, address in self._memory.items():
            self._context.set_tensor_address(name, address)
        weakref.finalize(self, _release, self._cuda, list(self._memory.values()), self._stream)

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips, as many at once as the plan takes.

        Shape:
            - waveforms: float32 `(B, T)` with `T = info.clip_samples`
            - probabilities, logits: float32 `(B, K)`
        """
        return in_batches(self._score, waveforms, self._largest)

    def _score(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked = len(waveforms)
        batch = np.zeros((max(asked, self._smallest), self.info.clip_samples), np.float32)
        batch[:asked] = waveforms
        answers = [np.empty((len(batch), len(self.info.labels)), np.float32) for _ in range(2)]
        self._context.set_input_shape(INPUT, batch.shape)
        self._copy(self._memory[INPUT], batch.ctypes.data, batch.nbytes, "cudaMemcpyHostToDevice")
        if not self._context.execute_async_v3(int(self._stream)):
            raise KwsError(f"TensorRT could not score {asked} clips: {MAKE_IT} anew")
        for name, answer in zip((PROBABILITIES, LOGITS), answers):
            address = self._memory[name]
            self._copy(answer.ctypes.data, address, answer.nbytes, "cudaMemcpyDeviceToHost")
        checked(self._cuda.cudaStreamSynchronize(self._stream))
        return answers[0][:asked], answers[1][:asked]

    def _copy(self, target: int, source: int, size: int, direction: str) -> None:
        kind = getattr(self._cuda.cudaMemcpyKind, direction)
        checked(self._cuda.cudaMemcpyAsync(target, source, size, kind, self._stream))


def import_engine() -> tuple[Any, Any]:
    """The packages tensorrt and cuda.bindings.runtime, where there is a GPU.

    Raises:
        KwsError: CUDA finds no GPU.
        ModuleNotFoundError: they are not installed.
    """
    # Here and not above: a process that uses another engine need not have these.
    import tensorrt
    from cuda.bindings import runtime as cuda

    fault, count = cuda.cudaGetDeviceCount()
    if fault or not count:
        raise KwsError(
            f"a TensorRT plan needs an NVIDIA GPU, CUDA finds none here ({fault.name}): use backend=onnx"
        )
    return tensorrt, cuda


def checked(answer: Sequence[Any]) -> Any:
    """The value of a call of the CUDA runtime, which answers (fault, value), or (fault,).

    Raises:
        KwsError: there was a fault.
    """
    fault, *values = answer
    if fault:
        raise KwsError(f"the GPU refuses ({fault.name}): see whether its memory is full")
    return values[0] if values else None


def _release(cuda: Any, addresses: list[int], stream: Any) -> None:
    for address in addresses:
        cuda.cudaFree(address)
    cuda.cudaStreamDestroy(stream)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KwsError(f"{path} cannot be opened ({error.strerror}): {MAKE_IT}") from None


def _read_facts(plan: Path, content: bytes) -> dict[str, Any]:
    path = Path(f"{plan}.json")
    try:
        facts = json.loads(_read(path))
    except ValueError:
        facts = None
    expected = ("onnx", "onnx_sha256", "plan_sha256", "tensorrt")
    if not isinstance(facts, dict) or not all(isinstance(facts.get(key), str) for key in expected):
        raise KwsError(f"{path} does not tell what {plan} was built from: {MAKE_IT} anew")
    if sha256(content).hexdigest() != facts["plan_sha256"]:
        raise KwsError(f"{path} is about another plan than {plan}: {MAKE_IT} anew")
    return facts


def _info_of_onnx(plan: Path, facts: Mapping[str, Any]) -> ModelInfo:
    """The labels and the signal of the ONNX file that a plan was built from."""
    path = plan.parent / facts["onnx"]
    if sha256(_read(path)).hexdigest() != facts["onnx_sha256"]:
        raise KwsError(f"{path} has changed since {plan} was built from it: {MAKE_IT} anew")
    return OnnxBackend(path).info
