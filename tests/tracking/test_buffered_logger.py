"""A store in a file stands for the server here; `test_outages` has the real ones."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from mlflow.tracking import MlflowClient

from speech_commands_kws.tracking import buffered_logger
from speech_commands_kws.tracking.buffered_logger import BufferedMLFlowLogger
from speech_commands_kws.tracking.experiments import read_runs
from speech_commands_kws.tracking.mlflow_run import client_of, read_record
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.recording import (
    log_start,
    log_to_run,
    mlflow_logger,
    recorded,
)
from speech_commands_kws.tracking.run_log import LOG_NAME, StoreUnavailable, read_entries

PATIENCE_SECONDS = 60
CONFIG = {"optimizer": {"lr": 0.1}}


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Path:
    for folder in ("there", "local"):
        (tmp_path / folder).mkdir()
        shutil.copy(empty_store, tmp_path / folder)
    return tmp_path / "there" / "mlflow.db"


def open_logger(
    store: Path, folder: Path, local: str = "local", **settings
) -> BufferedMLFlowLogger:
    settings = {"retry_seconds": 0.01, "close_seconds": 0.1, **settings}
    uri = sqlite_uri(store)
    return mlflow_logger(uri, "kws-test", folder / "run", folder / local, **settings)


def away(store: Path) -> Path:
    """Where the store is while it is away."""
    return store.rename(store.with_name("elsewhere"))


def await_that(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def losses(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "loss")]


def test_the_local_store_gets_the_whole_history_and_not_only_the_gap(store, tmp_path) -> None:
    picture = tmp_path / "curve.png"
    picture.write_bytes(b"png")
    logger = open_logger(store, tmp_path, system_metrics=True, system_metrics_seconds=1000)
    first_id = logger.run_id
    with recorded(logger):
        log_start(logger, CONFIG, {"parameters": 9232})
        logger.log_metrics({"loss": 3.0}, 0)
        await_that(lambda: not logger.unsent())
        elsewhere = away(store)
        logger.log_metrics({"loss": 2.0}, 1)
        logger.log_files([picture], "plots")
    elsewhere.rename(store)
    assert losses(client_of(sqlite_uri(store)), first_id) == [(0, 3.0)]
    record = read_record(tmp_path / "run")
    assert record.tracking_uri == sqlite_uri(tmp_path / "local" / "mlflow.db")
    assert logger.run_id == record.run_id != first_id
    client = client_of(record.tracking_uri)
    run = client.get_run(record.run_id)
    assert losses(client, record.run_id) == [(0, 3.0), (1, 2.0)]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params == {"optimizer.lr": "0.1", "parameters": "9232"}
    assert "system/cpu_utilization_percentage" in run.data.metrics
    names = {file.path for file in client.list_artifacts(record.run_id)}
    assert names == {"config.yaml", "plots"}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mlflow.json"]


def test_a_run_that_the_server_left_in_the_same_store_is_ended_and_shown_once(
    store, tmp_path
) -> None:
    logger = open_logger(store, tmp_path)
    first_id = logger.run_id
    shutil.copy(store, tmp_path / "local")  # as if the server kept its runs there
    with recorded(logger):
        away(store)
        logger.log_metrics({"loss": 2.0}, 1)
    local = sqlite_uri(tmp_path / "local" / "mlflow.db")
    assert client_of(local).get_run(first_id).info.status == "FINISHED"
    assert list(read_runs(local, "kws-test")["run_id"]) == [logger.run_id]
    assert logger.run_id != first_id


def test_where_the_local_store_fails_too_the_records_wait_for_the_next_process(
    store, tmp_path, caplog
) -> None:
    logger = open_logger(store, tmp_path, local="mlflow.db/blocked")
    record = logger.record
    (tmp_path / "mlflow.db").touch()
    elsewhere = away(store)
    logger.log_metrics({"loss": 3.0}, 0)
    logger.close("FAILED")
    assert read_record(tmp_path / "run") == record
    log_file = tmp_path / "run" / LOG_NAME
    assert len(read_entries(log_file)) == 2
    last = caplog.messages[-1]
    assert str(log_file) in last and f"kws train resume=true run={tmp_path / 'run'}" in last
    elsewhere.rename(store)
    resumed = open_logger(store, tmp_path)
    resumed.log_metrics({"loss": 2.0}, 1)
    resumed.close("FINISHED")
    client = client_of(sqlite_uri(store))
    assert losses(client, record.run_id) == [(0, 3.0), (1, 2.0)]
    assert client.get_run(record.run_id).info.status == "FINISHED"
    assert not log_file.exists()


def test_a_run_that_begins_anew_takes_what_the_old_one_had(store, tmp_path) -> None:
    killed = open_logger(store, tmp_path)
    killed.log_metrics({"loss": 3.0}, 0)
    await_that(lambda: not killed.unsent())
    killed.closed.set()
    away(store)
    local = tmp_path / "local" / "mlflow.db"
    logger = open_logger(local, tmp_path)
    logger.close("FINISHED")
    assert logger.run_id != killed.run_id
    assert losses(client_of(sqlite_uri(local)), logger.run_id) == [(0, 3.0)]


def test_a_finished_training_sends_the_rest_with_the_next_command(store, tmp_path) -> None:
    logger = open_logger(store, tmp_path, local="mlflow.db/blocked")
    (tmp_path / "mlflow.db").touch()
    elsewhere = away(store)
    logger.log_metrics({"loss": 3.0}, 0)
    logger.close("FINISHED")
    elsewhere.rename(store)
    log_to_run(tmp_path / "run", metrics={"test_accuracy": 0.5})
    run = client_of(sqlite_uri(store)).get_run(logger.run_id)
    assert run.data.metrics == {"loss": 3.0, "test_accuracy": 0.5}
    assert run.info.status == "FINISHED"
    assert not (tmp_path / "run" / LOG_NAME).exists()


# A store that does what a test wants


class Attempts:
    """Counts the attempts to send, which wait for `released`, and fail as long as `error` is given."""

    def __init__(self, logger: BufferedMLFlowLogger, monkeypatch: pytest.MonkeyPatch):
        self.count, self.error, self.pause = 0, None, 0.0
        self.asked, self.released = Event(), Event()
        self.released.set()
        self.send = logger.writer.send
        monkeypatch.setattr(logger.writer, "send", self)

    def __call__(self, entries: list) -> None:
        if not entries:
            return
        self.count += 1
        self.asked.set()
        assert self.released.wait(PATIENCE_SECONDS)
        time.sleep(self.pause)
        if self.error:
            raise self.error
        self.send(entries)


def test_a_store_that_hangs_holds_nobody_up(store, tmp_path, monkeypatch) -> None:
    logger = open_logger(store, tmp_path)
    attempts = Attempts(logger, monkeypatch)
    monkeypatch.setattr(logger.writer, "fault", lambda: "no answer")
    attempts.released.clear()
    server, began = logger.writer, time.monotonic()
    logger.log_metrics({"loss": 1.0}, 0)
    assert attempts.asked.wait(PATIENCE_SECONDS)
    logger.log_metrics({"loss": 2.0}, 1)
    logger.close("FINISHED")
    assert time.monotonic() - began < 10 and logger.writer is not server  # the local store's
    attempts.released.set()
    logger.thread.join(PATIENCE_SECONDS)
    assert attempts.count == 1  # after the end nothing is sent


def test_an_outage_is_survived_and_told_once(store, tmp_path, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "speech_commands_kws")
    logger = open_logger(store, tmp_path)
    attempts = Attempts(logger, monkeypatch)
    attempts.error = StoreUnavailable("no answer")
    for i in range(3):
        logger.log_metrics({"loss": float(i)}, i)
    await_that(lambda: attempts.count > 3)
    attempts.error = None
    logger.log_metrics({"loss": 3.0}, 3)
    logger.close("FINISHED")
    assert losses(logger.writer.client, logger.run_id) == [(i, i) for i in range(4)]
    lost, back = [message for message in caplog.messages if message.startswith("MLflow")]
    assert "is unreachable (no answer)" in lost and str(logger.log_file) in lost
    assert "reachable again" in back


def test_the_end_makes_a_last_attempt_at_once(store, tmp_path, monkeypatch) -> None:
    logger = open_logger(store, tmp_path)
    attempts = Attempts(logger, monkeypatch)
    attempts.error = StoreUnavailable("no answer")
    logger.log_metrics({"loss": 1.0}, 0)
    await_that(lambda: logger.is_away)
    logger.retry_seconds = 1000.0
    time.sleep(0.1)  # the pause that began before
    attempts.error = None
    logger.close("FINISHED")
    assert losses(client_of(sqlite_uri(store)), logger.run_id) == [(0, 1.0)]


def test_a_slow_store_is_waited_for(store, tmp_path, monkeypatch) -> None:
    logger = open_logger(store, tmp_path, close_seconds=0.0)
    attempts = Attempts(logger, monkeypatch)
    attempts.pause = 1.2
    for i in range(3):
        logger.log_metrics({"loss": float(i)}, i)
    logger.close("FINISHED")
    assert losses(client_of(sqlite_uri(store)), logger.run_id) == [(i, i) for i in range(3)]


@pytest.mark.parametrize("error", [StoreUnavailable("no such run"), ZeroDivisionError()])
def test_a_store_that_answers_and_takes_nothing_is_given_up(
    store, tmp_path, monkeypatch, error
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    logger = open_logger(store, tmp_path)
    Attempts(logger, monkeypatch).error = error
    logger.log_metrics({"loss": 1.0}, 0)
    logger.close("FINISHED")
    local = sqlite_uri(tmp_path / "local" / "mlflow.db")
    assert logger.record.tracking_uri == local
    assert losses(client_of(local), logger.run_id) == [(0, 1.0)]


def test_an_entry_is_in_the_log_before_it_can_be_sent(store, tmp_path, monkeypatch) -> None:
    logger = open_logger(store, tmp_path)
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            assert not logger.entries, "a process killed here would have sent what its log lacks"
            raise OSError("no space left")

        patch.setattr(buffered_logger, "append_entry", full)
        with pytest.raises(OSError, match="no space"):
            logger.log_metrics({"loss": 1.0}, 0)
    logger.close("FINISHED")
