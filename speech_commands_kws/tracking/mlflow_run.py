"""One run in an MLflow store: how it begins, and how a run folder remembers it."""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.files.lock import locked
from speech_commands_kws.tracking.mlflow_store import (
    absolute_uri,
    artifact_folder,
    client_of,
    is_server,
    prepare_client,
    uri_from,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RECORD_NAME = "mlflow.json"
LOCK_NAME = "mlflow.db.lock"
RUNNING = "RUNNING"
MS_PER_SECOND = 1000
# The page of a run otherwise opens among the views for language models.
FOR_TRAINING = "?workflowType=machine_learning"
# Tags of a run in the local store that began on a server.
SERVER_TAG, SERVER_RUN_TAG = "server.tracking_uri", "server.run_id"

LOG = logging.getLogger(__name__)


class MlflowRun(NamedTuple):
    """Where the MLflow run of a run folder is found, and when it began (seconds since 1970).

    The file in the run folder names a local store above it from there, so that it is found where both have moved.
    """

    tracking_uri: str
    run_id: str
    began: float | None = None


def read_record(run_folder: str | Path) -> MlflowRun | None:
    """What a run folder remembers; a copy of one that is still there remembers none: it is the original's."""
    folder = Path(run_folder)
    record, original = _read_file(folder)
    with suppress(OSError):  # the original is gone: it was moved
        if not original.samefile(folder) and _read_file(original)[0] == record:
            LOG.warning("%s is a copy of %s, whose MLflow run is left as it is", folder, original)
            return None
    return record


def _read_file(folder: Path) -> tuple[MlflowRun | None, Path]:
    """The record in a folder, and the folder that it was written for."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None, folder
    try:
        content = json.loads(path.read_text("utf-8"))
        original = Path(content.pop("folder", folder))
        record = MlflowRun(**content)
    except (ValueError, TypeError, AttributeError):
        raise KwsError(
            f"{path} is damaged: remove it, and the run is recorded as a new one"
        ) from None
    return record._replace(tracking_uri=absolute_uri(record.tracking_uri, folder)), original


def write_record(run_folder: Path, record: MlflowRun) -> None:
    uri = uri_from(run_folder, record.tracking_uri)
    content = record._replace(tracking_uri=uri)._asdict() | {"folder": str(run_folder.resolve())}
    write_whole(run_folder / RECORD_NAME, json.dumps(content))


def begin_run(
    uri: str,
    experiment_name: str,
    name: str,
    tags: Mapping[str, str],
    began: float | None = None,
) -> MlflowRun:
    """A new run in the store at `uri`, which began at a time given or now; the experiment is made if need be.

    Raises:
        MlflowException, OSError, KwsError: the store refuses, or cannot be written.
    """
    prepare_client()
    from mlflow.tracking.context.registry import resolve_tags

    artifacts = artifact_folder(uri)
    # Two first uses of one SQLite store break each other.
    lock = locked(artifacts.with_name(LOCK_NAME), "beginning a run") if artifacts else nullcontext()
    with lock:
        client = client_of(uri)
        experiment_id = ensure_experiment(client, experiment_name, artifacts)
        start_time = int((began or time.time()) * MS_PER_SECOND)
        # With the names of the user and of the program.
        run = client.create_run(experiment_id, start_time, resolve_tags(dict(tags)), name)
    if is_server(uri):
        page = f"{uri.rstrip('/')}/#/experiments/{experiment_id}/runs/{run.info.run_id}"
        LOG.info("MLflow: %s%s", page, FOR_TRAINING)
    return MlflowRun(uri, run.info.run_id, start_time / MS_PER_SECOND)


def ensure_experiment(client: "MlflowClient", name: str, artifacts: Path | None) -> str:
    """The experiment's identifier."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known:
        return known.experiment_id
    try:
        # Without a location the artifacts of a SQLite store would lie in ./mlruns of the current folder.
        return client.create_experiment(name, artifacts and artifacts.as_uri())
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise
    return client.get_experiment_by_name(name).experiment_id
