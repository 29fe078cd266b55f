from pathlib import Path
from types import SimpleNamespace

import optuna

from speech_commands_kws.sweeps.pruning import TrialPruning
from speech_commands_kws.sweeps.study import PRUNED_AFTER, load_study


def storage_with_trials(folder: Path) -> str:
    """A study of one finished trial, which had 0.9 in each epoch, and a running one."""
    address = f"journal:///{folder}/study.log"
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(f"{folder}/study.log")
    )
    study = optuna.create_study(study_name="test", storage=storage, direction="maximize")
    good, _ = study.ask(), study.ask()
    for epoch in range(3):
        good.report(0.9, epoch)
    study.tell(good, 0.9)
    return address


def trainer_at(epoch: int, accuracy: float) -> SimpleNamespace:
    metrics = {"validation_accuracy": accuracy}
    return SimpleNamespace(
        current_epoch=epoch, max_epochs=3, callback_metrics=metrics, should_stop=False
    )


def test_a_hopeless_trial_is_stopped(tmp_path: Path) -> None:
    address = storage_with_trials(tmp_path)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    pruning = TrialPruning("test", address, 1, pruner, "validation_accuracy")
    pruning.on_train_epoch_end(bad := trainer_at(0, 0.1), None)
    assert bad.should_stop
    trial = load_study("test", address).trials[1]
    assert trial.user_attrs[PRUNED_AFTER] == 1 and trial.intermediate_values == {0: 0.1}


def test_a_good_trial_goes_on_and_reports_an_epoch_once(tmp_path: Path) -> None:
    address = storage_with_trials(tmp_path)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    pruning = TrialPruning("test", address, 1, pruner, "validation_accuracy")
    # The last is an epoch that a resumed training repeats.
    for epoch, accuracy in [(0, 0.95), (1, 0.97), (1, 0.2)]:
        pruning.on_train_epoch_end(trainer := trainer_at(epoch, accuracy), None)
        assert not trainer.should_stop
    trial = load_study("test", address).trials[1]
    assert trial.intermediate_values == {0: 0.95, 1: 0.97}


def test_outside_of_a_sweep_nothing_is_reported() -> None:
    pruning = TrialPruning(None, None, None, None, "validation_accuracy")
    pruning.on_train_epoch_end(trainer := trainer_at(0, 0.5), None)
    assert not trainer.should_stop
