"""A run folder that the package wrote when its modules lay flat is evaluated, exported and resumed."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tone_trainings import EVERY_STEP, newest_run, overrides, train

from speech_commands_kws import evaluate, export
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.train import run

BRIEF = ("+trainer.limit_train_batches=2", "trainer.max_epochs=1")
pytestmark = pytest.mark.integration
# Dotted names of today, as config.yaml and the facts of checkpoints recorded them then.
RECORDED = {
    "speech_commands_kws.data.sources.folder.FolderSource": "speech_commands_kws.data.sources.FolderSource",
    "speech_commands_kws.models.frontend.LogMel": "speech_commands_kws.frontend.LogMel",
    "speech_commands_kws.training.schedule.warmup_cosine": "speech_commands_kws.schedule.warmup_cosine",
    "speech_commands_kws.training.callbacks.StepCheckpoint": "speech_commands_kws.step_checkpoint.StepCheckpoint",
    "speech_commands_kws.training.callbacks.EpochHistory": "speech_commands_kws.history.EpochHistory",
}


def record(root: Path, tree: Path) -> Path:
    """The folder of a run of two steps, as it was recorded then."""
    folder = train(tree, root, *BRIEF, EVERY_STEP)
    text = (folder / "config.yaml").read_text()
    for today, then in RECORDED.items():
        assert today in text
        text = text.replace(today, then)
    assert "init: null\nfreeze: null\n" in text
    text = text.replace("init: null\nfreeze: null\n", "weights: null\n")
    (folder / "config.yaml").write_text(text)
    for path in (folder / "checkpoints").iterdir():
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["facts"]["frontend"]["_target_"] = "speech_commands_kws.frontend.LogMel"
        torch.save(checkpoint, path)
    return folder


@pytest.fixture(scope="module")
def old_root(tree, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("old")
    record(root, tree)
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


def test_it_is_resumed(tree, tmp_path):
    folder = record(tmp_path, tree)
    (folder / "checkpoints/best.ckpt").unlink()
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("max_epochs: 1", "max_epochs: 2"))
    with initialize_config_dir(CONFIG_DIR):
        run(compose("train", overrides(tree, tmp_path, "resume=true", f"run={folder}")))
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 4


def test_a_run_on_streams_from_before_their_later_settings_is_resumed(tree, tmp_path):
    small = ["backbone=bc_resnet_streaming_small", "experiment=streams", "init=null"]
    folder = train(tree, tmp_path, *BRIEF, *small)
    cfg = OmegaConf.load(folder / "config.yaml")
    for key in ("fragment_share", "mined", "mined_share", "homophones"):
        del cfg.streams[key]
    OmegaConf.save(OmegaConf.merge(cfg, {"trainer": {"max_epochs": 2}}), folder / "config.yaml")
    train(tree, tmp_path, "resume=true")
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 4
