"""Which MLflow store is used: the server at an address where one answers, otherwise a SQLite file of our own."""

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import urlopen

from speech_commands_kws.errors import KwsError, summarize_error

LOG = logging.getLogger(__name__)
STORE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
SQLITE_PREFIX = "sqlite:///"
HEALTHY = b"OK"
ASKS_FOR_LOGIN = (401, 403)
DEFAULT_PORT = 8080
# With MLflow's own defaults (7 retries) every call to a server that went away blocks for four minutes.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def prepare_client() -> None:
    """Set how MLflow's client behaves, where the user has not; to be called before it is imported."""
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def usable_uri(tracking_uri: str | None, local_store: str | Path, probe_seconds: float) -> str:
    """`tracking_uri`; where it names a server that does not answer, or is None, the local store.

    One line is logged where the server is missing: where the record goes, and the command that shows it there.
    """
    uri, fault = _choose_store(tracking_uri, local_store, probe_seconds)
    if fault is not None:
        LOG.warning(
            "no MLflow server at %s (%s): recording into %s, which this shows there: %s",
            tracking_uri,
            fault,
            uri,
            server_command(uri, tracking_uri),
        )
    return uri


def readable_uri(tracking_uri: str | None, local_store: str | Path, probe_seconds: float) -> str:
    """The store that `usable_uri` chooses, for reading: nothing is made where there is none.

    Raises:
        KwsError: there is no store yet.
    """
    uri, fault = _choose_store(tracking_uri, local_store, probe_seconds)
    missing = store_fault(uri, probe_seconds)
    if missing:
        server = f"at {tracking_uri} ({fault}) or " if fault else ""
        raise KwsError(
            f"expected an MLflow store {server}at {uri}, found none ({missing}): "
            "train first, start the server, or name another tracking_uri"
        )
    return uri


def _choose_store(
    tracking_uri: str | None, local_store: str | Path, probe_seconds: float
) -> tuple[str, str | None]:
    """The address of the store, and why it is not the server that was asked for."""
    if tracking_uri and not is_server(tracking_uri):
        return _absolute(tracking_uri), None
    local_uri = sqlite_uri(Path(local_store) / STORE_NAME)
    if not tracking_uri:
        return local_uri, None
    fault = store_fault(tracking_uri, probe_seconds)
    return (local_uri, fault) if fault else (tracking_uri, None)


def server_command(store_uri: str, address: str) -> str:
    """The shell command that shows a SQLite store at `address`, with the settings that start fastest."""
    port = urlsplit(address).port or DEFAULT_PORT
    options = ["--backend-store-uri", store_uri]
    options += ["--artifacts-destination", str(artifact_folder(store_uri))]
    options += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false " + shlex.join(["mlflow", "server", *options])


def store_fault(uri: str, seconds: float) -> str | None:
    """Why an existing store cannot be reached, found within `seconds`; None where it can.

    Stores that are neither a server nor a SQLite file are taken on trust.
    """
    if uri.startswith(SQLITE_PREFIX):
        return None if _sqlite_path(uri).is_file() else "no such file"
    if not is_server(uri):
        return None
    answers: SimpleQueue[str | None] = SimpleQueue()
    # In a thread, because neither the look-up of a name nor addresses tried in turn obey one time limit.
    Thread(target=lambda: answers.put(_server_fault(uri, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return f"no answer in {seconds} s"


def _server_fault(uri: str, seconds: float) -> str | None:
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=seconds) as response:
            answer = response.read(len(HEALTHY))
    except HTTPError as error:
        fault = f"something else answers there, with status {error.code}"
        return None if error.code in ASKS_FOR_LOGIN else fault
    except (OSError, HTTPException, ValueError) as error:
        return summarize_error(getattr(error, "reason", error))
    return None if answer == HEALTHY else "something else answers there"


def is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def sqlite_uri(path: Path) -> str:
    return SQLITE_PREFIX + quote(path.resolve().as_posix())


def _sqlite_path(uri: str) -> Path:
    path, _, _ = uri.removeprefix(SQLITE_PREFIX).partition("?")
    return Path(unquote(path)).resolve()


def _absolute(uri: str) -> str:
    """The same store from every working folder, because the run folder remembers it."""
    if not uri.startswith(SQLITE_PREFIX):
        return uri
    _, mark, options = uri.partition("?")
    return sqlite_uri(_sqlite_path(uri)) + mark + options


def artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of a SQLite store lie: beside it. None for stores that have a place of their own."""
    return _sqlite_path(uri).parent / ARTIFACTS_NAME if uri.startswith(SQLITE_PREFIX) else None


@contextmanager
def outage_reported(what: str) -> Iterator[None]:
    """One line instead of an exception where the store cannot take `what`: a finished training must not be lost."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        LOG.warning("MLflow did not take %s: %s", what, summarize_error(error))
