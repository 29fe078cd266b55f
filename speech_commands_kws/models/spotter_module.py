"""Front-end and backbone in one module, trained and exported as a unit."""

from torch import Tensor, nn

from speech_commands_kws.models.streaming import StreamingBCResNet


class SpotterModule(nn.Module):
    """Waveform to logits of keywords.

    Args:
        frontend: (B, T) waveform to (B, 1, M, F) features.
        backbone: features to (B, K) logits.
    """

    def __init__(self, frontend: nn.Module, backbone: nn.Module):
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        if self.streams and not frontend.causal:
            raise ValueError("a streaming backbone needs frontend=log_mel_causal")

    @property
    def streams(self) -> bool:
        """Whether the spotter can go on where it stopped, so that it listens to sound without an end."""
        return isinstance(self.backbone, StreamingBCResNet)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.backbone(self.frontend(waveform))
