"""Lightning's logger for trainings that outlive their MLflow server."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from lightning.pytorch.loggers import Logger

from speech_commands_kws.cli.overrides import resume_command
from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.tracking.mlflow_run import (
    SERVER_RUN_TAG,
    SERVER_TAG,
    MlflowRun,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import server_command
from speech_commands_kws.tracking.run_log import (
    LOG_NAME,
    Entry,
    RunWriter,
    StoreUnavailable,
    append_entry,
    metrics_entry,
    now_ms,
    path_entry,
    read_entries,
)
from speech_commands_kws.tracking.system_metrics import SystemMetrics

LOG = logging.getLogger(__name__)


class BufferedMLFlowLogger(Logger):
    """Records a training in MLflow: every call returns at once, and `close` sends what is left.

    Each call becomes an entry in a log file in the run folder. A thread sends what the store lacks, pauses, and does so
    again. What a killed process left in the file is sent as a whole: MLflow has an entry once, however often it comes.

    Args:
        record: the MLflow run.
        run_folder: remembers the run, and holds the log file until all of it is sent.
        begin_locally: makes a run in the local store, given when it began, for the case that the run's own store is
            away at the end.
        probe_seconds: within which a server must answer.
        retry_seconds: pause between two attempts to send.
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
        self.run_folder, self.begin_locally = run_folder, begin_locally
        self.retry_seconds, self.close_seconds = retry_seconds, close_seconds
        self.writer = RunWriter(record, probe_seconds)
        self.log_file = run_folder / LOG_NAME
        self.entries = read_entries(self.log_file)
        self.n_sent = 0
        self.is_away = False
        self.deadline = 0.0  # of the attempts after the end
        self.adding = Lock()
        self.closing, self.closed = Event(), Event()
        self.thread = Thread(target=self._send_until_closed, name="MLflow", daemon=True)
        self.thread.start()
        self.system_metrics = None
        if system_metrics_seconds is not None:
            self.system_metrics = SystemMetrics(self.log_metrics, record, system_metrics_seconds)

    @property
    def record(self) -> MlflowRun:
        return self.writer.record

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
        self._add(metrics_entry(metrics, step))

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self._add({"params": {name: str(value) for name, value in params.items()}})

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        self._add({"tags": {name: str(value) for name, value in tags.items()}})

    def log_dataset(self, name: str, digest: str) -> None:
        self._add({"dataset": name, "digest": digest})

    def log_text(self, text: str, file: str) -> None:
        self._add({"text": text, "file": file})

    def log_files(self, paths: Iterable[str | Path], artifact_path: str | None) -> None:
        """Files or folders, which must stay where they are until the training is over."""
        for path in paths:
            self._add(path_entry(path, artifact_path))

    def log_status(self, status: str) -> None:
        """RUNNING, FINISHED, FAILED or KILLED."""
        self._add({"status": status, "time": now_ms()})

    def unsent(self) -> list[Entry]:
        return self.entries[self.n_sent :]

    def close(self, status: str) -> None:
        """The end of the training: send what is left, or put the whole record into the local store."""
        if self.system_metrics:
            self.system_metrics.finish()
        self.log_status(status)
        self.deadline = time.monotonic() + self.close_seconds
        self.closing.set()
        while self.thread.is_alive():  # as long as the store answers
            self.thread.join(self.close_seconds + 1)
            if self.writer.fault():
                break
        self.closed.set()
        if not self.unsent() or self._keep_locally(status):
            self.log_file.unlink(missing_ok=True)

    def _add(self, entry: Entry) -> None:
        with self.adding:
            append_entry(self.log_file, entry)
            self.entries.append(entry)

    def _send_until_closed(self) -> None:
        """Send what the store lacks, pause, repeat."""
        while not self.closed.is_set():
            is_last = self.closing.is_set()  # an attempt that begins after it sends everything
            entries = self.unsent()
            try:
                self.writer.send(entries)
            except StoreUnavailable as reason:
                if not self.is_away and not self.closed.is_set():
                    LOG.warning(
                        "MLflow at %s is unreachable (%s): training continues, and its records are kept in %s",
                        self.record.tracking_uri,
                        reason,
                        self.log_file,
                    )
                self.is_away = True
                if is_last and time.monotonic() > self.deadline:
                    return
            else:
                if self.is_away and entries:
                    LOG.info(
                        "MLflow at %s is reachable again: sending the records it missed",
                        self.record.tracking_uri,
                    )
                    self.is_away = False
                self.n_sent += len(entries)
                if is_last:
                    return
            (self.closed if is_last else self.closing).wait(self.retry_seconds)

    def _keep_locally(self, status: str) -> bool:
        from mlflow.exceptions import MlflowException

        server = self.record
        tags = {SERVER_TAG: server.tracking_uri, SERVER_RUN_TAG: server.run_id}
        try:
            local = RunWriter(self.begin_locally(server.began), self.writer.probe_seconds)
            local.send([*self.entries, {"tags": tags}])
        except (MlflowException, StoreUnavailable, KwsError, OSError) as error:
            LOG.warning(
                "MLflow at %s is unreachable, and the local store fails (%s): records stay in %s; this sends them: %s",
                server.tracking_uri,
                summarize_error(error),
                self.log_file,
                resume_command(self.run_folder),
            )
            return False
        # A server that kept its runs in the local store has left the run there, and would show it as running for ever.
        with suppress(MlflowException):
            local.client.set_terminated(server.run_id, status)
        write_record(self.run_folder, local.record)
        self.writer = local
        LOG.warning(
            "MLflow at %s is unreachable: the whole record of this run is now in %s, which this shows: %s",
            server.tracking_uri,
            self.record.tracking_uri,
            server_command(self.record.tracking_uri, server.tracking_uri),
        )
        return True
