"""What may not reach the embedded Triton; tests/test_serve.py has the real one behind the guard."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from speech_commands_kws.serving.guard import LARGE_AT_ONCE, PATHS, Guard, fault_of

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
    ("shape", "expected"),
    [
        *(
            (shape, "a shape that fits the [0-9]+ bytes that were sent")
            for shape in ([2**40, 4], [0, 2**40], [10**6, 4], [1000, 1000], [2**32, 2**32])
        ),
        *(
            (shape, "a shape of at most 100 whole numbers of 0 or more")
            for shape in ([-1, 4], [1, -4], [1.0, 4], [True, 4], [None], [1] * 101, [1] * 1000)
        ),
    ],
)
def test_a_shape_that_does_not_fit_its_request_is_refused(shape: list, expected: str) -> None:
    assert re.search(f"^expected {expected}, got ", fault_of(request(shape=shape), None))


@pytest.mark.parametrize("padding", [b"0" * 2000, b" " * 2000, b"1," * 1000, b"9" * 5000])
def test_a_long_shape_is_not_taken_for_samples(padding: bytes) -> None:
    body = b'{"inputs": [{"shape": [' + padding + b"1099511627776]}]}"
    assert fault_of(body, None) is not None


def test_samples_are_not_read_and_what_else_is_long_is_refused() -> None:
    samples = [[0.5, -1e-3] * 300_000] * 2
    assert fault_of(request(shape=[2, 600_000], data=samples), None) is None
    texts = request(name="x" * 1_000_001)
    assert "at most 1000000 bytes of JSON besides numbers" in fault_of(texts, None)
    assert "bytes of JSON besides" in fault_of(request(data=["a"] * 300_000), None)


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
    assert re.search("expected a request for an inference|expected a shape", fault_of(body, None))


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
        *("/v2/models/..", "/v2/models/./config", "/v2/models/.hidden"),
    ):
        assert not PATHS.fullmatch(path)


BODY_SECONDS = 2
INFER = "/v2/models/kws_onnx/infer"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a guard before nothing: what it passes on is answered 503."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    guard = Guard("127.0.0.1", port, tmp_path / "none", 4_000_000, BODY_SECONDS)
    yield port
    guard.close()


@contextmanager
def stalled(port: int) -> Iterator[socket.socket]:
    """A large request of which one byte comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\nx"
        client.sendall(head.encode())
        yield client


def status_of(port: int, method: str, path: str, body: bytes | None = None) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body)
        return connection.getresponse().status


def test_methods_are_those_that_clients_need(port: int) -> None:
    expected = {"GET": 503, "POST": 503, "HEAD": 405, "DELETE": 405, "PUT": 405}
    assert {each: status_of(port, each, "/v2/health/ready") for each in expected} == expected
    assert status_of(port, "POST", INFER, bytes(4_000_001)) == 413


def test_a_body_that_does_not_come_holds_nobody_up_for_long(port: int) -> None:
    """Those of large requests take all their places, which the next one waits for."""
    with ExitStack() as stack:
        clients = [stack.enter_context(stalled(port)) for _ in range(LARGE_AT_ONCE)]
        begin = time.monotonic()
        time.sleep(BODY_SECONDS / 10)
        assert status_of(port, "POST", INFER, request()) == 503  # a small one at once
        assert time.monotonic() - begin < BODY_SECONDS
        large = request(shape=[1, 500_000], data=[0.25] * 500_000)
        assert status_of(port, "POST", INFER, large) == 503
        assert BODY_SECONDS * 0.9 < time.monotonic() - begin
        for each in clients:
            assert each.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_come_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    guard = Guard("127.0.0.1", port, tmp_path / "none", 4_000_000, 3600)
    with stalled(port):
        assert status_of(port, "GET", "/v2") == 503  # the stalled one has been taken by now
        guard.close()
