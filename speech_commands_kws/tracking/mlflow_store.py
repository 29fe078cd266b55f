"""Which MLflow store is used: the server at an address where one answers, otherwise a SQLite file of our own."""

import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from speech_commands_kws.cli.passwords import MLFLOW_PASSWORD, with_password
from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.files.atomic import replacing

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from requests import Response

LOG = logging.getLogger(__name__)
STORE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlartifacts"
SQLITE_PREFIX = "sqlite:///"
LOCK_SECONDS = 60.0
ARTIFACT_PLACE = re.compile(f"file:.*/{ARTIFACTS_NAME}(?=/|$)")
ARTIFACT_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
PROBED = "/api/2.0/mlflow/experiments/search"
OK = 200
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


def client_of(uri: str) -> "MlflowClient":
    """A client of the store, which is made where it is a SQLite file, with the password of the environment."""
    prepare_client()
    from mlflow.tracking import MlflowClient

    prepare_store(uri)
    return MlflowClient(with_password(uri, MLFLOW_PASSWORD))


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
        return absolute_uri(tracking_uri, Path()), None
    local_uri = sqlite_uri(Path(local_store) / STORE_NAME)
    if not tracking_uri:
        return local_uri, None
    fault = store_fault(tracking_uri, probe_seconds)
    return (local_uri, fault) if fault else (tracking_uri, None)


def server_command(store_uri: str, address: str) -> str:
    """The shell command that shows a SQLite store at `address`, with the settings that start fastest.

    A store below the working folder is named from there.
    """
    port = urlsplit(address).port or DEFAULT_PORT
    options = ["--backend-store-uri", store_uri]
    options += ["--artifacts-destination", str(artifact_folder(store_uri))]
    options += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    here = Path.cwd()
    if here != here.parent:
        options = [option.replace(f"{here}/", "") for option in options]
    return "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false " + shlex.join(["mlflow", "server", *options])


def store_fault(uri: str, seconds: float) -> str | None:
    """Why an existing store cannot be reached, found within `seconds`; None where it can.

    Stores that are neither a server nor a SQLite file are taken on trust.
    """
    if uri.startswith(SQLITE_PREFIX):
        return None if _sqlite_path(uri).is_file() else "no such file"
    if not is_server(uri):
        return None
    prepare_client()
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    # As MLflow's client asks, with its login, certificates and proxy: a gateway may pass nothing else.
    ask = partial(
        http_request,
        get_default_host_creds(uri),
        PROBED,
        "POST",
        json={"max_results": 1},
        timeout=seconds,
        max_retries=0,
        raise_on_status=False,
    )
    answers: SimpleQueue[str | None] = SimpleQueue()
    # In a thread, because neither the look-up of a name nor addresses tried in turn obey one time limit.
    Thread(target=lambda: answers.put(_server_fault(ask)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return f"no answer in {seconds} s"


def _server_fault(ask: Callable[[], "Response"]) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        answer = ask()
    except MlflowException as error:
        # Such as that of the socket, within that of the connection pool.
        innermost: BaseException = error
        while innermost.__context__:
            innermost = innermost.__context__
        return summarize_error(innermost)
    if answer.status_code in ASKS_FOR_LOGIN:
        return None  # the first request that is refused says why
    with suppress(ValueError):  # no JSON
        if answer.status_code == OK and isinstance(answer.json(), dict):
            return None
    return f"something else answers there, with status {answer.status_code}"


def is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def sqlite_uri(path: Path) -> str:
    return SQLITE_PREFIX + quote(path.resolve().as_posix())


def _sqlite_path(uri: str) -> Path:
    path, _, _ = uri.removeprefix(SQLITE_PREFIX).partition("?")
    return Path(unquote(path)).resolve()


def absolute_uri(uri: str, folder: Path) -> str:
    """The same store from every working folder; a SQLite file without a root lies in or above `folder`."""
    if not uri.startswith(SQLITE_PREFIX):
        return uri
    path, mark, options = uri.removeprefix(SQLITE_PREFIX).partition("?")
    return sqlite_uri(folder / unquote(path)) + mark + options


def uri_from(folder: Path, uri: str) -> str:
    """The address of a SQLite file in a folder above `folder` as seen from there, any other as it is."""
    above = folder.resolve().parents
    if not uri.startswith(SQLITE_PREFIX) or _sqlite_path(uri).parent not in above:
        return uri
    path, mark, options = uri.partition("?")
    up = "../" * (list(above).index(_sqlite_path(uri).parent) + 1)
    return SQLITE_PREFIX + up + path.rpartition("/")[2] + mark + options


def prepare_store(uri: str) -> None:
    """Make the SQLite store at `uri` whole or not at all; one that was moved has its artifacts beside it."""
    if not uri.startswith(SQLITE_PREFIX):
        return
    path = _sqlite_path(uri)
    if not path.is_file() or not path.stat().st_size:
        # A process that is killed while it makes the tables would leave what MLflow cannot open.
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with replacing(path) as partial:
                _make_tables(partial)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise KwsError(
                f"the MLflow store {uri} cannot be made ({summarize_error(error)}): free the disk, or train without: "
                "logger=none"
            ) from error
    elif os.access(path, os.W_OK):
        _move_artifacts(path)


def _make_tables(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(sqlite_uri(path), (path.parent / ARTIFACTS_NAME).as_uri())
    store.engine.dispose()


def _move_artifacts(path: Path) -> None:
    """MLflow keeps the places of artifacts as absolute addresses: those of a store that was moved or copied are mended.

    A user's store may have its artifacts elsewhere on purpose: these stay.
    """
    folder = path.parent / ARTIFACTS_NAME
    now = folder.as_uri()
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database, database:
        places = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        found = [ARTIFACT_PLACE.match(place) for (place,) in places if place]
        for before in {match[0] for match in found if match and match[0] != now}:
            old = Path(url2pathname(urlsplit(before).path))
            is_copy = (old.parent / path.name).is_file()
            if not is_copy and (old.is_dir() or not folder.is_dir()):
                continue
            for table, column in ARTIFACT_COLUMNS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )


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
