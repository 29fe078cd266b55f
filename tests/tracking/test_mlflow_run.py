import logging
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.tracking import MlflowClient
from mlflow_servers import free_address
from requests import HTTPError, Response

from speech_commands_kws.tracking.mlflow_run import (
    Destination,
    MlflowRun,
    begin_run,
    client_of,
    metrics_item,
    params_item,
    path_item,
    read_record,
    status_item,
    tags_item,
    text_item,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.outbox import Item, StoreAway

PROBE_SECONDS = 1.5


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return sqlite_uri(Path(shutil.copy(empty_store, tmp_path_factory.mktemp("store"))))


@pytest.fixture
def destination(uri: str) -> Destination:
    return Destination(begin_run(uri, "kws-test", "a run", {"tag": "value"}), PROBE_SECONDS)


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return client_of(uri)


def deliver(destination: Destination, items: list[Item]) -> list[int]:
    """How many items went at a time."""
    counts, items = [], list(items)
    while items:
        counts.append(destination.deliver(items))
        del items[: counts[-1]]
    return counts


def test_a_run_begins_with_its_name_and_tags(destination, client, uri) -> None:
    run = client.get_run(destination.record.run_id)
    assert (run.info.run_name, run.info.status) == ("a run", "RUNNING")
    assert run.data.tags["tag"] == "value" and run.data.tags["mlflow.user"]
    assert run.info.start_time == round(destination.record.began * 1000)
    other = begin_run(uri, "kws-test", "another run", {})
    assert client.get_run(other.run_id).info.experiment_id == run.info.experiment_id


def test_what_is_delivered_twice_is_there_once(destination, client, tmp_path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    items = [
        params_item({"lr": 0.1, "words": ["yes"]}),
        tags_item({"labels": ["yes"]}),
        metrics_item({"loss": 1.0, "accuracy": 0.5}, 3),
        metrics_item({"loss": float("nan")}, 4),
        text_item("lr: 0.1", "config.yaml"),
        path_item(tmp_path / "picture.png", "plots"),
        path_item(tmp_path, "folder"),
        status_item("FINISHED"),
    ]
    for _ in range(2):
        assert deliver(destination, items) == [1, 1, 2, 1, 1, 1, 1]
    run_id = destination.record.run_id
    run = client.get_run(run_id)
    assert run.data.params == {"lr": "0.1", "words": "['yes']"}
    assert run.data.tags["labels"] == "['yes']" and run.info.status == "FINISHED"
    history = client.get_metric_history(run_id, "loss")
    assert [metric.step for metric in history] == [3, 4]
    assert history[0].timestamp == items[2]["time"]
    assert run.info.end_time == items[-1]["time"]
    paths = {
        file.path
        for folder in ("plots", "folder")
        for file in client.list_artifacts(run_id, folder)
    }
    assert paths == {"plots/picture.png", "folder/picture.png"}
    deliver(destination, [status_item("RUNNING")])
    assert client.get_run(run_id).info.status == "RUNNING"


def test_many_metrics_go_in_as_many_requests_as_mlflow_takes(destination, client) -> None:
    items = [metrics_item({f"metric{i}": i for i in range(600)}, step) for step in range(5)]
    assert deliver(destination, items) == [5]
    history = client.get_metric_history(destination.record.run_id, "metric599")
    assert [metric.step for metric in history] == [0, 1, 2, 3, 4]


def test_what_is_refused_is_named_once_and_left_out(destination, client, caplog, tmp_path) -> None:
    items = [metrics_item({name: 1.0}, 0) for name in ("good", "bad:=", "worse:=", "fine")]
    items += [
        path_item(tmp_path / "missing.png", None),
        params_item({"a": 1}),
        params_item({"a": 2}),
    ]
    deliver(destination, items)
    data = client.get_run(destination.record.run_id).data
    assert data.metrics == {"good": 1.0, "fine": 1.0} and data.params == {"a": "1"}
    about_metrics, about_file = caplog.messages
    assert "metrics" in about_metrics and str(tmp_path / "missing.png") in about_file


def refusal(status: int) -> HTTPError:
    response = Response()
    response.status_code = status
    return HTTPError(response=response)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("failed with timeout"),
        MlflowException("the server came back without the run", RESOURCE_DOES_NOT_EXIST),
        refusal(503),
        HTTPError("no connection"),
    ],
)
def test_what_may_pass_is_no_refusal(destination, monkeypatch, error) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(destination.client, "log_batch", fail)
    with pytest.raises(StoreAway):
        destination.deliver([metrics_item({"loss": 1.0}, 0)])


def test_an_artifact_store_that_refuses_does_not_stop_the_rest(
    destination, monkeypatch, caplog
) -> None:
    def fail(*_: object) -> None:
        raise refusal(413)

    monkeypatch.setattr(destination.client, "log_artifact", fail)
    assert deliver(destination, [path_item("large.png", None), metrics_item({"loss": 1.0}, 0)]) == [
        1,
        1,
    ]
    assert "large.png" in caplog.text


def test_a_server_that_is_away_is_found_soon(caplog) -> None:
    caplog.set_level(logging.INFO)
    destination = Destination(MlflowRun(free_address(), "ab12"), PROBE_SECONDS)
    with pytest.raises(StoreAway, match="refused"):
        destination.deliver([metrics_item({"loss": 1.0}, 0)])
    assert not caplog.records


def test_a_folder_remembers_its_run(tmp_path) -> None:
    assert read_record(tmp_path) is None
    for record in (MlflowRun("http://there", "ab12", 17.5), MlflowRun("http://there", "ab12")):
        write_record(tmp_path / "run", record)
        assert read_record(tmp_path / "run") == record
