"""One run in an MLflow store: how it begins, how a run folder remembers it, and what can be added to it."""

import json
import logging
import time
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speech_commands_kws.errors import summarize_error
from speech_commands_kws.tracking.mlflow_store import (
    artifact_folder,
    exclusive_use,
    prepare_client,
    store_fault,
)
from speech_commands_kws.tracking.outbox import Item, StoreAway

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LOG = logging.getLogger(__name__)
RECORD_NAME = "mlflow.json"
RUNNING = "RUNNING"
MS_PER_SECOND = 1000
# Tags of a run in the local store that began on a server.
SERVER_TAG, SERVER_RUN_TAG = "server.tracking_uri", "server.run_id"
# MLflow refuses more in one request.
PARAMS_A_BATCH = 100
METRICS_A_BATCH = 1000
# Answers by which a server refuses an item; with others it may take the item later. A run that is not there (404) may
# come back as well, with the data base of the server.
REFUSALS = (400, 409, 413, 422)


class MlflowRun(NamedTuple):
    """Where the MLflow run of a run folder is found, and when it began (seconds since 1970)."""

    tracking_uri: str
    run_id: str
    began: float | None = None


def read_record(run_folder: str | Path) -> MlflowRun | None:
    path = Path(run_folder) / RECORD_NAME
    return MlflowRun(**json.loads(path.read_text("utf-8"))) if path.is_file() else None


def write_record(run_folder: Path, record: MlflowRun) -> None:
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / RECORD_NAME).write_text(json.dumps(record._asdict()), "utf-8")


def client_of(uri: str) -> "MlflowClient":
    prepare_client()
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def begin_run(
    uri: str,
    experiment_name: str,
    name: str,
    tags: Mapping[str, str],
    began: float | None = None,
) -> MlflowRun:
    """A new run in the store at `uri`, which began at a time given or now; the experiment is made if need be.

    Raises:
        MlflowException, sqlite3.Error, OSError: the store refuses, or cannot be written.
    """
    prepare_client()
    from mlflow.tracking.context.registry import resolve_tags

    with exclusive_use(uri):
        client = client_of(uri)
        experiment_id = ensure_experiment(client, experiment_name, artifact_folder(uri))
        start_time = int((began or time.time()) * MS_PER_SECOND)
        # With the names of the user and of the program.
        run = client.create_run(experiment_id, start_time, resolve_tags(dict(tags)), name)
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


# What can be added. An item twice is an item once: MLflow keys metrics by name, step, time and value.


def metrics_item(metrics: Mapping[str, float], step: int | None) -> Item:
    values = {name: float(value) for name, value in metrics.items()}
    return {"metrics": values, "step": step or 0, "time": _now_ms()}


def params_item(params: Mapping[str, Any]) -> Item:
    return {"params": {name: str(value) for name, value in params.items()}}


def tags_item(tags: Mapping[str, Any]) -> Item:
    return {"tags": {name: str(value) for name, value in tags.items()}}


def text_item(text: str, file: str) -> Item:
    return {"text": text, "file": file}


def path_item(path: str | Path, artifact_path: str | None) -> Item:
    """A file, or what a folder holds, as it is when it is delivered."""
    return {"path": str(Path(path).absolute()), "artifact_path": artifact_path}


def status_item(status: str) -> Item:
    return {"status": status, "time": _now_ms()}


def _now_ms() -> int:
    return int(time.time() * MS_PER_SECOND)


class Destination:
    """Adds items to an MLflow run.

    Args:
        record: the run.
        probe_seconds: within which its server must answer.
    """

    def __init__(self, record: MlflowRun, probe_seconds: float):
        self.record, self.probe_seconds = record, probe_seconds
        self.client = client_of(record.tracking_uri)
        self.refused: set[str] = set()

    def fault(self) -> str | None:
        return store_fault(self.record.tracking_uri, self.probe_seconds)

    def deliver(self, items: list[Item]) -> int:
        """Add the first item, and with metrics those that follow, and return how many; what is refused is left out.

        Raises:
            StoreAway: the store takes nothing now.
        """
        from mlflow.exceptions import MlflowException

        # The client would wait much longer for a server that hangs.
        fault = self.fault()
        if fault:
            raise StoreAway(fault)
        metrics = list(takewhile(lambda item: "metrics" in item, items[:METRICS_A_BATCH]))
        try:
            if metrics:
                self._add_metrics(metrics)
            else:
                self._add(items[0])
        except (MlflowException, OSError) as error:
            if not _is_refusal(error):
                raise StoreAway(self.fault() or summarize_error(error)) from error
            if len(metrics) > 1:
                return self.deliver(items[:1])  # its neighbours may be good
            self._report_refusal(items[0], error)
        return len(metrics) or 1

    def _add_metrics(self, items: list[Item]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, item["time"], item["step"])
            for item in items
            for name, value in item["metrics"].items()
        ]
        for i in range(0, len(metrics), METRICS_A_BATCH):
            self.client.log_batch(self.record.run_id, metrics[i : i + METRICS_A_BATCH])

    def _add(self, item: Item) -> None:
        run_id = self.record.run_id
        match item:
            case {"params": params}:
                self._add_params(params)
            case {"tags": tags}:
                self._add_tags(tags)
            case {"text": text, "file": file}:
                self.client.log_text(run_id, text, file)
            case {"path": path, "artifact_path": artifact_path}:
                is_folder = Path(path).is_dir()
                log = self.client.log_artifacts if is_folder else self.client.log_artifact
                log(run_id, path, artifact_path)
            case {"status": status} if status == RUNNING:
                self.client.update_run(run_id, status=status)
            case {"status": status, "time": end_time}:
                self.client.set_terminated(run_id, status, end_time)

    def _add_params(self, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        # A resumed run has them; MLflow lets none change.
        known = self.client.get_run(self.record.run_id).data.params
        new = [Param(name, value) for name, value in params.items() if name not in known]
        for i in range(0, len(new), PARAMS_A_BATCH):
            self.client.log_batch(self.record.run_id, params=new[i : i + PARAMS_A_BATCH])

    def _add_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(
            self.record.run_id, tags=[RunTag(name, value) for name, value in tags.items()]
        )

    def _report_refusal(self, item: Item, error: Exception) -> None:
        kind = next(iter(item))
        if kind not in self.refused:  # the next refusals of metrics would say the same
            LOG.warning("MLflow refused %s: %s", item.get("path", kind), summarize_error(error))
        self.refused.add(kind)


def _is_refusal(error: Exception) -> bool:
    """Whether the item itself is at fault, or a file that cannot be read, and not the way to the store."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() in REFUSALS
    if isinstance(error, RequestException):
        return error.response is not None and error.response.status_code in REFUSALS
    return True
