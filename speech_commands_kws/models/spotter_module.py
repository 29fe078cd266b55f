"""Front-end and backbone in one module, trained and exported as a unit."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speech_commands_kws.models.streaming import StreamingBCResNet


class SpotterModule(nn.Module):
    """Waveform to logits of keywords.

    Args:
        frontend: (B, T) waveform to (B, 1, M, F) features.
        backbone: features to (B, K) logits.
        keywords: of a backbone that was trained on streams, which of the K labels must be reported (K,): its answer for
            a clip is that of the frame which is surest of one of them.
    """

    def __init__(
        self, frontend: nn.Module, backbone: nn.Module, keywords: Sequence[bool] | None = None
    ):
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        if self.streams and not frontend.causal:
            raise ValueError("a streaming backbone needs frontend=log_mel_causal")
        mask = None if keywords is None else torch.tensor(keywords, dtype=torch.float32)[:, None]
        self.register_buffer("keywords", mask, persistent=False)

    @property
    def streams(self) -> bool:
        """Whether the spotter can go on where it stopped, so that it listens to sound without an end."""
        return isinstance(self.backbone, StreamingBCResNet)

    @torch.no_grad()
    def divide_logits(self, temperature: float) -> None:
        """Divide the logits by a number from now on, in the weights of the classifier, so that it takes no step."""
        for parameter in self.backbone.head[-1].parameters():
            parameter /= temperature

    def forward(self, waveform: Tensor) -> Tensor:
        features = self.frontend(waveform)
        if self.keywords is None:
            return self.backbone(features)
        logits = self.backbone.stream(features)  # (B, K, F)
        surest = (logits.softmax(dim=1) * self.keywords).sum(dim=1).argmax(dim=1)
        chosen = surest[:, None, None].expand(-1, logits.shape[1], 1)
        return logits.gather(2, chosen).squeeze(2)
