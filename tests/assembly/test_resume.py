"""Which run is resumed, and what of it must be as it was."""

from contextlib import nullcontext

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from tone_trainings import overrides, train

from speech_commands_kws.assembly.resume import last_checkpoint, open_run, refuse_changes
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import FACTS_KEY, read_checkpoint


def test_resume_without_a_run_is_one_clear_error(tree, tmp_path):
    with pytest.raises(KwsError, match="found none; train first"):
        train(tree, tmp_path, "resume=true")


def test_resume_refuses_what_is_no_run(tree, tmp_path):
    with pytest.raises(KwsError, match="config.yaml"):
        train(tree, tmp_path, "resume=true", f"run={tmp_path}")


def test_resume_refuses_a_damaged_checkpoint_and_other_recordings(tree, tmp_path):
    run = train(tree, tmp_path, "trainer.max_epochs=1", "+trainer.limit_train_batches=1")
    path = run / "checkpoints/last.ckpt"
    contents = path.read_bytes()
    fingerprint = read_checkpoint(path)["facts"]["data_fingerprint"]
    facts = {"data_fingerprint": fingerprint, "streams_fingerprint": "new"}
    assert last_checkpoint(run, facts) == (path, 1)
    with pytest.raises(KwsError, match=f"fingerprint {fingerprint}., got others .other.: restore"):
        last_checkpoint(run, {"data_fingerprint": "other"})
    path.write_bytes(contents[: len(contents) // 2])
    with pytest.raises(KwsError, match="last.ckpt cannot be read as one"):
        last_checkpoint(run, facts)


def test_other_negatives_than_at_the_beginning_are_told(tmp_path, caplog):
    (tmp_path / "checkpoints").mkdir()

    def resumed(before, now):
        facts = {"data_fingerprint": "data"}
        saved = {"global_step": 1, FACTS_KEY: facts | before}
        torch.save(saved, tmp_path / "checkpoints/last.ckpt")
        caplog.clear()
        assert last_checkpoint(tmp_path, facts | now)[1] == 1
        return caplog.messages

    assert resumed({}, {"streams_fingerprint": "a"}) == []  # a run from before it was recorded
    assert resumed({"streams_fingerprint": "a"}, {"streams_fingerprint": "a"}) == []
    (line,) = resumed({"streams_fingerprint": "a"}, {"streams_fingerprint": "b"})
    assert line.startswith("the recordings of streams.negatives or streams.mined are others")
    (line,) = resumed({"auxiliary_fingerprint": "a"}, {"auxiliary_fingerprint": "b"})
    assert line.startswith("the recordings of auxiliary.root are others")


@pytest.mark.parametrize("change", ["seed=5", "optimizer=adamw", "optimizer.lr=0.5"])
def test_resume_refuses_other_settings(tree, tmp_path, change):
    arguments = overrides(tree, tmp_path)
    with initialize_config_dir(CONFIG_DIR):
        saved = OmegaConf.create(OmegaConf.to_container(compose("train", arguments), resolve=True))
        for more, refused in (["resume=true"], False), ([change, "resume=true"], True):
            cfg = compose("train", arguments + more, return_hydra_config=True)
            HydraConfig.instance().set_config(cfg)
            try:
                with pytest.raises(KwsError, match=change) if refused else nullcontext():
                    refuse_changes(cfg, saved)
            finally:
                HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("given", "tracking_uri"), [([], None), (["logger.tracking_uri=http://x"], "http://x")]
)
def test_a_resumed_run_keeps_its_logger_unless_another_is_given(tmp_path, given, tracking_uri):
    saved_overrides = [f"paths.root={tmp_path}", "logger=none", "name=test"]
    folder = tmp_path / "plots/runs/one"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").touch()
    with initialize_config_dir(CONFIG_DIR):
        saved = OmegaConf.to_container(compose("train", saved_overrides), resolve=True)
        OmegaConf.save(OmegaConf.create(saved), folder / "config.yaml")
        arguments = [f"paths.root={tmp_path}", "name=test", "resume=true", *given]
        cfg = compose("train", arguments, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        try:
            resumed = open_run(cfg)[1]
        finally:
            HydraConfig.instance().cfg = None
    assert (resumed.logger and resumed.logger.tracking_uri) == tracking_uri


def opened(tmp_path, *given):
    with initialize_config_dir(CONFIG_DIR):
        arguments = [f"paths.root={tmp_path}", "name=test", "logger=none", *given]
        return open_run(compose("train", arguments))[1]


def test_weights_of_no_run_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(KwsError, match="expected the folder of a run at run=other"):
        opened(tmp_path, "init=other")
    assert not (tmp_path / "plots/runs").exists()
