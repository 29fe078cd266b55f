"""One row of metrics an epoch, and when a checkpoint is written."""

import io
import logging
import sys
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from speech_commands_kws.cli.terminal import LogHandler
from speech_commands_kws.training.callbacks import (
    EpochHistory,
    EpochProgress,
    StepCheckpoint,
    relocate,
)


class Module:
    """What a callback logs."""

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float, sync_dist: bool) -> None:
        self.logged[name] = value


def trainer(epoch: int, accuracy: float) -> SimpleNamespace:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}])
    return SimpleNamespace(
        current_epoch=epoch,
        max_epochs=3,
        callback_metrics={"validation_accuracy": accuracy, "something_else": 1.0},
        optimizers=[optimizer],
    )


def test_each_epoch_is_a_row_and_a_repeated_one_takes_the_place_of_its_first() -> None:
    history, module = EpochHistory(), Module()
    for epoch, accuracy in ((0, 0.25), (1, 0.75), (1, 0.5)):
        history.on_train_epoch_end(trainer(epoch, accuracy), module)
    assert history.rows == [
        {"epoch": 0, "validation_accuracy": 0.25, "learning_rate": 0.5},
        {"epoch": 1, "validation_accuracy": 0.5, "learning_rate": 0.5},
    ]
    assert module.logged == {"best_validation_accuracy": 0.5}


def test_the_rows_outlive_an_interruption() -> None:
    history, again = EpochHistory(), EpochHistory()
    history.on_train_epoch_end(trainer(0, 0.25), Module())
    again.load_state_dict(history.state_dict())
    assert again.rows == history.rows


def test_a_folder_that_moved_keeps_its_best_score() -> None:
    before, after = ModelCheckpoint("/old/checkpoints"), ModelCheckpoint("/new/checkpoints")
    before.best_model_path = before.kth_best_model_path = "/old/checkpoints/best.ckpt"
    before.best_model_score = 0.75
    before.best_k_models = {"/old/checkpoints/best.ckpt": 0.75}
    state = before.state_dict()
    relocate(state, "/new/checkpoints")
    after.load_state_dict(state)
    assert after.best_model_score == 0.75
    assert after.best_k_models == {"/new/checkpoints/best.ckpt": 0.75}
    assert after.best_model_path == after.kth_best_model_path == "/new/checkpoints/best.ckpt"
    assert after.last_model_path == "", "there was none"


@pytest.mark.parametrize(("is_last", "written"), [(False, 1), (True, 0)])
def test_no_checkpoint_follows_the_last_step_of_an_epoch(
    is_last: bool, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(ModelCheckpoint, "on_train_batch_end", lambda *given: calls.append(given))
    running = SimpleNamespace(is_last_batch=is_last)
    StepCheckpoint().on_train_batch_end(running, None, None, None, 0)
    assert len(calls) == written


class Stream(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bar_and_log_share_a_terminal_and_a_file_has_no_bar(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    running = SimpleNamespace(
        **{"is_global_zero": True, "num_training_batches": 9, "max_epochs": 3, "current_epoch": 1},
        **{"sanity_checking": False, "state": SimpleNamespace(fn="")},
    )
    handler = LogHandler()
    running.progress_bar_callback = bar = EpochProgress()
    bar.setup(running, None, "fit")
    bar.on_train_start(running, None)
    bar.on_train_epoch_start(running, None)
    handler.emit(logging.makeLogRecord({"msg": "epoch 1/3"}))
    bar.on_validation_batch_start(running, None, None, 0)
    bar.on_validation_batch_end(running, None, None, None, 0)
    bar.on_validation_epoch_end(running, None)
    assert bar.is_disabled or [task.visible for task in bar.progress.tasks] == [True]
    bar.refresh(hard=True)
    bar.teardown(running, None, "fit")
    written = stream.getvalue()
    if is_terminal:
        # The bar is taken away before the line, and the line ended before the bar is drawn again.
        before, _, after = written.partition("epoch 1/3\n")
        assert "epoch 2/3" in before and before.endswith("\x1b[2K")
        assert "epoch 2/3 validation" in after and after.rstrip("\x1b[?25h").endswith("\x1b[2K")
    else:
        assert written == "epoch 1/3\n"


def test_the_log_names_the_scores_of_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    scores = {"train_loss": 1.25, "train_accuracy": 0.5, "validation_loss": 2.0}
    running = trainer(1, 0.25)
    running.callback_metrics |= scores
    with caplog.at_level(logging.INFO):
        EpochHistory().on_train_epoch_end(running, Module())
    assert caplog.messages == ["epoch 2/3  train 50.0% loss 1.2500  validation 25.0% loss 2.0000"]
