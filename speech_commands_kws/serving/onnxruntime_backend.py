"""Triton's `onnxruntime` backend, written in Python: it serves the repository of a production container unmodified.

Copied to `<backends>/onnxruntime/model.py`, where Triton's python backend runs it in a process of its own, in an
environment that has numpy and onnxruntime only; nothing else of this package is there.

Legend: B batch.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MODEL_FILE = "model.onnx"
INTRA_THREADS = "intra_op_thread_count"
NUMPY_MAJOR = "1"
ERRORS_ONLY = 3


class TritonPythonModel:
    """The interface that Triton's python backend calls."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Nothing is guessed: config.pbtxt says everything."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the version of the model that Triton loads."""
        import onnxruntime
        import triton_python_backend_utils

        self.triton = triton_python_backend_utils
        if np.__version__.split(".")[0] != NUMPY_MAJOR:
            # The bridge of this release reads arrays by the layout of NumPy 1, and would answer with garbage.
            raise self.triton.TritonModelException(
                f"needs numpy {NUMPY_MAJOR}, found {np.__version__}: make the environment again"
            )
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        threads = config.get("parameters", {}).get(INTRA_THREADS, {}).get("string_value", "1")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.log_severity_level = ERRORS_ONLY
        path = Path(args["model_repository"], args["model_version"], MODEL_FILE)
        self.session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, in their order; those of one shape are scored as one batch."""
        feeds = [self._arrays(request) for request in requests]
        responses: list[Any] = [None] * len(requests)
        for indices in groups_of_one_shape(feeds):
            batch = {
                name: np.concatenate([feeds[i][name] for i in indices]) for name in self.inputs
            }
            for i, response in zip(indices, self._answers(batch, [feeds[i] for i in indices])):
                responses[i] = response
        return responses

    def _arrays(self, request: Any) -> dict[str, np.ndarray]:
        return {
            name: self.triton.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }

    def _answers(self, batch: dict[str, np.ndarray], feeds: list[dict[str, np.ndarray]]) -> list:
        """One response a request; an input that onnxruntime refuses is an error of those requests alone."""
        from onnxruntime.capi import onnxruntime_pybind11_state as engine

        refusals = (engine.EPFail, engine.Fail, engine.InvalidArgument, engine.RuntimeException)
        try:
            scores = self.session.run(self.outputs, batch)
        except refusals as error:
            reason = self.triton.TritonError(" ".join(str(error).split()))
            return [self.triton.InferenceResponse([], reason) for _ in feeds]
        sizes = [len(feed[self.inputs[0]]) for feed in feeds]
        parts = [np.split(values, np.cumsum(sizes)[:-1]) for values in scores]
        return [
            self.triton.InferenceResponse(
                [self.triton.Tensor(name, part) for name, part in zip(self.outputs, answer)]
            )
            for answer in zip(*parts)
        ]


def groups_of_one_shape(feeds: Iterable[dict[str, np.ndarray]]) -> list[list[int]]:
    """The indices of feeds whose arrays differ in nothing but their batch."""
    groups: dict[tuple, list[int]] = {}
    for i, feed in enumerate(feeds):
        key = tuple((name, values.dtype.str, values.shape[1:]) for name, values in feed.items())
        groups.setdefault(key, []).append(i)
    return list(groups.values())
