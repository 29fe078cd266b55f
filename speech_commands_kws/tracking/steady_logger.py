"""Lightning's logger for trainings that outlive their MLflow server."""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger

from speech_commands_kws.cli.overrides import resume_command
from speech_commands_kws.errors import summarize_error
from speech_commands_kws.tracking.mlflow_run import (
    SERVER_RUN_TAG,
    SERVER_TAG,
    Destination,
    MlflowRun,
    metrics_item,
    params_item,
    path_item,
    status_item,
    tags_item,
    text_item,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import server_command
from speech_commands_kws.tracking.outbox import Journal, Outbox, StoreAway
from speech_commands_kws.tracking.system_metrics import SystemMetrics

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LOG = logging.getLogger(__name__)
OUTBOX_NAME = "mlflow_outbox.jsonl"


class SteadyMLFlowLogger(Logger):
    """Records a training in MLflow: every call returns at once, and `close` delivers what is left.

    Args:
        record: the MLflow run.
        run_folder: remembers the run, and holds what is not delivered.
        begin_locally: makes a run in the local store, given when it began, for the case that the run's own store is
            away at the end.
        probe_seconds: within which a server must answer.
        retry_seconds: pause before a server that was away is asked again.
        close_seconds: how long the end of the training waits for a server that is away.
        system_metrics_seconds: between two measurements of the machine; None: none is made.
    """

    def __init__(
        self,
        record: MlflowRun,
        run_folder: Path,
        begin_locally: Callable[[float | None], MlflowRun],
        probe_seconds: float,
        retry_seconds: float,
        close_seconds: float,
        system_metrics_seconds: float | None,
    ):
        super().__init__()
        self.record, self.run_folder, self.begin_locally = record, run_folder, begin_locally
        self.probe_seconds, self.close_seconds = probe_seconds, close_seconds
        destination = Destination(record, probe_seconds)
        self.outbox = Outbox(
            Journal(run_folder / OUTBOX_NAME),
            record.run_id,
            record.tracking_uri,
            destination.deliver,
            destination.fault,
            retry_seconds,
        )
        self.system_metrics = None
        if system_metrics_seconds is not None:
            self.system_metrics = SystemMetrics(self.outbox, record, system_metrics_seconds)

    @property
    def name(self) -> str:
        return "mlflow"

    @property
    def version(self) -> str:
        return self.run_id

    @property
    def run_id(self) -> str:
        return self.record.run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.outbox.put(metrics_item(metrics, step))

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self.outbox.put(params_item(params))

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        self.outbox.put(tags_item(tags))

    def log_text(self, text: str, file: str) -> None:
        self.outbox.put(text_item(text, file))

    def log_files(self, paths: Iterable[str | Path], artifact_path: str | None) -> None:
        """Files or folders, which must stay where they are until the training is over."""
        for path in paths:
            self.outbox.put(path_item(path, artifact_path))

    def log_status(self, status: str) -> None:
        """RUNNING, FINISHED, FAILED or KILLED."""
        self.outbox.put(status_item(status))

    def close(self, status: str) -> None:
        """The end of the training: deliver what is left, or put the whole record into the local store."""
        if self.system_metrics:
            self.system_metrics.finish()
        self.log_status(status)
        if not self.outbox.close(self.close_seconds):
            self._keep_locally(status)
        if not self.outbox.waiting:
            self.outbox.journal.path.unlink(missing_ok=True)

    def _keep_locally(self, status: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            local = self._copy_to_local_store(status)
        except (MlflowException, StoreAway, sqlite3.Error, OSError) as error:
            LOG.warning(
                "MLflow at %s is away, and the local store fails (%s): the records stay in %s; this delivers them: %s",
                self.record.tracking_uri,
                summarize_error(error),
                self.outbox.journal.path,
                resume_command(self.run_folder),
            )
            return
        LOG.warning(
            "MLflow at %s is away: the whole record of this run is now in %s, which this shows: %s",
            self.record.tracking_uri,
            local.tracking_uri,
            server_command(local.tracking_uri, self.record.tracking_uri),
        )
        self.record = local
        self.outbox.waiting.clear()

    def _copy_to_local_store(self, status: str) -> MlflowRun:
        local = self.begin_locally(self.record.began)
        items = self.outbox.journal.items()
        server = {SERVER_TAG: self.record.tracking_uri, SERVER_RUN_TAG: self.record.run_id}
        items.append(tags_item(server))
        destination = Destination(local, self.probe_seconds)
        while items:
            del items[: destination.deliver(items)]
        end_if_known(destination.client, self.record.run_id, status)
        write_record(self.run_folder, local)
        return local


def end_if_known(client: "MlflowClient", run_id: str, status: str) -> None:
    """A server that kept its runs in the local store has left the run there, and would show it as running for ever."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException:
        return
    client.set_terminated(run_id, status)
