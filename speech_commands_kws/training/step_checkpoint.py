from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint


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
