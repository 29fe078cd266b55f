"""One row of metrics an epoch, and when a checkpoint is written."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from speech_commands_kws.training.callbacks import EpochHistory, StepCheckpoint, relocate


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
