"""A run folder that the package wrote when its modules lay flat is evaluated, exported and resumed."""

import shutil
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from test_train import EVERY_STEP, newest_run, overrides, train
from tones import make_tree

from speech_commands_kws import evaluate, export
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.train import run

pytestmark = pytest.mark.integration
# Dotted names of today, as config.yaml and the facts of checkpoints recorded them then.
RECORDED = {
    "speech_commands_kws.data.sources.folder.FolderSource": "speech_commands_kws.data.sources.FolderSource",
    "speech_commands_kws.models.frontend.LogMel": "speech_commands_kws.frontend.LogMel",
    "speech_commands_kws.training.schedule.warmup_cosine": "speech_commands_kws.schedule.warmup_cosine",
    "speech_commands_kws.training.callbacks.StepCheckpoint": "speech_commands_kws.step_checkpoint.StepCheckpoint",
    "speech_commands_kws.training.callbacks.EpochHistory": "speech_commands_kws.history.EpochHistory",
}


@pytest.fixture(scope="module")
def old_root(tmp_path_factory) -> Path:
    """Where a run of two steps lies as it was recorded then."""
    root = tmp_path_factory.mktemp("old")
    tree = make_tree(root / "recordings/tree")
    folder = train(tree, root, "+trainer.limit_train_batches=2", "trainer.max_epochs=1", EVERY_STEP)
    text = (folder / "config.yaml").read_text()
    for today, then in RECORDED.items():
        assert today in text
        text = text.replace(today, then)
    (folder / "config.yaml").write_text(text)
    for path in (folder / "checkpoints").iterdir():
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["facts"]["frontend"]["_target_"] = "speech_commands_kws.frontend.LogMel"
        torch.save(checkpoint, path)
    return root


def where(root: Path) -> list[str]:
    return [f"paths.root={root}", f"run={newest_run(root)}"]


def test_it_is_evaluated(old_root):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("evaluate", [*where(old_root), "robustness=none"])
    assert 0 <= evaluate.run(cfg) <= 1


def test_it_is_exported(old_root):
    with initialize_config_dir(CONFIG_DIR):
        difference = export.run(compose("export", where(old_root)))
    assert difference < 1e-4
    assert OnnxBackend(newest_run(old_root) / "model.onnx").info.labels[-2:] == ("yes", "no")


def test_it_is_resumed(old_root, tmp_path):
    folder = tmp_path / "plots/runs/old"
    shutil.copytree(newest_run(old_root), folder)
    (folder / "checkpoints/best.ckpt").unlink()
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("max_epochs: 1", "max_epochs: 2"))
    with initialize_config_dir(CONFIG_DIR):
        tree = old_root / "recordings/tree"
        run(compose("train", overrides(tree, tmp_path, "resume=true", f"run={folder}")))
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 4
