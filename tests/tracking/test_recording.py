import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from mlflow.tracking import MlflowClient
from mlflow_servers import START_SECONDS, Server, free_address

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.mlflow_run import RECORD_NAME, MlflowRun, begin_run, write_record
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.recording import (
    flatten,
    git_commit,
    log_start,
    log_to_run,
    mlflow_logger,
    read_record,
    recorded,
    run_name,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "optimizer": {"lr": 0.1, "_target_": "torch.optim.SGD"},
    "data": {"words": [f"word{i}" for i in range(100)], "root": None, "empty": {}},
    "many": {f"key{i}": i for i in range(120)},
}
START_UP_SECONDS = 5
FACTS = {
    "parameters": 9232,
    "sample_rate": 16_000,
    "data.fingerprint": "ab12",
    "synthetic": True,
    "frontend": {},
    "parent": {"run": "before", "kept_classes": ["no"]},
    "labels": ["yes", "no"],
    "data": "tones",
    "data_fingerprint": "0123456789abcdef" * 4,
}


def open_logger(store: Path, run_folder: Path, tracking_uri: str | None = None):
    return mlflow_logger(tracking_uri, "kws-test", run_folder, store)


def read_config(client: MlflowClient, run_id: str, folder: Path) -> dict:
    return yaml.safe_load(
        Path(client.download_artifacts(run_id, "config.yaml", folder)).read_text()
    )


def artifact_names(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    return {entry.path for entry in client.list_artifacts(run_id, folder)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local store in a folder whose name needs quoting in an address."""
    return tmp_path_factory.mktemp("plots") / "é plots %20 #1"


@pytest.fixture(scope="module")
def client(store: Path, run_folder: Path) -> MlflowClient:
    return MlflowClient(sqlite_uri(store / "mlflow.db"))


@pytest.fixture(scope="module")
def run_folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training that is recorded in `store`."""
    folder = tmp_path_factory.mktemp("runs") / "2026-01-01_bcresnet"
    logger = open_logger(store, folder, free_address())
    log_start(logger, CONFIG, FACTS)
    for epoch in range(3):
        logger.log_metrics({"train_loss": 1 / (epoch + 1), "validation_accuracy": 0.5}, epoch)
    (folder / "figures").mkdir()
    (folder / "figures" / "curves.png").write_bytes(b"png")
    logger.log_files([folder / "figures"], "figures")
    logger.close("FINISHED")
    return folder


# Recorded in the local store


def test_hyper_parameters_are_recorded_by_the_name_that_overrides_them(client, run_folder) -> None:
    run = client.get_run(read_record(run_folder).run_id)
    assert run.info.run_name == "2026-01-01_bcresnet" and run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.1"
    assert run.data.params["data.root"] == "None"
    assert run.data.params["data.words"] == str(CONFIG["data"]["words"])
    assert len(run.data.params) == 125


def test_facts_are_metrics_or_tags(client, run_folder) -> None:
    data = client.get_run(read_record(run_folder).run_id).data
    assert data.params["parameters"] == "9232" and data.tags["sample_rate"] == "16000"
    assert not data.metrics.keys() & FACTS.keys(), "a constant is no metric"
    assert (data.tags["data.fingerprint"], data.tags["synthetic"]) == ("ab12", "True")
    assert "frontend" not in data.tags
    assert (data.tags["parent.run"], data.tags["parent.kept_classes"]) == ("before", "['no']")
    assert data.tags["mlflow.note.content"] == "yes, no; data: tones"


def test_the_data_set_is_an_input_of_the_run(client, run_folder) -> None:
    (used,) = client.get_run(read_record(run_folder).run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("tones", "0123456789abcdef" * 2 + "0123")


def test_metrics_are_recorded_by_epoch(client, run_folder) -> None:
    history = client.get_metric_history(read_record(run_folder).run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 1), (1, 1 / 2), (2, 1 / 3)]


def test_artifacts_lie_beside_the_store(client, run_folder, store, tmp_path) -> None:
    run_id = read_record(run_folder).run_id
    assert artifact_names(client, run_id, "figures") == {"figures/curves.png"}
    assert read_config(client, run_id, tmp_path) == CONFIG
    (picture,) = (store / "mlartifacts").rglob("curves.png")
    assert picture.read_bytes() == b"png"


def test_a_copy_of_the_folder_adds_nothing_to_the_run(client, run_folder, tmp_path) -> None:
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    log_to_run(copy, [copy / "mlflow.json"], "copied", {"copied_accuracy": 0.5})
    run_id = read_record(run_folder).run_id
    assert "copied_accuracy" not in client.get_run(run_id).data.metrics
    assert not artifact_names(client, run_id, "copied")


def test_code_version_is_recorded(client, run_folder) -> None:
    tags = client.get_run(read_record(run_folder).run_id).data.tags
    commit, dirty = git_commit(ROOT / "speech_commands_kws")
    if commit is None:
        pytest.skip("not a git checkout")
    assert tags["mlflow.source.git.commit"] == commit
    assert tags["git.dirty"] in ("true", "false")


def test_another_process_adds_its_model_and_metrics(client, run_folder, tmp_path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"onnx")
    log_to_run(run_folder, [model], "model")
    log_to_run(run_folder, metrics={"test_accuracy": 0.75})
    run_id = read_record(run_folder).run_id
    assert artifact_names(client, run_id, "model") == {"model/model.onnx"}
    assert client.get_run(run_id).data.metrics["test_accuracy"] == 0.75


def test_a_resumed_training_continues_its_run(store, client, tmp_path) -> None:
    first = open_logger(store, tmp_path / "run")
    log_start(first, CONFIG, {})
    first.close("FAILED")
    second = open_logger(store, tmp_path / "run", free_address())
    assert second.run_id == first.run_id
    log_start(second, CONFIG | {"optimizer": {"lr": 0.2}, "resume": True}, {})
    second.close("RUNNING")
    assert client.get_run(first.run_id).info.status == "RUNNING"
    params = client.get_run(first.run_id).data.params
    assert (params["optimizer.lr"], params["resume"]) == ("0.1", "True")
    assert read_config(client, first.run_id, tmp_path)["optimizer"] == {"lr": 0.2}


def test_a_run_whose_store_is_gone_begins_anew(store, tmp_path, caplog) -> None:
    gone = {"tracking_uri": sqlite_uri(tmp_path / "gone.db"), "run_id": "0" * 32}
    (tmp_path / RECORD_NAME).write_text(json.dumps(gone))
    log_to_run(tmp_path, metrics={"test_accuracy": 0.75})
    assert "not recorded" in caplog.text and not (tmp_path / "gone.db").exists()
    assert open_logger(store, tmp_path).run_id != gone["run_id"]


def test_without_a_logger_nothing_is_recorded(tmp_path) -> None:
    log_start(None, CONFIG, FACTS)
    log_to_run(tmp_path, [tmp_path / "model.onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_refuses_is_one_clear_line(store, tmp_path, client, run_folder) -> None:
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(KwsError, match="deleted.*logger.experiment_name=") as caught:
        mlflow_logger(None, "deleted", tmp_path, store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_however_a_training_ends_its_run_does(store, client, tmp_path, error, status) -> None:
    logger = open_logger(store, tmp_path / "run")
    with suppress(ValueError, KeyboardInterrupt), recorded(logger):
        if error:
            raise error
    assert client.get_run(logger.run_id).info.status == status
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RECORD_NAME]


def test_a_record_adds_little_to_the_start_of_a_training(client, store, tmp_path) -> None:
    began = time.monotonic()
    logger = mlflow_logger(None, "kws-test", tmp_path / "run", store, system_metrics=True)
    log_start(logger, CONFIG, FACTS)
    assert time.monotonic() - began < START_UP_SECONDS
    logger.close("FINISHED")


# Parent and children


def test_a_trial_is_a_child_in_the_store_of_its_parent(store, client, tmp_path) -> None:
    parent = begin_run(sqlite_uri(store / "mlflow.db"), "kws-test", "sweep", {})
    write_record(tmp_path, parent)
    logger = mlflow_logger(None, "kws-test", tmp_path / "0", tmp_path / "unused")
    logger.close("FINISHED")
    child = client.get_run(logger.run_id)
    assert child.data.tags["mlflow.parentRunId"] == parent.run_id
    assert child.info.experiment_id == client.get_run(parent.run_id).info.experiment_id
    assert not (tmp_path / "unused").exists()


def test_a_trial_whose_parent_cannot_be_reached_is_recorded_locally(
    store, client, tmp_path
) -> None:
    write_record(tmp_path, MlflowRun(free_address(), "ab12"))
    logger = open_logger(store, tmp_path / "0")
    logger.close("FINISHED")
    assert client.get_run(logger.run_id).data.tags["mlflow.parentRunId"] == "ab12"


def test_an_artifact_that_cannot_be_recorded_is_named(run_folder, tmp_path, caplog) -> None:
    log_to_run(run_folder, [tmp_path / "missing.onnx"])
    (record,) = caplog.records
    assert str(tmp_path / "missing.onnx") in record.getMessage()


# Names and versions


def test_flatten_names_nested_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}}
    assert flatten(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("plots/runs/12_bc", "12_bc"), ("plots/runs/12_sweep/0", "0_12_sweep")],
)
def test_run_name(folder: str, name: str) -> None:
    assert run_name(Path(folder)) == name


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("ONE = 1\n")
    name = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for step in (["init", "-q"], ["add", "."], [*name, "commit", "-qm", "first"]):
        subprocess.run(["git", *step], cwd=tmp_path, check=True)
    return tmp_path


def test_git_commit_of_a_clean_and_a_dirty_tree(repository: Path) -> None:
    commit, dirty = git_commit(repository / "package")
    assert re.fullmatch("[0-9a-f]{40}", commit) and not dirty
    (repository / "package" / "code.py").write_text("ONE = 2\n")
    assert git_commit(repository / "package") == (commit, True)


def test_git_commit_outside_a_repository(repository: Path, monkeypatch, capfd) -> None:
    (repository / "installed").mkdir()
    assert git_commit(repository / "installed") == (None, False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository))
    monkeypatch.setenv("PATH", "")
    assert git_commit(repository / "package") == (None, False)
    assert capfd.readouterr() == ("", "")


# With a real server


@pytest.fixture(scope="module")
def server_address(store: Path, run_folder: Path) -> Iterator[str]:
    """A real server, started by the command that a run without one prints, on the same store."""
    server = Server(store)
    try:
        server.start()
        yield server.address
    finally:
        server.kill()


@pytest.mark.integration
def test_the_printed_command_shows_what_was_recorded_without_a_server(
    server_address: str, run_folder: Path, tmp_path: Path
) -> None:
    client, run_id = MlflowClient(server_address), read_record(run_folder).run_id
    assert client.get_run(run_id).data.metrics["validation_accuracy"] == 0.5
    assert read_config(client, run_id, tmp_path) == CONFIG
    # The way by which the pages of the server show an artifact.
    page = f"{server_address}/get-artifact?path=figures/curves.png&run_uuid={run_id}"
    with urlopen(page, timeout=60) as answer:
        assert answer.read() == b"png"


@pytest.mark.integration
def test_a_training_records_on_the_server(
    server_address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        logger = mlflow_logger(server_address, "on the server", tmp_path / "run", tmp_path)
    run_id = read_record(tmp_path / "run").run_id
    (line,) = [record.message for record in caplog.records if record.message.startswith("MLflow:")]
    assert line.startswith(f"MLflow: {server_address}/#/experiments/")
    assert line.endswith(f"/runs/{run_id}?workflowType=machine_learning")
    caplog.clear()
    log_start(logger, CONFIG, FACTS)
    logger.log_metrics({"train_loss": 0.25}, 0)
    logger.log_files([Path(__file__)], "plots")
    logger.close("FINISHED")
    log_to_run(tmp_path / "run", [Path(__file__)], "model")
    assert not caplog.records and not (tmp_path / "mlflow.db").exists()
    client = MlflowClient(server_address)
    run = client.get_run(read_record(tmp_path / "run").run_id)
    assert (run.info.status, run.data.params["optimizer.lr"]) == ("FINISHED", "0.1")
    assert (run.data.metrics["train_loss"], run.data.params["parameters"]) == (0.25, "9232")
    assert read_config(client, run.info.run_id, tmp_path) == CONFIG
    for folder in ("plots", "model"):
        expected = {f"{folder}/{Path(__file__).name}"}
        assert artifact_names(client, run.info.run_id, folder) == expected


# Several processes


@pytest.mark.integration
def test_runs_that_begin_at_once_share_a_new_store(tmp_path: Path) -> None:
    code = (
        "import sys; from speech_commands_kws.tracking.recording import mlflow_logger;"
        "logger = mlflow_logger(None, 'kws-test', sys.argv[1], sys.argv[2]);"
        "logger.log_metrics({'loss': 1.0}, 0); logger.close('FINISHED')"
    )
    command = [sys.executable, "-c", code]
    jobs = [
        subprocess.Popen([*command, tmp_path / "runs" / str(i), tmp_path / "store"], cwd=ROOT)
        for i in range(2)
    ]
    assert [job.wait(START_SECONDS) for job in jobs] == [0, 0]
    client = MlflowClient(sqlite_uri(tmp_path / "store" / "mlflow.db"))
    experiment = client.get_experiment_by_name("kws-test")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["0_runs", "1_runs"]
    assert [run.data.metrics["loss"] for run in runs] == [1, 1]
