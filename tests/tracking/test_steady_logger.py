"""A store in a file stands for the server here; `test_outages` has the real ones."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from speech_commands_kws.tracking.experiments import read_standings
from speech_commands_kws.tracking.mlflow_run import client_of, read_record
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.outbox import Journal
from speech_commands_kws.tracking.recording import log_artifacts, log_start, mlflow_logger, recorded
from speech_commands_kws.tracking.steady_logger import OUTBOX_NAME, SteadyMLFlowLogger

CONFIG = {"optimizer": {"lr": 0.1}}


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Path:
    for folder in ("there", "local"):
        (tmp_path / folder).mkdir()
        shutil.copy(empty_store, tmp_path / folder)
    return tmp_path / "there" / "mlflow.db"


def open_logger(store: Path, folder: Path, local: str = "local", **settings) -> SteadyMLFlowLogger:
    settings = {"retry_seconds": 0.01, "close_seconds": 0.1, **settings}
    uri = sqlite_uri(store)
    return mlflow_logger(uri, "kws-test", folder / "run", folder / local, **settings)


def away(store: Path) -> Path:
    """Where the store is while it is away."""
    return store.rename(store.with_name("elsewhere"))


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
        with logger.outbox.changed:
            assert logger.outbox.changed.wait_for(lambda: not logger.outbox.waiting, 60)
        elsewhere = away(store)
        logger.log_metrics({"loss": 2.0}, 1)
        log_artifacts(logger, [picture], "plots")
    elsewhere.rename(store)
    assert losses(client_of(sqlite_uri(store)), first_id) == [(0, 3.0)]
    record = read_record(tmp_path / "run")
    assert record.tracking_uri == sqlite_uri(tmp_path / "local" / "mlflow.db")
    assert logger.run_id == record.run_id != first_id
    client = client_of(record.tracking_uri)
    run = client.get_run(record.run_id)
    assert losses(client, record.run_id) == [(0, 3.0), (1, 2.0)]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params == {"optimizer.lr": "0.1"} and run.data.metrics["parameters"] == 9232
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
    (standing,) = read_standings(local, "kws-test")
    assert standing.run_id == logger.run_id != first_id


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
    journal = Journal(tmp_path / "run" / OUTBOX_NAME)
    assert len(journal.waiting(record.run_id)) == 2
    last = caplog.messages[-1]
    assert str(journal.path) in last and f"kws train resume=true run={tmp_path / 'run'}" in last
    elsewhere.rename(store)
    resumed = open_logger(store, tmp_path)
    resumed.log_metrics({"loss": 2.0}, 1)
    resumed.close("FINISHED")
    client = client_of(sqlite_uri(store))
    assert losses(client, record.run_id) == [(0, 3.0), (1, 2.0)]
    assert client.get_run(record.run_id).info.status == "FINISHED"
    assert not journal.path.exists()


def test_a_run_that_begins_anew_takes_what_the_old_one_had(store, tmp_path) -> None:
    killed = open_logger(store, tmp_path)
    killed.log_metrics({"loss": 3.0}, 0)
    with killed.outbox.changed:
        assert killed.outbox.changed.wait_for(lambda: not killed.outbox.waiting, 60)
        killed.outbox.closed = True
    away(store)
    local = tmp_path / "local" / "mlflow.db"
    logger = open_logger(local, tmp_path)
    logger.close("FINISHED")
    assert logger.run_id != killed.run_id
    assert losses(client_of(sqlite_uri(local)), logger.run_id) == [(0, 3.0)]
