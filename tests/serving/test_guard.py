"""What may not reach the embedded Triton; tests/test_serve.py has the real one behind the guard."""

import json
import re

import pytest

from speech_commands_kws.serving.guard import PATHS, fault_of

CLIP = {"name": "waveform", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}


def request(**changes: object) -> bytes:
    return json.dumps({"inputs": [CLIP | changes]}).encode()


def test_requests_of_clients_may_pass() -> None:
    assert fault_of(request(), None) is None
    assert fault_of(request(data=[[0, 0, 0, 0]]), None) is None
    assert fault_of(request(shape=[0, 4], data=[]), None) is None
    head = json.dumps({"inputs": [CLIP | {"data": None}], "outputs": [{"name": "logits"}]}).encode()
    assert fault_of(head + bytes(16), str(len(head))) is None


@pytest.mark.parametrize(
    "shape",
    [
        [2**40, 4],
        [10**6, 4],
        [1000, 1000],
        [2**32, 2**32],
        [-1, 4],
        [1, -4],
        [1.0, 4],
        [True, 4],
        [1] * 101,
    ],
)
def test_a_tensor_larger_than_its_request_is_refused(shape: list) -> None:
    assert "more elements than were sent" in fault_of(request(shape=shape), None)


def test_what_has_many_names_is_refused() -> None:
    """Millions of names would hold the server up for seconds."""
    body = json.dumps({"inputs": [], "a": {str(i): 1 for i in range(20_000)}}).encode()
    assert "at most 10000 arrays, objects and names" in fault_of(body, None)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a": ' * 20_000,
    ],
)
def test_what_is_nested_deeply_is_refused(body: bytes) -> None:
    assert "at most 10000 arrays, objects and names" in fault_of(body, None)
    assert "at most 10000 arrays, objects and names" in fault_of(body, str(len(body)))


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"5",
        b"{}",
        b'{"inputs": 5}',
        b'{"inputs": [5]}',
        b'{"inputs": [{"shape": 5}]}',
        b'{"inputs": [{"shape": [' + b"9" * 5000 + b"]}]}",
        b'{"inputs": [{"shape": [1], "shape": [9]}]}',
        b'{"inputs": ' + b"[" * 9000 + b"]" * 9000 + b"}",
        json.dumps({"inputs": [CLIP]}).encode("utf-16"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert re.search("expected a request for an inference|more elements", fault_of(body, None))


@pytest.mark.parametrize("length", ["-5", "1_0", "x", "", "9" * 11])
def test_the_length_of_the_header_is_a_number(length: str) -> None:
    assert "must be a number" in fault_of(request(), length)


def test_paths_are_those_that_clients_need() -> None:
    for path in (
        *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/kws_onnx", "/v2/models/stats"),
        *("/v2/models/kws_onnx/config", "/v2/models/kws_onnx/versions/2/infer"),
    ):
        assert PATHS.fullmatch(path)
    for path in (
        *("/", "/v2/repository/index", "/v2/repository/models/kws_onnx/unload", "/v2/logging"),
        *("/v2/models/kws_onnx/trace/setting", "/v2/systemsharedmemory/status", "//v2/logging"),
        *("/v2/models/kws_onnx/../../logging", "/v2/models/a%2f..%2flogging", "/v2/trace/setting"),
    ):
        assert not PATHS.fullmatch(path)
