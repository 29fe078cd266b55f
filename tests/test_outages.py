"""Trainings whose real MLflow server dies, hangs and comes back."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from mlflow_servers import Server
from tones import make_tree

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.tracking.mlflow_run import begin_run, client_of, read_record, write_record
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.recording import mlflow_logger
from speech_commands_kws.tracking.run_log import LOG_NAME
from speech_commands_kws.train import run
from speech_commands_kws.training.callbacks import EpochHistory

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).resolve().parent.parent
N_EPOCHS = 6
MEASURED_SECONDS = 0.2
PATIENCE_SECONDS = 180
CPU = "system/cpu_utilization_percentage"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make a short training long where the machine is busy."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("recordings") / "tree", takes=1)


@pytest.fixture(scope="module")
def lasting_server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder)
    server = Server(folder)
    yield server
    server.kill()


@pytest.fixture
def server(lasting_server: Server) -> Server:
    lasting_server.start()
    return lasting_server


class Training:
    """A short training; `then` names what happens at the end of an epoch, counted from 0."""

    def __init__(self, tree: Path, root: Path, server: Server, monkeypatch: pytest.MonkeyPatch):
        self.tree, self.root, self.server = tree, root, server
        self.then: dict[int, Callable[[], None]] = {}
        self.rows: list[dict[str, float]] = []
        record_epoch = EpochHistory.on_train_epoch_end

        def meddle(history: EpochHistory, trainer: object, module: object) -> None:
            record_epoch(history, trainer, module)
            self.rows, self.logger = history.rows, trainer.logger
            self.then.get(trainer.current_epoch, lambda: None)()

        monkeypatch.setattr(EpochHistory, "on_train_epoch_end", meddle)

    def run(self) -> None:
        overrides = [
            "data=folder",
            f"data.root={self.tree}",
            "data.words=[yes,no]",
            "data.validation_speakers=[anna]",
            "data.test_speakers=[bert]",
            f"paths.root={self.root}",
            f"paths.data={self.tree.parent}",
            "name=test",
            "loader.batch_size=6",
            "augment=recipe",
            "+trainer.limit_train_batches=1",
            f"trainer.max_epochs={N_EPOCHS}",
            "+trainer.enable_progress_bar=false",
            "~callbacks.progress",
            f"logger.tracking_uri={self.server.address}",
            "logger.run_folder=given",
            "logger.retry_seconds=0.2",
            "logger.close_seconds=2",
            f"logger.system_metrics_seconds={MEASURED_SECONDS}",
        ]
        self.began = time.time() * 1000
        with initialize_config_dir(CONFIG_DIR):
            run(compose("train", overrides))

    @property
    def folder(self) -> Path:
        (folder,) = (self.root / "plots/runs").iterdir()
        return folder

    def waiting(self) -> set[str]:
        """Names of the metrics that are logged and not sent."""
        return {name for entry in self.logger.unsent() for name in entry.get("metrics", ())}

    def assert_all_recorded(self) -> None:
        """By whichever store the run's folder names."""
        record = read_record(self.folder)
        client = client_of(record.tracking_uri)
        run = client.get_run(record.run_id)
        assert run.info.status == "FINISHED" and run.data.params["trainer.max_epochs"] == "6"
        assert [row["epoch"] for row in self.rows] == list(range(N_EPOCHS))
        for name in ("train_loss", "validation_loss", "validation_accuracy"):
            expected = [(row["epoch"], pytest.approx(row[name])) for row in self.rows]
            assert by_epoch(client, record.run_id, name) == expected
        artifacts = {file.path for file in client.list_artifacts(record.run_id)}
        assert artifacts == {"config.yaml", "plots"} and client.list_artifacts(
            record.run_id, "plots"
        )
        assert not (self.folder / LOG_NAME).exists()
        assert self.began <= run.info.start_time <= run.info.end_time


def history(client: MlflowClient, run_id: str, name: str) -> list[Metric]:
    return sorted(client.get_metric_history(run_id, name), key=lambda metric: metric.timestamp)


def by_epoch(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    """Values with their epochs, which Lightning records under the same step."""
    epochs = {metric.step: metric.value for metric in history(client, run_id, "epoch")}
    return [(epochs[metric.step], metric.value) for metric in history(client, run_id, name)]


@pytest.fixture
def training(
    tree: Path, tmp_path: Path, server: Server, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Training:
    (tmp_path / "plots").mkdir()
    shutil.copy(empty_store, tmp_path / "plots")
    return Training(tree, tmp_path, server, monkeypatch)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log says about MLflow."""
    caplog.set_level(logging.INFO)
    return lambda: [message for message in caplog.messages if message.startswith("MLflow at")]


def await_that(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_hangs_for_a_while_holds_nothing_up(training, server, told) -> None:
    in_the_gap: set[str] = set()

    def wake() -> None:
        in_the_gap.update(training.waiting())
        await_that(told)
        server.go_on()

    training.then = {1: server.halt, 4: wake}
    training.run()
    assert {"train_loss", "validation_loss", CPU} <= in_the_gap  # logged while nothing was taken
    training.assert_all_recorded()
    assert read_record(training.folder).tracking_uri == server.address
    lost, back = told()
    assert "is unreachable" in lost and "reachable again" in back


def test_a_server_that_is_killed_and_started_again_has_the_metrics_of_the_gap(
    training, server, told
) -> None:
    gap: list[float] = []

    def end_the_gap() -> None:
        gap.append(time.time())
        server.start()

    def begin_the_gap() -> None:
        server.kill()
        gap.append(time.time())
        time.sleep(5 * MEASURED_SECONDS)  # three epochs may take less than one measurement

    training.then = {1: begin_the_gap, 4: end_the_gap}
    training.run()
    training.assert_all_recorded()
    record = read_record(training.folder)
    assert record.tracking_uri == server.address
    lost, back = told()
    assert "is unreachable" in lost and "reachable again" in back
    # The machine was measured all the time; a step is a second.
    measured = history(client_of(server.address), record.run_id, CPU)
    assert any(gap[0] < each.timestamp / 1000 < gap[1] for each in measured)
    assert all(abs(each.step - (each.timestamp / 1000 - record.began)) < 5 for each in measured)


@pytest.mark.parametrize("end", ["halt", "kill"])
def test_a_server_that_stays_away_leaves_a_whole_record_in_the_local_store(
    training, server, told, end
) -> None:
    training.then = {2: getattr(server, end)}
    try:
        training.run()
    finally:
        server.kill()
    record, local = read_record(training.folder), sqlite_uri(training.root / "plots/mlflow.db")
    assert record.tracking_uri == local
    training.assert_all_recorded()
    run = client_of(local).get_run(record.run_id)
    assert run.info.run_name == training.folder.name
    assert run.info.start_time < history(client_of(local), record.run_id, "epoch")[0].timestamp
    assert run.data.tags["server.tracking_uri"] == server.address and run.data.tags["server.run_id"]
    *lost, kept = told()  # the loss is not told when the end was faster than its discovery
    assert len(lost) < 2 and f"is now in {local}" in kept and "mlflow server" in kept


def test_what_a_killed_process_could_not_deliver_is_delivered_by_the_next(server, tmp_path) -> None:
    code = (
        "import sys; from speech_commands_kws.tracking.recording import mlflow_logger;"
        "logger = mlflow_logger(sys.argv[1], 'kws-test', sys.argv[2], sys.argv[3]);"
        "logger.log_metrics({'loss': 0.0}, 0); print('begun', flush=True); input();"
        "[logger.log_metrics({'loss': i}, i) for i in range(1, 10)]; print('logged', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.address, tmp_path / "run", tmp_path / "local"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    server.kill()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = read_record(tmp_path / "run")
    # The server is still away when the run is resumed.
    logger = mlflow_logger(server.address, "kws-test", tmp_path / "run", tmp_path / "local")
    logger.log_metrics({"loss": 10.0}, 10)
    server.start()
    logger.close("FINISHED")
    assert read_record(tmp_path / "run") == first and not (tmp_path / "local").exists()
    client = client_of(server.address)
    steps = [(metric.step, metric.value) for metric in history(client, first.run_id, "loss")]
    assert steps == [(i, i) for i in range(11)]
    assert client.get_run(first.run_id).info.status == "FINISHED"


def test_a_trial_is_a_child_on_the_server_of_its_sweep(server, tmp_path) -> None:
    parent = begin_run(server.address, "sweeps", "sweep", {})
    write_record(tmp_path, parent)
    mlflow_logger(None, "sweeps", tmp_path / "0", tmp_path / "local").close("FINISHED")
    client = client_of(server.address)
    experiment = client.get_experiment_by_name("sweeps").experiment_id
    (child,) = client.search_runs(
        [experiment], f"tags.mlflow.parentRunId = '{parent.run_id}'", order_by=["start_time"]
    )
    assert child.info.run_id == read_record(tmp_path / "0").run_id
    assert child.info.run_name == f"0_{tmp_path.name}"
