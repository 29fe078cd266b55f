import logging
import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tone_trainings import (
    EVERY_STEP,
    assert_equal,
    kill_in_mid_epoch,
    newest_run,
    overrides,
    train,
    weights,
)

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.train import run
from speech_commands_kws.training.module import KeywordModule

FINISHED = "the run was finished already"


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return train(tree, tmp_path_factory.mktemp("whole"), EVERY_STEP)


def test_two_steps_change_the_weights_and_leave_a_whole_run(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = train(
        tree, tmp_path, "trainer.max_epochs=1", "+trainer.limit_train_batches=2", EVERY_STEP
    )
    untrained = train(
        tree,
        tmp_path,
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=1",
        EVERY_STEP,
        "name=one",
    )
    assert not torch.equal(
        weights(folder)["spotter.backbone.stem.0.weight"],
        weights(untrained)["spotter.backbone.stem.0.weight"],
    )
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["global_step"] == 2
    assert OmegaConf.load(folder / "config.yaml").trainer.max_epochs == 1
    assert (folder / "log.txt").read_text().count("epoch 1/1") == 1
    assert list((folder / "plots").glob("*.png"))
    spotter, facts = load_spotter(folder / "checkpoints/best.ckpt")
    assert facts["labels"] == ["_silence_", "_unknown_", "yes", "no"]
    assert facts["parameters"] == sum(parameter.numel() for parameter in spotter.parameters())
    assert spotter(torch.zeros(2, 16000)).shape == (2, 4)


def test_clips_held_by_the_device_train_to_the_same_weights(tree, whole, tmp_path):
    resident = train(tree, tmp_path, EVERY_STEP, "loader.resident=true")
    assert_equal(weights(resident), weights(whole))


def test_same_seed_same_weights_and_another_seed_others(tree, whole, tmp_path):
    assert_equal(weights(whole), weights(train(tree, tmp_path, EVERY_STEP)))
    other = train(tree, tmp_path, EVERY_STEP, "name=other", "seed=1")
    name = "spotter.backbone.stem.0.weight"
    assert not torch.equal(weights(whole)[name], weights(other)[name])


@pytest.mark.parametrize(
    ("stop_after", "moved"),
    [(2, False), (6, False), (8, False), (8, True)],
    ids=["mid-epoch", "end of epoch", "mid second epoch", "in a folder that moved"],
)
def test_resumed_equals_uninterrupted(
    tree, whole, tmp_path, monkeypatch, caplog, stop_after, moved
):
    caplog.set_level("INFO")
    training_step = KeywordModule.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == stop_after:
            raise RuntimeError("pulled the plug")
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(KeywordModule, "training_step", stopping)
        with pytest.raises(RuntimeError, match="plug"):
            train(tree, tmp_path / "cut", EVERY_STEP)
    cut = newest_run(tmp_path / "cut")
    assert read_checkpoint(cut / "checkpoints/last.ckpt")["global_step"] == stop_after
    if moved:
        (tmp_path / "cut").rename(tmp_path / "moved")
    resumed = train(tree, tmp_path / ("moved" if moved else "cut"), "resume=true")
    assert resumed.name == cut.name and cut.exists() != moved
    assert_equal(weights(whole), weights(resumed))
    assert_equal(weights(whole, "best.ckpt"), weights(resumed, "best.ckpt"))
    assert FINISHED not in caplog.text


@pytest.mark.integration
def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(tree, tmp_path, environment):
    more = [EVERY_STEP, "trainer.max_epochs=8"]
    whole = train(tree, tmp_path / "whole", *more)

    arguments = [
        sys.executable,
        "-m",
        "speech_commands_kws.train",
        *overrides(tree, tmp_path / "cut", *more),
    ]
    process = subprocess.Popen(
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kill_in_mid_epoch(process, tmp_path / "cut", steps_per_epoch=6)
    subprocess.run([*arguments, "resume=true"], env=environment, check=True, capture_output=True)
    assert_equal(weights(whole), weights(newest_run(tmp_path / "cut")))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_divergence_stops_with_a_message_and_keeps_the_last_good_checkpoint(
    tree, tmp_path, monkeypatch, what
):
    training_step = KeywordModule.training_step

    def diverging(self, batch, batch_idx):
        if self.global_step == 3 and what == "loss":
            batch = (batch[0] * float("nan"), batch[1])
        loss = training_step(self, batch, batch_idx)
        return loss * float("inf") if self.global_step == 3 else loss

    monkeypatch.setattr(KeywordModule, "training_step", diverging)
    with pytest.raises(KwsError, match=f"finite {what}.*step 3.*optimizer.lr"):
        train(tree, tmp_path, EVERY_STEP)
    kept = weights(newest_run(tmp_path))
    assert all(torch.isfinite(value).all() for value in kept.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("~callbacks.history", "expected settings for callbacks.history, got none"),
        ("callbacks.best.monitor=nothing", "settings of the training do not fit: .*nothing"),
        (
            "optimizer=adamw optimizer.betas=[2,2]",
            "optimizer cannot be made of its settings: Invalid beta",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_one_clear_error(tree, tmp_path, change, message):
    with pytest.raises(KwsError, match=message):
        train(tree, tmp_path, "trainer.max_epochs=1", *change.split())


@pytest.mark.parametrize(
    ("steps", "message"),
    [(0, "before the first checkpoint"), (2, "go on with: kws train resume=true")],
)
def test_an_interruption_says_how_to_go_on(tree, tmp_path, monkeypatch, steps, message):
    training_step = KeywordModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == steps:
            raise KeyboardInterrupt
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(KeywordModule, "training_step", interrupted)
    with pytest.raises(KwsError, match=message):
        train(tree, tmp_path, EVERY_STEP)
    assert len(list((tmp_path / "plots/runs").iterdir())) == (steps > 0)


def test_an_interruption_before_the_training_leaves_no_folder(tree, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(KeywordDataModule, "setup", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tree, tmp_path)
    assert list((tmp_path / "plots/runs").iterdir()) == []


def test_a_full_memory_of_the_gpu_is_one_clear_error(tree, tmp_path, monkeypatch):
    def fill(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(KeywordModule, "training_step", fill)
    with pytest.raises(KwsError, match="memory is full .CUDA out of memory.: lower loader.batch"):
        train(tree, tmp_path, "trainer.max_epochs=1")


def test_averaged_weights_are_what_is_kept(tree, tmp_path):
    settings = ("trainer.max_epochs=1", "+trainer.limit_train_batches=4", EVERY_STEP)
    plain = train(tree, tmp_path, *settings)
    averaged = train(tree, tmp_path, *settings, "callbacks=ema", "name=ema")
    name = "spotter.backbone.stem.0.weight"
    assert not torch.equal(weights(plain)[name], weights(averaged)[name])
    assert load_spotter(averaged / "checkpoints/last.ckpt")[0].backbone.stem[0].weight.shape == (
        16,
        1,
        5,
        5,
    )


def test_a_short_run_that_has_ended_can_be_asked_to_go_on(tree, tmp_path, caplog):
    with initialize_config_dir(CONFIG_DIR), caplog.at_level("INFO"):
        arguments = overrides(tree, tmp_path, "trainer.max_epochs=1")
        accuracy = run(compose("train", arguments))
        assert run(compose("train", [*arguments, "resume=true"])) == accuracy
    assert FINISHED in caplog.text
    assert f"next: kws export run={newest_run(tmp_path)}" in caplog.text


def test_a_training_returns_the_objectives_of_its_sweep(tree, tmp_path):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, tmp_path, "trainer.max_epochs=1"))
    cfg.sweep.objectives = {"cpu_latency_ms": "minimize", "parameters": "minimize"}
    cfg.sweep.latency.repeats = 3
    latency_ms, parameters = run(cfg)
    assert 0 < latency_ms
    spotter, _ = load_spotter(newest_run(tmp_path) / "checkpoints/best.ckpt")
    assert parameters == sum(each.numel() for each in spotter.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_trainer_that_cannot_be_made_is_one_line(tree, tmp_path):
    with pytest.raises(KwsError, match="the trainer cannot be made of its settings: .*gpu"):
        train(tree, tmp_path, "trainer.accelerator=gpu")


def test_a_place_that_takes_no_runs_is_one_line(tree, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write .*file/runs .Not a directory."):
        train(tree, tmp_path, f"paths.runs={tmp_path}/file/runs")


def test_an_unknown_objective_is_refused(tree, tmp_path):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, tmp_path, "+sweep.objectives.speed=maximize"))
    with pytest.raises(KwsError, match="cpu_latency_ms, got speed"):
        run(cfg)
    assert not (tmp_path / "plots").exists()


@pytest.mark.integration
def test_a_robust_training_keeps_the_end_of_the_noise_and_draws_what_it_does(tree, tmp_path):
    few = ["augment.waveform.steps.reverberation.rooms.rooms=2", "augment.mixup.shares={1:0.5}"]
    folder = train(tree, tmp_path, "augment=robust", *few)
    facts = read_checkpoint(folder / "checkpoints/best.ckpt")["facts"]
    assert facts["noise_held_out"] == 0.2
    assert (folder / "plots/augmentations.png").stat().st_size > 10_000
    again = train(tree, tmp_path / "again", "augment=robust", *few)
    weights = [load_spotter(run / "checkpoints/last.ckpt")[0] for run in (folder, again)]
    for first, second in zip(*(spotter.parameters() for spotter in weights), strict=True):
        assert torch.equal(first, second), "all randomness follows from the seed"


COUNT, SHARE = "a whole number of 1 or more", "a number from 0 to 1"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seed=-1", "a whole number from 0 to 4294967295, got -1"),
        ("seed=abc", "a whole number from 0 to 4294967295, got 'abc'"),
        ("label_smoothing=2", f"{SHARE}, got 2"),
        ("trainer.max_epochs=1.5", f"{COUNT}, got 1.5"),
        ("trainer.max_epochs=true", f"{COUNT}, got True"),
        ("loader.batch_size=0", f"{COUNT}, got 0"),
        ("loader.batch_size=1.5", f"{COUNT}, got 1.5"),
        ("loader.resident=no", "true or false, got 'no'"),
        ("optimizer.lr=0", "a number above 0, got 0"),
        ("optimizer.lr=nan", "a number above 0, got nan"),
        ("optimizer.momentum=-1", "cannot be made"),
        ("scheduler.warmup_fraction=10", f"{SHARE}, got 10"),
        ("augment.waveform.steps.noise.share=80", f"{SHARE}, got 80"),
        ("augment.waveform=null", "a group of settings, got null"),
        ("augment.noise_held_out=20", f"{SHARE}, got 20"),
        ("frontend.hop_ms=0", "a number above 0, got 0"),
        ("task.silence=no", "true or false, got 'no'"),
        ("data.words=no", "a list of texts"),
        ("data.words=[]", "a list of texts"),
    ],
)
def test_what_does_not_fit_is_one_line_before_any_recording_is_made(tmp_path, setting, expected):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["logger=none", "name=test", f"paths.root={tmp_path}", setting])
    with pytest.raises(KwsError) as mistake:
        run(cfg)
    assert expected in str(mistake.value) and "\n" not in str(mistake.value)
    group, _, name = setting.partition("=")[0].rpartition(".")
    assert str(mistake.value).startswith(group) and (name in str(mistake.value))
    assert list(tmp_path.iterdir()) == []


def test_resume_is_true_or_false(tmp_path):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["resume=no", "name=test", f"paths.root={tmp_path}"])
    with pytest.raises(KwsError, match="^resume must be true or false, got 'no'$"):
        run(cfg)
