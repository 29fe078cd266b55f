import logging
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException, RestException, get_error_code
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.tracking import MlflowClient
from mlflow_servers import free_address
from requests import HTTPError, Response

from speech_commands_kws.tracking.mlflow_run import MlflowRun, begin_run, client_of
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.run_log import (
    LOG_NAME,
    RunWriter,
    StoreUnavailable,
    append_entry,
    metrics_entry,
    path_entry,
    read_entries,
    sync,
)

PROBE_SECONDS = 1.5
FINISHED = {"status": "FINISHED", "time": 5}


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return sqlite_uri(Path(shutil.copy(empty_store, tmp_path_factory.mktemp("store"))))


@pytest.fixture
def writer(uri: str) -> RunWriter:
    return RunWriter(begin_run(uri, "kws-test", "a run", {"tag": "value"}), PROBE_SECONDS)


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return client_of(uri)


def test_what_is_sent_twice_is_there_once(writer, client, tmp_path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    entries = [
        {"params": {"lr": "0.1", "words": "['yes']"}},
        {"tags": {"labels": "['yes']"}},
        metrics_entry({"loss": 1.0, "accuracy": 0.5}, 3),
        metrics_entry({"loss": float("nan")}, 4),
        {"text": "lr: 0.1", "file": "config.yaml"},
        path_entry(tmp_path / "picture.png", "plots"),
        path_entry(tmp_path, "folder"),
        {"status": "FINISHED", "time": 2 * metrics_entry({})["time"]},
    ]
    for _ in range(2):
        writer.send(entries)
    run_id = writer.record.run_id
    run = client.get_run(run_id)
    assert run.data.params == {"lr": "0.1", "words": "['yes']"}
    assert run.data.tags["labels"] == "['yes']" and run.info.status == "FINISHED"
    history = client.get_metric_history(run_id, "loss")
    assert [metric.step for metric in history] == [3, 4]
    assert history[0].timestamp == entries[2]["time"]
    assert run.info.end_time == entries[-1]["time"]
    paths = {
        file.path
        for folder in ("plots", "folder")
        for file in client.list_artifacts(run_id, folder)
    }
    assert paths == {"plots/picture.png", "folder/picture.png"}
    writer.send([{"status": "RUNNING", "time": 0}])
    assert client.get_run(run_id).info.status == "RUNNING"


def test_many_metrics_go_in_as_many_requests_as_mlflow_takes(writer, client) -> None:
    entries = [metrics_entry({f"metric{i}": i for i in range(600)}, step) for step in range(5)]
    writer.send(entries)
    history = client.get_metric_history(writer.record.run_id, "metric599")
    assert [metric.step for metric in history] == [0, 1, 2, 3, 4]


def test_what_is_refused_is_named_once_and_left_out(writer, client, caplog, tmp_path) -> None:
    entries = [metrics_entry({name: 1.0}, 0) for name in ("good", "bad:=", "worse:=", "fine")]
    entries += [
        path_entry(tmp_path / "missing.png", None),
        {"params": {"a": "1"}},
        {"params": {"a": "2"}},
    ]
    writer.send(entries)
    data = client.get_run(writer.record.run_id).data
    assert data.metrics == {"good": 1.0, "fine": 1.0} and data.params == {"a": "1"}
    about_metrics, about_file = caplog.messages
    assert "metrics" in about_metrics and str(tmp_path / "missing.png") in about_file


def refusal(status: int, content: bytes = b"<html>") -> HTTPError:
    response = Response()
    response.status_code, response._content = status, content
    return HTTPError(response=response)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("failed with timeout"),
        MlflowException("the server came back without the run", RESOURCE_DOES_NOT_EXIST),
        # of a proxy: without one of MLflow's own codes it says nothing about the entry
        MlflowException("Response body: '<html>'", get_error_code(400)),
        MlflowException("Response body: '<html>'", get_error_code(429)),
        RestException({"error": "bad request"}),
        RestException({"error_code": "REQUEST_LIMIT_EXCEEDED"}),
        refusal(400),
        refusal(400, b'{"error": "bad request"}'),
        refusal(429),
        refusal(503),
        HTTPError("no connection"),
    ],
)
def test_what_may_pass_is_no_refusal(writer, monkeypatch, error) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer.client, "log_batch", fail)
    with pytest.raises(StoreUnavailable):
        writer.send([metrics_entry({"loss": 1.0}, 0)])


@pytest.mark.parametrize(
    "error", [refusal(413), refusal(400, b'{"error_code": "INVALID_PARAMETER_VALUE"}')]
)
def test_an_artifact_store_that_refuses_does_not_stop_the_rest(
    writer, monkeypatch, caplog, error
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer.client, "log_artifact", fail)
    writer.send([path_entry("large.png", None), metrics_entry({"loss": 1.0}, 0)])
    assert "large.png" in caplog.text
    assert writer.client.get_run(writer.record.run_id).data.metrics == {"loss": 1.0}


def test_a_server_that_is_away_is_found_soon(caplog) -> None:
    caplog.set_level(logging.INFO)
    writer = RunWriter(MlflowRun(free_address(), "ab12"), PROBE_SECONDS)
    with pytest.raises(StoreUnavailable, match="refused"):
        writer.send([metrics_entry({"loss": 1.0}, 0)])
    assert not caplog.records


def test_entries_are_added_in_their_order(writer, monkeypatch) -> None:
    kinds = ["metrics", "tags", "metrics", "metrics", "status", "params", "status"]
    entries = [
        {kind: {}, "time": i, "step": i} | ({"status": str(i)} if kind == "status" else {})
        for i, kind in enumerate(kinds)
    ]
    added: list[int] = []
    monkeypatch.setattr(writer, "_add", lambda entry: added.append(entry["time"]))
    monkeypatch.setattr(
        writer, "_add_metrics", lambda group: added.extend(entry["time"] for entry in group)
    )
    writer.send(entries)
    assert added == list(range(len(kinds)))


def test_a_line_that_a_killed_process_left_spoils_no_other(tmp_path) -> None:
    log_file = tmp_path / LOG_NAME
    assert read_entries(log_file) == []
    append_entry(log_file, {"tags": {"a": "1"}})
    with log_file.open("a") as file:
        file.write('\n{"tags": {"b')
    append_entry(log_file, FINISHED)
    assert read_entries(log_file) == [{"tags": {"a": "1"}}, FINISHED]


def test_what_a_training_that_is_over_left_is_sent_once_and_forgotten(
    writer, client, tmp_path
) -> None:
    log_file = tmp_path / LOG_NAME
    sync(tmp_path, writer)
    append_entry(log_file, metrics_entry({"loss": 1.0}, 2))
    sync(tmp_path, writer)  # the training may still go on
    assert log_file.exists() and not client.get_run(writer.record.run_id).data.metrics
    append_entry(log_file, FINISHED)
    sync(tmp_path, writer)
    run = client.get_run(writer.record.run_id)
    assert run.data.metrics == {"loss": 1.0} and run.info.status == "FINISHED"
    assert not log_file.exists()
