import signal

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from torch.nn.parallel import DistributedDataParallel

from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.errors import KwsError
from speech_commands_kws.training.data_parallel import (
    STRATEGY,
    LocalDDP,
    check_processes,
    n_processes,
    own_shard,
)

DDP = {"strategy": {"_target_": STRATEGY}, "devices": 2, "accelerator": "cpu"}


@pytest.mark.parametrize(
    ("devices", "accelerator", "expected"),
    [
        (1, "auto", 1),
        (3, "cpu", 3),
        ("4", "auto", 4),
        ("0,1", "gpu", 2),
        ([2], "gpu", 1),
        ([0, 3, 4], "gpu", 3),
        ("auto", "cpu", 1),
        ("auto", "auto", 2),
        (-1, "gpu", 2),
        (None, "auto", 2),
    ],
)
def test_a_process_for_each_device(devices, accelerator, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    settings = OmegaConf.create({"devices": devices, "accelerator": accelerator})
    assert n_processes(settings) == expected


def test_lightning_counts_the_processes_alike():
    trainer = Trainer(
        strategy=LocalDDP(process_group_backend=None), devices=3, accelerator="cpu", logger=False
    )
    assert (trainer.global_rank, trainer.world_size) == (0, n_processes({"devices": 3}))


def test_shard_of_the_first_process_and_of_a_further_one(monkeypatch):
    assert own_shard(DDP) == Shard(0, 2)
    monkeypatch.setenv("KWS_RANK_NOTES", "somewhere")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_shard(DDP) == Shard(1, 2)


@pytest.mark.parametrize("is_multirun", [False, True])
def test_one_device_is_always_fine(is_multirun):
    check_processes({"devices": 1, "accelerator": "auto"}, is_multirun)
    check_processes({"devices": 1, "strategy": "auto"}, is_multirun)


def test_ddp_is_fine_alone():
    check_processes(DDP, is_multirun=False)


@pytest.mark.parametrize(
    "settings", [DDP, DDP | {"devices": 1}, {"devices": 2}, {"devices": 1, "strategy": "ddp"}]
)
def test_several_processes_in_a_multirun_are_refused(settings):
    with pytest.raises(KwsError, match="multirun, got trainer.devices=.*trainer=default"):
        check_processes(settings, is_multirun=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": None}, "expected trainer=ddp for several devices, got trainer.devices=2"),
        ({"strategy": "fsdp"}, "expected trainer=ddp"),
        ({"num_nodes": 2}, "one machine"),
    ],
)
def test_other_ways_to_several_processes_are_refused(change, message):
    with pytest.raises(KwsError, match=message):
        check_processes(DDP | change, is_multirun=False)


def test_more_devices_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(KwsError, match="with 1 GPU: .*trainer.accelerator=cpu"):
        check_processes(DDP | {"accelerator": "auto"}, is_multirun=False)
    check_processes(DDP, is_multirun=False)


def test_processes_that_another_launcher_started_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(KwsError, match="LOCAL_RANK is set.*start the command once"):
        check_processes(DDP, is_multirun=False)
    check_processes({"devices": 1}, is_multirun=False)


def test_told_to_end_by_a_signal():
    strategy = LocalDDP(process_group_backend=None)
    Trainer(strategy=strategy, devices=2, accelerator="cpu", logger=False)
    with pytest.raises(KwsError, match="SIGTERM.*resume=true"):
        strategy.launcher.kill(signal.SIGTERM)
    strategy.launcher.kill(signal.SIGKILL)  # Lightning's answer to Ctrl-C; all have ended by then


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
