import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.nn.parallel import DistributedDataParallel

from speech_commands_kws.errors import KwsError
from speech_commands_kws.training.data_parallel import LOOPBACK, LocalDDP, check_processes

STRATEGY = "speech_commands_kws.training.data_parallel.LocalDDP"
DDP = {"strategy": {"_target_": STRATEGY}, "devices": 2, "accelerator": "cpu"}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What is set for the processes of a training is unset after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def trainer():
    strategy = LocalDDP(process_group_backend=None)
    return Trainer(strategy=strategy, devices=3, accelerator="cpu", logger=False)


def test_a_process_for_each_device_and_no_port_open_to_the_network(trainer):
    assert (trainer.global_rank, trainer.world_size) == (0, 3)
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"] == LOOPBACK
    assert not Path(os.environ["KWS_MEETING_FILE"]).exists()


def test_a_process_that_was_started_meets_where_it_is_told(monkeypatch):
    monkeypatch.setitem(os.environ, "KWS_MEETING_FILE", "there")
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "1")
    Trainer(strategy=LocalDDP(None), devices=2, accelerator="cpu", logger=False)
    assert os.environ["KWS_MEETING_FILE"] == "there"


def test_several_machines_meet_by_their_network():
    Trainer(strategy=LocalDDP(None), devices=2, num_nodes=2, accelerator="cpu", logger=False)
    assert "KWS_MEETING_FILE" not in os.environ


@pytest.mark.parametrize("devices", [1, "1", [2], "auto", None])
def test_one_device_is_always_fine(devices):
    check_processes({"devices": devices, "accelerator": "auto"}, is_multirun=True)
    check_processes({"devices": devices, "strategy": "auto"}, is_multirun=True)


def test_ddp_is_fine_alone():
    check_processes(DDP, is_multirun=False)


@pytest.mark.parametrize(
    "settings",
    [
        DDP,
        DDP | {"devices": 1},
        {"devices": 2},
        {"devices": [0, 1]},
        {"devices": 1, "strategy": "ddp"},
    ],
)
def test_several_processes_in_a_multirun_are_refused(settings):
    with pytest.raises(KwsError, match="multirun, got trainer.devices=.*trainer=default"):
        check_processes(settings, is_multirun=True)


@pytest.mark.parametrize(
    ("program", "error", "lost"),
    [
        ("raise SystemExit(1)", RuntimeError("Connection closed by peer"), True),
        ("import time; time.sleep(600)", RuntimeError("a fault of this process"), False),
        ("import time; time.sleep(600)", KwsError("diverged"), False),
    ],
)
def test_an_error_ends_the_other_processes_and_tells_whether_one_was_its_cause(
    trainer, monkeypatch, program, error, lost
):
    monkeypatch.setattr(
        "speech_commands_kws.training.data_parallel.LOSS_SECONDS", 20 if lost else 0
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    trainer.strategy.launcher.procs = procs = [process]
    trainer.strategy.on_exception(error)
    assert trainer.strategy.has_lost_process is lost
    assert process.returncode
    assert procs == [], "Lightning's observer would end this process too"


class Constants(LightningModule):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2)
        self.register_buffer("noise", torch.zeros(9), persistent=False)


def test_running_statistics_are_broadcast_and_constants_are_not(monkeypatch):
    strategy = LocalDDP(process_group_backend=None)
    Trainer(strategy=strategy, devices=1, accelerator="cpu", logger=False)
    monkeypatch.setattr(
        DistributedDataParallel,
        "__init__",
        lambda self, module, **_: object.__setattr__(
            self, "left_out", module._ddp_params_and_buffers_to_ignore
        ),
    )
    assert strategy._setup_model(Constants()).left_out == ["noise"]
