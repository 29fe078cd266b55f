import logging
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.mlflow_store import (
    artifact_folder,
    readable_uri,
    server_command,
    sqlite_uri,
    store_fault,
    usable_uri,
)

PROBE_SECONDS = 1.5
ANSWERS = {  # path of the tracking address: status and body of its /health
    "/mlflow/health": (200, b"OK"),
    "/locked/health": (401, b"log in"),
    "/other/health": (200, b"<html>"),
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS.get(self.path, (404, b""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web_address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def closed_address() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("path", ["/mlflow", "/mlflow/", "/locked"])
def test_a_server_that_answers_is_usable(web_address: str, path: str, tmp_path: Path) -> None:
    assert store_fault(web_address + path, PROBE_SECONDS) is None
    assert usable_uri(web_address + path, tmp_path, PROBE_SECONDS) == web_address + path


@pytest.mark.parametrize("path", ["/other", "/nothing"])
def test_something_else_at_the_port_is_no_mlflow_server(web_address: str, path: str) -> None:
    assert "something else answers there" in store_fault(web_address + path, PROBE_SECONDS)


def slow_lookup(*_: object, **__: object) -> list:
    time.sleep(4)
    return []


@pytest.mark.parametrize("address", ["closed", "silent", "http://10.255.255.1:8080", "http://x:y"])
def test_a_missing_server_is_known_in_two_seconds(address: str, request) -> None:
    if address in ("closed", "silent"):
        address = request.getfixturevalue(f"{address}_address")
    began = time.monotonic()
    assert store_fault(address, PROBE_SECONDS)
    assert time.monotonic() - began < 2


def test_a_slow_look_up_of_the_name_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    began = time.monotonic()
    assert store_fault("http://mlflow.invalid:8080", PROBE_SECONDS) == "no answer in 1.5 s"
    assert time.monotonic() - began < 2


def test_without_a_server_one_line_names_the_store_and_the_command(
    closed_address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = usable_uri(closed_address, tmp_path, PROBE_SECONDS)
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelno == logging.WARNING and "\n" not in message
    assert closed_address in message and uri in message
    assert message.endswith(server_command(uri, closed_address))


def test_reading_follows_the_same_rule_and_makes_no_store(
    closed_address: str, web_address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local = sqlite_uri(tmp_path / "mlflow.db")
    with pytest.raises(
        KwsError, match="at http.*refused.* or at sqlite.*no such file.*train first"
    ):
        readable_uri(closed_address, tmp_path, PROBE_SECONDS)
    with pytest.raises(KwsError, match="expected an MLflow store at sqlite"):
        readable_uri(None, tmp_path, PROBE_SECONDS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").touch()
    assert readable_uri(closed_address, tmp_path, PROBE_SECONDS) == local
    assert readable_uri(f"{web_address}/mlflow", tmp_path, 1) == f"{web_address}/mlflow"
    assert not caplog.records


def test_server_command_shows_the_store_at_the_address_asked_for() -> None:
    folder = Path("/a b/plots")
    command = server_command(sqlite_uri(folder / "mlflow.db"), "http://127.0.0.1:8081")
    assert shlex.split(command)[1:] == [
        *["mlflow", "server", "--backend-store-uri", "sqlite:////a%20b/plots/mlflow.db"],
        *["--artifacts-destination", "/a b/plots/mlartifacts"],
        *["--host", "127.0.0.1", "--port", "8081", "--workers", "1"],
    ]


def test_other_stores_are_used_as_given(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    assert usable_uri("databricks", "plots", PROBE_SECONDS) == "databricks"
    assert usable_uri("sqlite:///my/x.db?a=1", "plots", 1) == f"sqlite:///{tmp_path}/my/x.db?a=1"
    assert usable_uri(None, "plots", PROBE_SECONDS) == f"sqlite:///{tmp_path}/plots/mlflow.db"
    assert not caplog.records


def test_artifacts_lie_beside_a_sqlite_store_only() -> None:
    assert artifact_folder("sqlite:////a%20b/x.db") == Path("/a b/mlartifacts")
    assert artifact_folder("http://127.0.0.1:8080") is None


def test_a_sqlite_store_that_is_gone_has_a_fault(tmp_path: Path) -> None:
    uri = sqlite_uri(tmp_path / "é #.db")
    assert store_fault(uri, PROBE_SECONDS) == "no such file"
    (tmp_path / "é #.db").touch()
    assert store_fault(uri, PROBE_SECONDS) is None
