"""Trainings of a few steps on a tree of tones, and what they leave."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import torch
from hydra import compose, initialize_config_dir

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.train import run
from speech_commands_kws.training.module import KeywordModule

PATIENCE_SECONDS = 300
EVERY_STEP = "callbacks.last.every_n_train_steps=1"


def overrides(tree: Path, root: Path, *more: str) -> list[str]:
    return [
        "data=folder",
        f"data.root={tree}",
        "data.words=[yes,no]",
        "data.validation_speakers=[anna]",
        "data.test_speakers=[bert]",
        f"paths.root={root}",
        f"paths.data={tree.parent}",
        "name=test",
        "logger=none",
        "loader.batch_size=6",
        "augment=recipe",
        "trainer.max_epochs=2",
        "+trainer.enable_progress_bar=false",
        "~callbacks.progress",
        *more,
    ]


def train(tree: Path, root: Path, *more: str) -> Path:
    """Train in this process; the folder of the run."""
    with initialize_config_dir(CONFIG_DIR):
        run(compose("train", overrides(tree, root, *more)))
    return newest_run(root)


def built(tree: Path, root: Path, *more: str) -> KeywordModule:
    """What would be trained."""
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, root, *more))
    return build_module(cfg, build_datamodule(cfg, Shard()))


def newest_run(root: Path) -> Path:
    return max((root / "plots/runs").iterdir(), key=lambda folder: folder.stat().st_mtime)


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / name)["state_dict"]


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def kill_in_mid_epoch(
    process: subprocess.Popen, root: Path, steps_per_epoch: int
) -> list[psutil.Process]:
    """Returns the processes that the killed one had started."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for checkpoint in root.glob("plots/runs/*/checkpoints/last.ckpt"):
            step = read_checkpoint(checkpoint)["global_step"]
            if step > steps_per_epoch and step % steps_per_epoch:
                children = psutil.Process(process.pid).children()
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
                return children
        time.sleep(0.01)
    process.kill()
    raise AssertionError("no checkpoint in the middle of an epoch")
