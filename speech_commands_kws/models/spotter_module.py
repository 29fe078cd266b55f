"""Front-end and backbone in one module, trained and exported as a unit."""

from torch import Tensor, nn


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

    def forward(self, waveform: Tensor) -> Tensor:
        return self.backbone(self.frontend(waveform))
