"""What Lightning trains."""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from speech_commands_kws.errors import KwsError, check_number
from speech_commands_kws.models.checkpoint import FACTS_KEY
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.models.thread_team import ThreadTeam
from speech_commands_kws.models.transfer import hold_frozen
from speech_commands_kws.training.auxiliary import AuxiliaryWords
from speech_commands_kws.training.callbacks import relocate
from speech_commands_kws.training.distillation import Distillation
from speech_commands_kws.training.streams import StreamScores, StreamTraining
from speech_commands_kws.training.teacher import loss_of_features

SEED_BYTES = 8

LOG = logging.getLogger(__name__)


class KeywordModule(lightning.LightningModule):
    """Cross-entropy training of a spotter.

    Every random number of a step (augmentation, dropout) follows from (seed, epoch, batch index, rank), so that a run
    that was interrupted goes on to the very weights it would have reached.

    Args:
        spotter: trained in place.
        waveform_augment: (waveform, is_silence, generator) to waveform.
        spectrogram_augment: (log_mel, generator) to log_mel.
        optimizer: parameters to optimizer.
        scheduler: (optimizer, total_steps) to a scheduler that steps with the optimizer.
        total_steps: optimizer steps of the whole training.
        label_smoothing: share of probability spread over all classes.
        silence_target: index of the class `_silence_`, or -1.
        seed: of the run.
        facts: JSON-able description of the spotter, stored in every checkpoint.
        mixup: (waveform, targets, generator) to waveform and targets, as class indices or probabilities; or None.
        streams: lays the clips into streams, on which it trains then; or None.
        auxiliary: other words that are learnt beside the classes, by further rows of the classifier; or None.
        n_features: of a teacher, which further rows of the classifier learn to tell; they are in the batches.
        features_weight: of the loss of these.
        distillation: a trained spotter whose answers to each clip are learnt too; or None.
    """

    def __init__(
        self,
        spotter: SpotterModule,
        waveform_augment: nn.Module,
        spectrogram_augment: nn.Module,
        optimizer: Callable[[Any], Optimizer],
        scheduler: Callable[[Optimizer, int], LRScheduler],
        total_steps: int,
        label_smoothing: float,
        silence_target: int,
        seed: int,
        facts: dict[str, Any],
        mixup: nn.Module | None = None,
        streams: StreamTraining | None = None,
        auxiliary: AuxiliaryWords | None = None,
        n_features: int = 0,
        features_weight: float = 0.0,
        distillation: Distillation | None = None,
    ):
        super().__init__()
        check_number(0, 1, label_smoothing=label_smoothing)
        self.spotter = spotter
        self.waveform_augment = waveform_augment
        self.spectrogram_augment = spectrogram_augment
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.total_steps = total_steps
        self.label_smoothing = label_smoothing
        self.silence_target = silence_target
        self.seed = seed
        self.facts = facts
        self.mixup = mixup
        self.streams = streams
        self.auxiliary = auxiliary
        self.n_words = len(auxiliary.words) if auxiliary else 0
        self.n_features = n_features
        self.features_weight = features_weight
        self.distillation = distillation
        self.epoch_clips = 0
        self.epoch_seconds = 0.0
        self.step_began = 0.0
        self.validated = torch.zeros(2, 2)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.spotter(waveform)

    def on_train_start(self) -> None:
        # Not at the start of an epoch: a run that is resumed within one is not told of it.
        hold_frozen(self.spotter)

    def on_train_epoch_start(self) -> None:
        self.epoch_clips, self.epoch_seconds = 0, 0.0
        self.step_began = time.monotonic()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        waveform, targets, *features = batch
        generator = self.seed_step(batch_idx)
        if self.streams:
            progress = self.global_step / self.total_steps
            scores = self._score_streams(waveform, targets, generator, progress)
            loss, accuracy = scores.missed + scores.false_alarms, scores.found
            scored = scores.keywords
        else:
            loss, accuracy = self._score_clips(waveform, targets, generator, *features)
            scored = len(targets)
        if not torch.isfinite(loss):
            raise self._diverged("loss", loss)
        self._log_mean("train_loss", loss, len(targets))
        self._log_mean("train_accuracy", accuracy, scored)
        return loss

    def _score_clips(
        self,
        waveform: Tensor,
        targets: Tensor,
        generator: Generator,
        features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of a training step."""
        heard = wanted = targets
        count = len(targets)
        with torch.no_grad(), ThreadTeam() as team:
            if self.auxiliary:
                clips, words, taught = self.auxiliary.draw(count, generator)
                waveform, heard = torch.cat([waveform, clips]), torch.cat([targets, words])
                features = features if taught is None else torch.cat([features, taught])
                targets = wanted = self.auxiliary.classes_of(targets)
            waveform = self.waveform_augment(waveform, heard == self.silence_target, generator)
            if self.mixup:
                clips = waveform[:count]
                mixed, wanted = self.mixup(clips, targets, generator)
                waveform = torch.cat([mixed, waveform[count:]])
                if self.n_features:  # the teacher has heard no mixtures
                    is_mixed = functional.pad(
                        (mixed != clips).any(dim=1), (0, len(features) - count)
                    )
                    features = features.masked_fill(is_mixed[:, None], torch.nan)
            told = self.distillation and team.over_clips(self.distillation.listen, waveform[:count])
            log_mel = team.over_clips(self.spotter.frontend.by_fft, waveform)
            log_mel = self.spectrogram_augment(log_mel, generator)
        answers = self.spotter.backbone(log_mel).float()
        logits = self._of_classes(answers)
        loss = functional.cross_entropy(
            logits[:count], wanted, label_smoothing=self.label_smoothing
        )
        n_classes = logits.shape[1]
        if self.auxiliary:
            is_other = heard >= n_classes
            words = heard[is_other] - n_classes
            said = answers[is_other, n_classes : n_classes + self.n_words]
            loss = loss + self.auxiliary.weight * functional.cross_entropy(said, words)
            self._log_mean("auxiliary_accuracy", share_right(said, words), len(words))
        if self.n_features:
            distance = loss_of_features(answers[:, -self.n_features :], features)
            loss = loss + self.features_weight * distance
            self._log_mean("teacher_loss", distance, len(answers))
        if self.distillation:
            distance = self.distillation.loss(logits[:count], told)
            loss = loss + self.distillation.weight * distance
            self._log_mean("teacher_loss", distance, count)
        return loss, share_right(logits[:count], targets)

    def _of_classes(self, logits: Tensor) -> Tensor:
        """Without the answers about other words and the teacher's features, which come last."""
        return logits[:, : logits.shape[1] - self.n_words - self.n_features]

    def _score_streams(
        self, waveform: Tensor, targets: Tensor, generator: Generator, progress: float
    ) -> StreamScores:
        """What the answers for streams made of the clips are worth."""
        with torch.no_grad(), ThreadTeam() as team:
            streams = self.streams.compose(waveform, targets, generator)
            is_silence = torch.zeros_like(streams.targets[:, 0], dtype=torch.bool)
            sound = self.waveform_augment(streams.waveform, is_silence, generator)
            log_mel = team.over_clips(self.spotter.frontend.by_fft, sound)
            log_mel = self.spectrogram_augment(log_mel, generator)
        logits = self.spotter.backbone.stream(log_mel).float()
        return self.streams.score(logits, streams, progress)

    def on_train_batch_end(
        self, outputs: Any, batch: tuple[Tensor, Tensor], batch_idx: int
    ) -> None:
        now = time.monotonic()
        self.epoch_clips += len(batch[0])
        self.epoch_seconds += now - self.step_began if self.step_began else 0.0
        self.step_began = now

    def on_validation_start(self) -> None:
        # Of streams, the losses of missed keywords and of false alarms, and how many keywords and clips they are of.
        self.validated = torch.zeros(2, 2, device=self.device)
        if self.epoch_seconds:
            rate = self.epoch_clips * self.trainer.world_size / self.epoch_seconds
            self.log("clips_per_second", rate, sync_dist=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        waveform, targets = batch
        with ThreadTeam() as team:
            logits = self._of_classes(team.over_clips(self.spotter, waveform)).float()
        loss, accuracy = functional.cross_entropy(logits, targets), share_right(logits, targets)
        self._log_mean("validation_accuracy", accuracy, len(targets))
        if self.streams:
            # The same streams each time, judged as at the end of the training.
            generator = Generator(self.device).manual_seed(self.seed + batch_idx)
            scores = self._score_streams(waveform, targets, generator, progress=1)
            losses = torch.stack([scores.missed, scores.false_alarms])
            counts = losses.new_tensor([scores.keywords, len(targets)])
            self.validated += torch.stack([losses * counts, counts])
        else:
            self._log_mean("validation_loss", loss, len(targets))

    def on_validation_epoch_end(self) -> None:
        if self.streams:
            losses, counts = self.trainer.strategy.reduce(self.validated, reduce_op="sum")
            self._log_mean("validation_loss", (losses / counts.clamp(min=1)).sum(), 1)

    def configure_optimizers(self) -> dict[str, Any]:
        trained = [weight for weight in self.spotter.parameters() if weight.requires_grad]
        optimizer = self.make_optimizer(trained)
        scheduler = self.make_scheduler(optimizer, self.total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "learning_rate"},
        }

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        norms = [
            parameter.grad.norm() for parameter in self.parameters() if parameter.grad is not None
        ]
        norm = torch.stack(norms).norm()
        if not torch.isfinite(norm):
            raise self._diverged("gradient", norm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        accuracy = self.trainer.callback_metrics.get("validation_accuracy")
        measured = {} if accuracy is None else {"validation_accuracy": float(accuracy)}
        checkpoint[FACTS_KEY] = self.facts | measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "parent" in checkpoint[FACTS_KEY]:
            self.facts["parent"] = checkpoint[FACTS_KEY]["parent"]
        for state in checkpoint["callbacks"].values():
            if "dirpath" in state:
                relocate(state, self.trainer.checkpoint_callback.dirpath)

    def seed_step(self, batch_idx: int) -> Generator:
        """Seed torch's own generator (dropout) and make the one of the augmentation, from this step alone."""
        text = f"{self.seed} {self.current_epoch} {batch_idx} {self.global_rank}"
        seed = int.from_bytes(
            hashlib.sha256(text.encode()).digest()[:SEED_BYTES], "big", signed=True
        )
        torch.manual_seed(seed)
        return Generator(self.device).manual_seed(seed)

    def _log_mean(self, name: str, value: Tensor, count: int) -> None:
        """The mean over an epoch, of which this value is that of so many clips or keywords."""
        self.log(
            name,
            value,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=count,
            sync_dist=True,
        )

    def _diverged(self, what: str, value: Tensor) -> KwsError:
        return KwsError(
            f"expected a finite {what}, got {value.item()} in epoch {self.current_epoch}, step {self.global_step}: the "
            "training has diverged; checkpoints written before it are kept; lower optimizer.lr, or set "
            "trainer.gradient_clip_val"
        )


def share_right(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == targets).float().mean()
