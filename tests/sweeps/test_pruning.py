"""What a training tells the study of its sweep, and when the study ends it."""

from types import SimpleNamespace

import optuna
import pytest

from speech_commands_kws.sweeps import pruning
from speech_commands_kws.sweeps.pruning import TrialPruning
from speech_commands_kws.sweeps.study import PRUNED_AFTER

MONITOR = "validation_accuracy"
EPOCHS = 4


class Threshold(optuna.pruners.BasePruner):
    """Prunes what lies below a half."""

    def prune(self, study, trial) -> bool:
        return trial.intermediate_values[trial.last_step] < 0.5


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> optuna.Trial:
    study = optuna.create_study(direction="maximize", pruner=Threshold())
    trial = study.ask()
    monkeypatch.setattr(pruning, "load_trial", lambda *_: trial)
    return trial


def trainer(epoch: int, value: float) -> SimpleNamespace:
    return SimpleNamespace(
        current_epoch=epoch,
        max_epochs=EPOCHS,
        callback_metrics={MONITOR: value},
        should_stop=False,
    )


def values(trial: optuna.Trial) -> dict[int, float]:
    return trial.storage.get_trial(trial._trial_id).intermediate_values


def test_outside_of_a_sweep_nothing_happens() -> None:
    running = trainer(0, 0.1)
    TrialPruning(None, None, None, Threshold(), MONITOR).on_train_epoch_end(running, None)
    assert running.should_stop is False


def test_each_epoch_is_reported_once_and_a_hopeless_training_ends(trial: optuna.Trial) -> None:
    callback = TrialPruning("study", "address", 0, Threshold(), MONITOR)
    callback.on_train_epoch_end(trainer(0, 0.9), None)
    callback.on_train_epoch_end(trainer(0, 0.6), None)  # repeated after a resumption
    assert values(trial) == {0: 0.9}
    bad = trainer(1, 0.1)
    callback.on_train_epoch_end(bad, None)
    assert bad.should_stop is True and trial.user_attrs[PRUNED_AFTER] == 2


def test_the_last_epoch_and_a_sweep_without_a_pruner_end_nothing(trial: optuna.Trial) -> None:
    last, unpruned = trainer(EPOCHS - 1, 0.1), trainer(0, 0.1)
    TrialPruning("study", "address", 0, Threshold(), MONITOR).on_train_epoch_end(last, None)
    TrialPruning("study", "address", 0, None, MONITOR).on_train_epoch_end(unpruned, None)
    assert not last.should_stop and not unpruned.should_stop
    assert values(trial) == {0: 0.1, EPOCHS - 1: 0.1}
