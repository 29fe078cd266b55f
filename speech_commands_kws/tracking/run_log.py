"""The log of a run in its folder, one entry a line, and how its entries come into an MLflow run.

An entry that is sent twice is there once: MLflow keys metrics by name, step, time and value.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_commands_kws.errors import summarize_error
from speech_commands_kws.tracking.mlflow_run import MS_PER_SECOND, RUNNING, MlflowRun, client_of
from speech_commands_kws.tracking.mlflow_store import prepare_client, store_fault

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from requests import Response

LOG = logging.getLogger(__name__)
LOG_NAME = "mlflow_log.jsonl"
METRICS = "metrics"
# The codes by which MLflow itself refuses an entry. With others it may take it later, also after a bare status 400,
# which a proxy gives; a run that is not there may come back as well, with the database of the server.
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")
TOO_LARGE = 413
LONGEST_DIGEST = 36  # characters of a data set's digest in MLflow

Entry = dict[str, Any]


class StoreUnavailable(Exception):
    """The store cannot take records now; later it may."""


def metrics_entry(metrics: Mapping[str, float], step: int | None = None) -> Entry:
    values = {name: float(value) for name, value in metrics.items()}
    return {METRICS: values, "step": step or 0, "time": now_ms()}


def path_entry(path: str | Path, artifact_path: str | None) -> Entry:
    """A file, or what a folder holds, as it is when it is sent."""
    return {"path": str(Path(path).absolute()), "artifact_path": artifact_path}


def kind_of(entry: Entry) -> str:
    return next(iter(entry))


def now_ms() -> int:
    return int(time.time() * MS_PER_SECOND)


def append_entry(log_file: Path, entry: Entry) -> None:
    """A line begins with its line break, so that one that a killed process left unfinished spoils no other."""
    with log_file.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(entry))


def read_entries(log_file: Path) -> list[Entry]:
    entries = []
    for line in log_file.read_text("utf-8").splitlines() if log_file.is_file() else ():
        with suppress(json.JSONDecodeError):  # empty, or cut off when its process was killed
            entries.append(json.loads(line))
    return entries


def sync(run_folder: Path, writer: "RunWriter") -> None:
    """Send what a training that is over left unsent, and forget it; nothing happens where there is nothing.

    Raises:
        StoreUnavailable: the store takes nothing now; a part may be sent.
    """
    log_file = run_folder / LOG_NAME
    entries = read_entries(log_file)
    if entries and entries[-1].get("status", RUNNING) != RUNNING:
        writer.send(entries)
        log_file.unlink()


class RunWriter:
    """Adds entries to an MLflow run.

    Args:
        record: the run.
        probe_seconds: within which its server must answer.
    """

    def __init__(self, record: MlflowRun, probe_seconds: float):
        self.record, self.probe_seconds = record, probe_seconds
        self.refused: set[str] = set()
        prepare_client()

    @cached_property
    def client(self) -> "MlflowClient":
        """Made where it is used, because that makes a SQLite store too."""
        return client_of(self.record.tracking_uri)

    def fault(self) -> str | None:
        return store_fault(self.record.tracking_uri, self.probe_seconds)

    def send(self, entries: Iterable[Entry]) -> None:
        """Add the entries in their order, metrics that follow each other at once; what is refused is left out.

        Raises:
            StoreUnavailable: the store takes nothing now; a part may be sent.
        """
        for kind, group in groupby(entries, key=kind_of):
            self._send(kind, list(group))

    def _send(self, kind: str, entries: Sequence[Entry]) -> None:
        from mlflow.exceptions import MlflowException

        # The client would wait much longer for a server that hangs.
        fault = self.fault()
        if fault:
            raise StoreUnavailable(fault)
        try:
            if kind == METRICS:
                self._add_metrics(entries)
            else:
                for entry in entries:
                    self._add(entry)
        except (MlflowException, OSError) as error:
            if not _is_refusal(error):
                raise StoreUnavailable(self.fault() or summarize_error(error)) from error
            if len(entries) > 1:  # the others may be good
                for entry in entries:
                    self._send(kind, [entry])
                return
            if kind not in self.refused:  # the next refusals of metrics would say the same
                named = entries[0].get("path", kind)
                LOG.warning("MLflow refused %s: %s", named, summarize_error(error))
            self.refused.add(kind)

    def _add_metrics(self, entries: Iterable[Entry]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, entry["time"], entry["step"])
            for entry in entries
            for name, value in entry[METRICS].items()
        ]
        self.client.log_batch(self.record.run_id, metrics)

    def _add(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, Param, RunTag

        client, run_id = self.client, self.record.run_id
        match entry:
            case {"params": params}:
                # A resumed run has them; MLflow lets none change.
                known = client.get_run(run_id).data.params
                new = [Param(name, value) for name, value in params.items() if name not in known]
                client.log_batch(run_id, params=new)
            case {"tags": tags}:
                client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
            case {"dataset": name, "digest": digest}:
                dataset = Dataset(name, digest[:LONGEST_DIGEST], "local", json.dumps({"uri": name}))
                client.log_inputs(run_id, [DatasetInput(dataset)])
            case {"text": text, "file": file}:
                client.log_text(run_id, text, file)
            case {"path": path, "artifact_path": artifact_path}:
                log = client.log_artifacts if Path(path).is_dir() else client.log_artifact
                log(run_id, path, artifact_path)
            case {"status": status} if status == RUNNING:
                client.update_run(run_id, status=status)
            case {"status": status, "time": end_time}:
                client.set_terminated(run_id, status, end_time)


def _is_refusal(error: Exception) -> bool:
    """Whether the entry itself is at fault, or a file that cannot be read, and not the way to the store."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(error, MlflowException):
        return error.error_code in REFUSALS
    if isinstance(error, RequestException):
        return error.response is not None and _refuses(error.response)
    return True


def _refuses(response: "Response") -> bool:
    """Whether an answer to an artifact means that it would never be taken."""
    with suppress(ValueError):  # no JSON: something on the way has answered
        answer = response.json()
        return isinstance(answer, dict) and answer.get("error_code") in REFUSALS
    return response.status_code == TOO_LARGE
