"""Knowledge distillation: a trained spotter, such as a larger one, whose answers to each clip the network learns too.

Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", arXiv 1503.02531. The teacher hears the
very clip that the network hears, with its noise and its mixture (Beyer et al. 2022, "Knowledge distillation: a good
teacher is patient and consistent", arXiv 2106.05237), but for what is masked in the spectrogram.
Legend: B clips, T samples of a clip, K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from speech_commands_kws.errors import KwsError, check_choice, check_positive
from speech_commands_kws.models.checkpoint import load_spotter

FULL, BF16 = "32-true", "bf16-mixed"  # as `trainer.precision` calls them


class Distillation:
    """A trained spotter as the teacher of another one.

    Args:
        run: its checkpoint.
        weight: of the loss, beside the cross-entropy.
        temperature: by which the logits of both are divided.
        labels: the K classes of the one that learns, all of which the teacher must know.
        sample_rate: of the clips (Hz).
        clip_samples: their length T.
        precision: in which the teacher computes, 32-true or bf16-mixed.

    Attributes:
        origin: what the teacher is, for people.

    Raises:
        SettingError: a value out of its range.
        KwsError: the file is no checkpoint, or of a spotter of other words or other clips.
    """

    def __init__(
        self,
        run: str | Path,
        weight: float,
        temperature: float,
        labels: Sequence[str],
        sample_rate: int,
        clip_samples: int,
        precision: str = FULL,
    ):
        check_choice((FULL, BF16), precision=precision)
        check_positive(weight=weight, temperature=temperature)
        self.weight = weight
        self.temperature = temperature
        self.precision = precision
        self.spotter, facts = load_spotter(Path(run))
        lacking = [label for label in labels if label not in facts["labels"]]
        if lacking:
            raise KwsError(
                f"the teacher {run} must know all labels, it lacks {', '.join(lacking)}: train it on the same words"
            )
        heard = facts["sample_rate"], facts["clip_samples"]
        if heard != (sample_rate, clip_samples):
            raise KwsError(
                f"the teacher {run} hears clips of {heard[1]} samples at {heard[0]} Hz, and here they have "
                f"{clip_samples} at {sample_rate} Hz: give it the same sample_rate and clip_seconds"
            )
        self.columns = [facts["labels"].index(label) for label in labels]
        backbone, accuracy = self.spotter.backbone, facts.get("validation_accuracy")
        parameters = sum(weight.numel() for weight in backbone.parameters())
        self.origin = f"{type(backbone).__name__}, {parameters:,} parameters"
        if accuracy is not None:
            self.origin += f", validation accuracy {accuracy:.1%}"

    @torch.no_grad()
    def listen(self, waveform: Tensor) -> Tensor:
        """(B, T) waveforms to the teacher's (B, K) logits."""
        spotter = self.spotter.to(waveform.device)
        with torch.autocast(waveform.device.type, torch.bfloat16, enabled=self.precision == BF16):
            return spotter(waveform).float()[:, self.columns]

    def loss(self, logits: Tensor, told: Tensor) -> Tensor:
        """Divergence of (B, K) logits from the teacher's, both softened, the mean times the temperature's square."""
        own, wanted = ((given / self.temperature).log_softmax(dim=1) for given in (logits, told))
        distance = functional.kl_div(own, wanted, reduction="batchmean", log_target=True)
        return distance * self.temperature**2

    def __deepcopy__(self, memo: dict) -> "Distillation":
        """Itself, which never changes: an average of the weights (callbacks=ema) copies the module."""
        return self
