"""What Lightning calls during a training."""

import logging
import sys
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar

from speech_commands_kws.training.objectives import ACCURACY

EPOCH = "epoch"
KEPT = (
    "train_loss",
    "validation_loss",
    "train_accuracy",
    "auxiliary_accuracy",
    "teacher_loss",
    ACCURACY,
    "learning_rate",
    "clips_per_second",
)

STAGES = ("train", "validation")

LOG = logging.getLogger(__name__)


class EpochProgress(RichProgressBar):
    """One line on standard error while an epoch runs; the log tells the metrics, above it.

    It is there on a terminal only, and nothing of it stays. While it is there, what is written to `sys.stderr` passes
    through its console, so that the two do not meet on one line. Validation has no bar of its own: rich draws from a
    thread beside ours, and what one writes while the other changes the number of lines destroys a line above.
    """

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})
        if not sys.stderr.isatty():
            self.disable()

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        super().on_train_start(trainer, pl_module)
        if self.progress is not None:
            self.progress.live.transient = True

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, Any]:
        return {}

    def on_validation_batch_start(self, *given: Any, **named: Any) -> None:
        if self.progress is not None and self.train_progress_bar_id is not None:
            description = self._get_train_description(self.trainer.current_epoch)
            self.progress.update(
                self.train_progress_bar_id, description=f"{description} validation"
            )

    def _get_train_description(self, current_epoch: int) -> str:
        """Counted from 1, as in the log."""
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


class EpochHistory(lightning.Callback):
    """One row of metrics an epoch, kept across interruptions and written to the log."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        metrics = {
            key: float(value) for key, value in trainer.callback_metrics.items() if key in KEPT
        }
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows = [row for row in self.rows if row[EPOCH] < trainer.current_epoch]
        self.rows.append({EPOCH: trainer.current_epoch, **metrics})
        accuracies = [row[ACCURACY] for row in self.rows if ACCURACY in row]
        if accuracies:
            # By its last value a record sorts runs, which for the accuracy itself is not the best one.
            pl_module.log(f"best_{ACCURACY}", max(accuracies), sync_dist=True)
        values = [
            f"{stage} {metrics[f'{stage}_accuracy']:.1%} loss {metrics[f'{stage}_loss']:.4f}"
            for stage in STAGES
            if f"{stage}_loss" in metrics
        ]
        place = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        LOG.info("epoch %s  %s", place, "  ".join(values))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


def relocate(state: dict[str, Any], folder: str) -> None:
    """Let the saved state of a ModelCheckpoint name its files in `folder`, wherever they lay when it was saved.

    Where the folder has another name than before, Lightning forgets the best score, and a worse epoch would overwrite
    the best checkpoint.
    """

    def here(path: str) -> str:
        return path and str(Path(folder, Path(path).name))

    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = here(state[key])
    state["best_k_models"] = {here(path): score for path, score in state["best_k_models"].items()}
    state["dirpath"] = folder


class StepCheckpoint(ModelCheckpoint):
    """A checkpoint every few steps, but not after the last one of an epoch.

    Going on from there would skip the validation of that epoch, and with it perhaps the best checkpoint; the one that
    is written once the epoch is over, validation included, takes its place.
    """

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
