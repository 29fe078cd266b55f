"""Two gloo processes on the CPU train one model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir
from tone_trainings import (
    EVERY_STEP,
    assert_equal,
    kill_in_mid_epoch,
    newest_run,
    overrides,
    train,
    weights,
)

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.training.module import KeywordModule

pytestmark = pytest.mark.integration
# Batches that two processes cannot share evenly: 32 clips in sevens, 16 of validation in fives with one left over.
# In plain torch: this is about how processes share a training, and compiled loops round in their own way.
DDP = (
    "backbone.fast_training=false",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "loader.batch_size=7",
    "loader.evaluation_batch_size=5",
    "optimizer.lr=0.01",
    EVERY_STEP,
)
# What the processes do besides: `sitecustomize` is imported at the start of every Python.
IN_A_RANK = """
import os, sys
if "speech_commands_kws.train" in sys.orig_argv:
    import torch
    from speech_commands_kws.training.module import KeywordModule
    rank = int(os.environ.get("LOCAL_RANK", 0))
    training_step = KeywordModule.training_step
    {body}
"""
WITNESS = """
    def on_train_end(self):
        torch.save(self.state_dict(), os.environ["WITNESS"] + f"/rank{rank}.pt")
    def on_before_optimizer_step(self, optimizer):
        if self.global_step == 0:
            gradients = {name: each.grad for name, each in self.named_parameters()}
            torch.save(gradients, os.environ["WITNESS"] + f"/gradients{rank}.pt")
    KeywordModule.on_train_end = on_train_end
    KeywordModule.on_before_optimizer_step = on_before_optimizer_step
"""
SABOTAGE = """
    def broken(self, batch, batch_idx):
        if self.global_step == 3 and rank == 1:
            {what}
        return training_step(self, batch, batch_idx)
    KeywordModule.training_step = broken
"""
DIVERGES = "batch = (batch[0] * float('nan'), batch[1])"
RAISES = "raise ValueError('pulled the plug')"
IS_KILLED = "os.kill(os.getpid(), 9)"
PATIENCE_SECONDS = 300


def train_jointly(
    tree: Path, root: Path, body: str = "", *more: str
) -> subprocess.CompletedProcess:
    """Train in two processes, which do some more."""
    code = root / "code"
    code.mkdir(parents=True)
    (code / "sitecustomize.py").write_text(IN_A_RANK.format(body=body.strip()))
    environment = {"PYTHONPATH": f"{code}{os.pathsep}{REPOSITORY}", "WITNESS": str(root)}
    return subprocess.run(
        [sys.executable, "-m", "speech_commands_kws.train", *overrides(tree, root, *DDP, *more)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


@pytest.fixture(scope="module")
def joint(tree, tmp_path_factory):
    """Where a training of two processes has left its run, and each of them its weights and first gradient."""
    root = tmp_path_factory.mktemp("joint") / "root"
    done = train_jointly(tree, root, WITNESS)
    assert done.returncode == 0, done.stderr
    return root


def gradients_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


def test_both_processes_reach_the_same_finite_weights(joint):
    of_rank_0, of_rank_1 = weights(newest_run(joint)), torch.load(joint / "rank1.pt")
    assert all(torch.isfinite(value).all() for value in of_rank_0.values())
    assert_equal(of_rank_0, {name: of_rank_1[name] for name in of_rank_0})


def test_the_gradient_is_the_mean_of_those_of_the_shards(joint, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(KeywordModule, "log", lambda *_, **__: None)
    of_ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(KeywordModule, "global_rank", rank)
        with initialize_config_dir(CONFIG_DIR):
            cfg = compose("train", overrides(tree, tmp_path, *DDP))
        torch.manual_seed(cfg.seed)
        datamodule = build_datamodule(cfg, Shard(rank, 2))
        module = build_module(cfg, datamodule)
        clips, targets = next(iter(datamodule.train_dataloader()))
        module.training_step((as_waveforms(clips), targets), 0).backward()
        of_ranks.append(gradients_of(module))
    reduced = torch.load(joint / "gradients0.pt")
    name = "spotter.backbone.stem.0.weight"
    assert not torch.allclose(of_ranks[0][name], of_ranks[1][name], rtol=0.1)
    for name, gradient in reduced.items():
        expected = (of_ranks[0][name] + of_ranks[1][name]) / 2
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def test_the_accuracy_is_that_of_all_validation_clips(joint, tree, tmp_path):
    spotter, facts = load_spotter(newest_run(joint) / "checkpoints/best.ckpt")
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, tmp_path))
    clips = build_datamodule(cfg, Shard()).evaluation_set("validation")
    with torch.no_grad():
        logits = spotter(torch.from_numpy(clips.waveforms(slice(None))))
    accuracy = np.mean(logits.argmax(1).numpy() == clips.targets)
    assert facts["validation_accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_one_run_is_left_and_written_once(joint):
    folder = newest_run(joint)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    history = read_checkpoint(folder / "checkpoints/last.ckpt")["callbacks"]["EpochHistory"]
    assert [row["epoch"] for row in history["rows"]] == [0, 1]
    assert (folder / "log.txt").read_text().count("epoch 2/2") == 1
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list((folder / "plots").glob("*.png"))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (RAISES, "ValueError: pulled the plug"),
        (DIVERGES, "error: expected a finite loss.*step 3"),
        (IS_KILLED, "process of the training .*failed|terminated with code -9"),
    ],
    ids=["raises", "diverges", "is killed"],
)
def test_the_failure_of_one_process_ends_all_with_its_reason(tree, tmp_path, what, message):
    done = train_jointly(tree, tmp_path / "root", SABOTAGE.format(what=what))
    assert done.returncode
    assert re.search(message, done.stderr), done.stderr


def test_several_devices_need_ddp(tree, tmp_path):
    with pytest.raises(KwsError, match="expected trainer=ddp for several devices"):
        train(tree, tmp_path, "trainer.accelerator=cpu", "trainer.devices=2")


def command(tree: Path, root: Path, *more: str) -> list[str]:
    kws = Path(sys.executable).with_name("kws")
    return [str(kws), "train", *overrides(tree, root, *DDP, "trainer.max_epochs=5", *more)]


def test_killed_and_resumed_equals_uninterrupted_and_has_one_record(tree, tmp_path):
    where = tmp_path / "elsewhere"
    where.mkdir()
    settings = {"cwd": where, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command(tree, tmp_path / "whole"), check=True, **settings)
    recorded = command(tree, tmp_path / "cut", "logger=mlflow", "logger.tracking_uri=null")
    process = subprocess.Popen(recorded, **settings)
    further = kill_in_mid_epoch(process, tmp_path / "cut", steps_per_epoch=5)
    subprocess.run([*recorded, "resume=true"], check=True, **settings)
    assert_equal(weights(newest_run(tmp_path / "whole")), weights(newest_run(tmp_path / "cut")))
    assert len(further) == 1 and has_ended(further[0])
    assert len(list((tmp_path / "cut/plots/runs").iterdir())) == 1
    assert n_mlflow_runs(tmp_path / "cut/plots/mlflow.db") == 1
    assert list(where.iterdir()) == []


def has_ended(process: psutil.Process) -> bool:
    """A process whose parent is gone may stay as a zombie where nothing collects it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def n_mlflow_runs(store: Path) -> int:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("speech-commands-kws")
    return len(client.search_runs([experiment.experiment_id]))
