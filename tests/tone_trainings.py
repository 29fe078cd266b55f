"""Trainings of a few steps on a tree of tones, and what they leave."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from hydra import compose, initialize_config_dir

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.train import run
from speech_commands_kws.training.module import KeywordModule

PATIENCE_SECONDS = 300
CLASSIFIER = "spotter.backbone.head.5.weight"
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


def answers_of(module: KeywordModule) -> list[torch.Tensor]:
    """Grows by the network's answers at each step, with their gradients; nothing is logged."""
    module._log_mean = lambda *_: None
    given = []

    def keep(backbone, inputs, answers):
        answers.retain_grad()
        given.append(answers)

    module.spotter.backbone.register_forward_hook(keep)
    return given


def assert_an_interruption_changes_nothing(tree: Path, root: Path, *more: str) -> None:
    """A training that is interrupted at its fifth step and resumed comes to the weights of one that is not."""
    whole = train(tree, root / "whole", *more)
    step, calls = KeywordModule.training_step, []

    def interrupted(self, *given):
        calls.append(given)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return step(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeywordModule, "training_step", interrupted)
        with pytest.raises(KwsError, match="interrupted; go on with"):
            train(tree, root / "half", *more, EVERY_STEP)
    half = newest_run(root / "half")
    reached = weights(whole)
    assert any(not value.equal(reached[name]) for name, value in weights(half).items())
    train(tree, root / "half", "resume=true", f"run={half}")
    assert_equal(weights(half), weights(whole))


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
