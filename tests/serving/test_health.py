"""The probe takes an inference for a proof, and nothing less."""

import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from triton_stand_in import LOST, SLOW, StandIn, stand_in

from speech_commands_kws.serving import health


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


def test_an_answer_is_no_fault(server: StandIn) -> None:
    assert health.ask(server.url, "kws_onnx", 5) == [0.5, 0.25, 0.25]
    assert health.fault(server.url, "kws_onnx") is None
    assert server.asked == 2


def test_a_server_at_a_unix_socket_is_asked_there(server: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "http"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "refused" in health.fault(str(path), "kws_onnx")
        listener.listen()
        Thread(
            target=pass_on, args=(listener, int(server.url.rpartition(":")[2])), daemon=True
        ).start()
        assert health.fault(str(path), "kws_onnx") is None
    assert server.asked == 1


def pass_on(listener: socket.socket, port: int) -> None:
    """One connection, to a server at this port."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        while ready := select.select([client, server], [], [])[0]:
            data = ready[0].recv(1 << 16)
            if not data:
                return
            (server if ready[0] is client else client).sendall(data)


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "500 .*prescribes"), (LOST, "without response"), (SLOW, "timed")]
)
def test_no_answer_is_a_fault(server: StandIn, status: int, reason: str) -> None:
    server.script = [status]
    pytest.raises(Exception, health.ask, server.url, "kws_onnx", 0.2).match(reason)
    server.script = [status]
    assert health.fault(server.url, "kws_onnx", 0.2) is not None


def test_nan_is_a_fault(server: StandIn) -> None:
    server.probabilities = np.full((1, 3), np.nan, np.float32)
    assert "nan" in health.fault(server.url, "kws_onnx")


def test_as_a_program_with_nothing_but_python(server: StandIn, tmp_path: Path) -> None:
    """As a container runs it: isolated, so that neither this package nor any other is there."""
    command = [sys.executable, "-I", "-S", health.__file__, server.url, "kws_onnx"]
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
    server.script = [500]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "as the test prescribes" in done.stderr
