"""Two gloo processes on the CPU train one model."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hydra import compose, initialize_config_dir
from test_train import (
    EVERY_STEP,
    REPOSITORY,
    assert_equal,
    kill_in_mid_epoch,
    newest_run,
    overrides,
    weights,
)
from tones import make_tree

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.train import build_module, run
from speech_commands_kws.training.module import KeywordModule

pytestmark = pytest.mark.integration
# Batches that two processes cannot share evenly: 32 clips in sevens, 16 of validation in fives with one left over.
DDP = (
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "loader.batch_size=7",
    "loader.evaluation_batch_size=5",
    "optimizer.lr=0.01",
    EVERY_STEP,
)
# What a further process does besides: `sitecustomize` is imported at the start of every Python.
IN_RANK_1 = """
import os
if os.environ.get("LOCAL_RANK") == "1":
    import torch
    from speech_commands_kws.training.module import KeywordModule
    training_step = KeywordModule.training_step
    {body}
"""
WITNESS = """
    def on_train_end(self):
        torch.save(self.state_dict(), os.environ["WITNESS"])
    KeywordModule.on_train_end = on_train_end
"""
SABOTAGE = """
    def broken(self, batch, batch_idx):
        if self.global_step == 3:
            {what}
        return training_step(self, batch, batch_idx)
    KeywordModule.training_step = broken
"""
DIVERGES = "batch = (batch[0] * float('nan'), batch[1])"
RAISES = "raise ValueError('pulled the plug')"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("recordings") / "tree")


def train(tree: Path, root: Path, in_rank_1: str, monkeypatch: pytest.MonkeyPatch, *more: str):
    """Train in this process and a further one; the folder of the run."""
    code = root / "code"
    code.mkdir(parents=True)
    (code / "sitecustomize.py").write_text(IN_RANK_1.format(body=in_rank_1.strip()))
    monkeypatch.setenv("PYTHONPATH", f"{code}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("WITNESS", str(root / "rank1.pt"))
    with initialize_config_dir(CONFIG_DIR):
        run(compose("train", overrides(tree, root, *DDP, *more)))
    return newest_run(root)


@pytest.fixture(scope="module")
def joint(tree, tmp_path_factory):
    """The folder of a run of two processes, the first gradient of rank 0 after the reduction, the weights of rank 1."""
    gradients: list[dict[str, torch.Tensor]] = []

    def keep(self, optimizer):
        gradients.append(gradients_of(self))

    root = tmp_path_factory.mktemp("joint") / "root"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(KeywordModule, "on_before_optimizer_step", keep)
        folder = train(tree, root, WITNESS, monkeypatch)
    return folder, gradients[0], torch.load(root / "rank1.pt")


def gradients_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


def test_both_processes_reach_the_same_finite_weights(joint):
    folder, _, of_rank_1 = joint
    of_rank_0 = weights(folder)
    assert all(torch.isfinite(value).all() for value in of_rank_0.values())
    assert_equal(of_rank_0, {name: of_rank_1[name] for name in of_rank_0})


def test_the_gradient_is_the_mean_of_those_of_the_shards(joint, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(KeywordModule, "log_dict", lambda *_, **__: None)
    of_ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(KeywordModule, "global_rank", rank)
        with initialize_config_dir(CONFIG_DIR):
            cfg = compose("train", overrides(tree, tmp_path, *DDP))
        torch.manual_seed(cfg.seed)
        datamodule = datamodule_of(cfg, Shard(rank, 2))
        module = build_module(cfg, datamodule)
        clips, targets = next(iter(datamodule.train_dataloader()))
        module.training_step((as_waveforms(clips), targets), 0).backward()
        of_ranks.append(gradients_of(module))
    _, reduced, _ = joint
    name = "spotter.backbone.stem.0.weight"
    assert not torch.allclose(of_ranks[0][name], of_ranks[1][name], rtol=0.1)
    for name, gradient in reduced.items():
        expected = (of_ranks[0][name] + of_ranks[1][name]) / 2
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def datamodule_of(cfg, shard: Shard) -> KeywordDataModule:
    datamodule = KeywordDataModule(
        build(cfg.data.source), build(cfg.task), **cfg.loader, shard=shard
    )
    datamodule.setup()
    return datamodule


def test_the_accuracy_is_that_of_all_validation_clips(joint, tree, tmp_path):
    folder, _, _ = joint
    spotter, facts = load_spotter(folder / "checkpoints/best.ckpt")
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, tmp_path))
    clips = datamodule_of(cfg, Shard()).evaluation_set("validation")
    with torch.no_grad():
        logits = spotter(torch.from_numpy(clips.waveforms(slice(None))))
    accuracy = np.mean(logits.argmax(1).numpy() == clips.targets)
    assert facts["validation_accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_one_run_is_left_and_written_once(joint):
    folder, _, _ = joint
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    history = read_checkpoint(folder / "checkpoints/last.ckpt")["callbacks"]["EpochHistory"]
    assert [row["epoch"] for row in history["rows"]] == [0, 1]
    assert (folder / "log_rank1.txt").read_text().count("epoch 2/2") == 1
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list((folder / "plots").glob("*.png"))
    assert "LOCAL_RANK" not in os.environ and not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("what", "message"),
    [(RAISES, "rank 1 failed with ValueError: pulled the plug"), (DIVERGES, "finite loss.*step 3")],
    ids=["raises", "diverges"],
)
def test_the_failure_of_one_process_ends_all_with_its_reason(
    tree, tmp_path, monkeypatch, what, message
):
    before = psutil.Process().children()
    with pytest.raises(KwsError, match=message):
        train(tree, tmp_path / "root", SABOTAGE.format(what=what), monkeypatch)
    assert psutil.Process().children() == before


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
