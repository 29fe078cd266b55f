"""Reports a training to its study, and stops it where it is hopeless."""

import logging
from typing import Any

import lightning

from speech_commands_kws.sweeps.study import PRUNED_AFTER, load_trial

LOG = logging.getLogger(__name__)


class TrialPruning(lightning.Callback):
    """Tells the study of a sweep each epoch's value; its pruner may stop the training, which keeps its best value.

    Args:
        name: of the study; None outside of a sweep, where nothing is reported.
        storage: its address.
        trial: number of the trial.
        pruner: Optuna's, or None to report only.
        monitor: the metric reported.
    """

    def __init__(
        self, name: str | None, storage: str | None, trial: int | None, pruner: Any, monitor: str
    ):
        self.monitor, self.pruner = monitor, pruner
        self.trial = None
        if name is not None and trial is not None:
            self.trial = load_trial(name, storage, trial, pruner)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self.trial is None or self.monitor not in trainer.callback_metrics:
            return
        epoch = trainer.current_epoch
        reported = self.trial.storage.get_trial(self.trial._trial_id).intermediate_values
        if epoch not in reported:  # an epoch that a resumed training repeats was reported before
            self.trial.report(float(trainer.callback_metrics[self.monitor]), epoch)
        is_last = epoch + 1 == trainer.max_epochs
        if self.pruner is not None and not is_last and self.trial.should_prune():
            self.trial.set_user_attr(PRUNED_AFTER, epoch + 1)
            LOG.info("pruned after epoch %d: the study has better trials", epoch + 1)
            trainer.should_stop = True
