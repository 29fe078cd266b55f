import logging
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking import mlflow_store
from speech_commands_kws.tracking.mlflow_run import begin_run, client_of
from speech_commands_kws.tracking.mlflow_store import (
    absolute_uri,
    artifact_folder,
    prepare_store,
    readable_uri,
    server_command,
    sqlite_uri,
    store_fault,
    uri_from,
    usable_uri,
)

PROBE_SECONDS = 1.5
LOOKUP_SECONDS = 5  # far more, because the machine may be busy
ANSWERS = {  # beginning of the tracking address: status and body of its answer to MLflow's client
    "/mlflow": (200, b"{}"),
    "/locked": (401, b"log in"),
    "/other": (200, b"<html>"),
    "/list": (200, b"[]"),
    "/broken": (500, b"{}"),
}


class Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        prefix, api, _ = self.path.partition("/api/")  # a gateway may pass nothing else
        status, body = ANSWERS.get(prefix, (404, b"")) if api else (404, b"")
        if prefix == "/login" and self.headers["Authorization"] == "Basic dTpww6Q=":  # u:pä
            status, body = 200, b"{}"
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
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


def test_a_server_is_asked_as_the_client_asks(web_address: str, monkeypatch) -> None:
    assert store_fault(f"{web_address}/login", PROBE_SECONDS)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pä")
    assert store_fault(f"{web_address}/login", PROBE_SECONDS) is None


@pytest.mark.parametrize("path", ["/other", "/nothing", "/list", "/broken"])
def test_something_else_at_the_port_is_no_mlflow_server(web_address: str, path: str) -> None:
    assert "something else answers there" in store_fault(web_address + path, PROBE_SECONDS)


def slow_lookup(*_: object, **__: object) -> list:
    time.sleep(LOOKUP_SECONDS)
    return []


@pytest.mark.parametrize("address", ["closed", "silent", "http://10.255.255.1:8080", "http://x:y"])
def test_a_missing_server_is_known_soon(address: str, request) -> None:
    if address in ("closed", "silent"):
        address = request.getfixturevalue(f"{address}_address")
    began = time.monotonic()
    assert store_fault(address, PROBE_SECONDS)
    assert time.monotonic() - began < LOOKUP_SECONDS


def test_a_slow_look_up_of_the_name_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    began = time.monotonic()
    assert store_fault("http://mlflow.invalid:8080", PROBE_SECONDS) == "no answer in 1.5 s"
    assert time.monotonic() - began < LOOKUP_SECONDS


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


def test_server_command_is_short_in_the_working_folder(tmp_path: Path, monkeypatch) -> None:
    store = sqlite_uri(tmp_path / "plots/mlflow.db")
    monkeypatch.chdir("/")
    assert f" {store} " in server_command(store, "http://127.0.0.1:8081")
    monkeypatch.chdir(tmp_path)
    assert (
        " sqlite:///plots/mlflow.db --artifacts-destination plots/mlartifacts --host "
        in server_command(store, "http://127.0.0.1:8081")
    )


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


def test_a_store_above_a_folder_is_named_from_there(tmp_path: Path) -> None:
    uri, folder = sqlite_uri(tmp_path / "a b" / "x.db") + "?a=1", tmp_path / "a b/runs/one"
    assert uri_from(folder, uri) == "sqlite:///../../x.db?a=1"
    moved = Path("/new/runs/one")
    assert absolute_uri("sqlite:///../../x.db?a=1", moved) == "sqlite:////new/x.db?a=1"
    assert absolute_uri(uri_from(folder, uri), folder) == uri
    for other in ("http://host/", "sqlite:////mnt/x.db"):
        assert uri_from(folder, other) == absolute_uri(other, folder) == other


def test_a_store_whose_making_is_interrupted_is_made_anew(tmp_path: Path, monkeypatch) -> None:
    uri = sqlite_uri(tmp_path / "mlflow.db")

    def killed(path: Path) -> None:
        path.write_bytes(b"half of the tables")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_store, "_make_tables", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_store(uri)
    assert not list(tmp_path.iterdir())
    (tmp_path / "mlflow.db").touch()  # as killed processes of old left it
    prepare_store(uri)
    assert MlflowClient(uri).search_experiments()


def test_artifacts_that_are_elsewhere_on_purpose_stay(tmp_path: Path, empty_store: Path) -> None:
    big = tmp_path / "big" / "mlartifacts"
    big.mkdir(parents=True)
    uri = sqlite_uri(Path(shutil.copy(empty_store, tmp_path / "own.db")))
    client = MlflowClient(uri)
    experiment = client.create_experiment("kws", big.as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "text", "file.txt")
    prepare_store(uri)
    assert client.get_experiment(experiment).artifact_location == big.as_uri()


def test_a_store_that_moved_has_its_artifacts_beside_it(tmp_path: Path, empty_store: Path) -> None:
    old, new = tmp_path / "old 100%", tmp_path / "new"
    old.mkdir()
    shutil.copy(empty_store, old)
    run = begin_run(sqlite_uri(old / "mlflow.db"), "kws", "one", {})
    shutil.copytree(old, new)
    uri = sqlite_uri(new / "mlflow.db")
    client_of(uri).log_text(run.run_id, "text", "file.txt")
    assert (new / "mlartifacts" / run.run_id / "artifacts/file.txt").read_text() == "text"
    assert not (old / "mlartifacts").exists()
    assert begin_run(uri, "kws", "two", {}) and not (old / "mlartifacts").exists()
