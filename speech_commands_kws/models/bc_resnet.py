"""BC-ResNet: broadcasted residual learning (Kim et al., arXiv 2106.04140).

Legend: B batch, C channels, M mel bins (frequency), F frames (time), K keywords.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.errors import check_positive

BASE_CHANNELS = 8  # of width 1
# Table 1 of the paper: channels as multiples of the base, blocks, frequency stride, temporal dilation of each stage.
STEM_CHANNELS = 2.0
STAGE_CHANNELS = (1.0, 1.5, 2.0, 2.5)
STAGE_BLOCKS = (2, 2, 4, 4)
STAGE_STRIDES = (1, 2, 2, 1)
STAGE_DILATIONS = (1, 2, 4, 8)
HEAD_CHANNELS = 4.0
STEM_KERNEL = 5
BLOCK_KERNEL = 3
TOTAL_STRIDE = 8


class SubSpectralNorm(nn.Module):
    """Batch normalisation of each of S frequency sub-bands by itself (Chang et al., arXiv 2103.13620).

    Shape: (B, C, M, F) to the same; M must be a multiple of `sub_bands`.
    """

    def __init__(self, channels: int, sub_bands: int):
        super().__init__()
        self.sub_bands = sub_bands
        self.norm = nn.BatchNorm2d(channels * sub_bands)

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, mels, frames = features.shape
        grouped = features.reshape(batch, channels * self.sub_bands, mels // self.sub_bands, frames)
        return self.norm(grouped).reshape(batch, channels, mels, frames)


class BroadcastedBlock(nn.Module):
    """Equations 2 and 3 of the paper: y = [x +] f2(x) + broadcast(f1(mean over frequency of f2(x))).

    f2 is a depthwise convolution over frequency, f1 one over time followed by a pointwise one. The identity is left
    out where the number of channels changes (transition block), which begins with a pointwise convolution instead.

    Args:
        kernel: frames that the temporal convolution looks at, `dilation` apart.
        causal: the last of them is the frame itself; otherwise the middle one.

    Shape: (B, in_channels, M, F) to (B, out_channels, M / stride, F).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        sub_bands: int,
        dropout: float,
        kernel: int = BLOCK_KERNEL,
        causal: bool = False,
    ):
        super().__init__()
        self.history_frames = dilation * (kernel - 1) if causal else 0
        self.is_transition = in_channels != out_channels
        if self.is_transition:
            self.expand = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(out_channels)
        self.frequency_conv = nn.Conv2d(
            out_channels,
            out_channels,
            (BLOCK_KERNEL, 1),
            stride=(stride, 1),
            padding=(BLOCK_KERNEL // 2, 0),
            groups=out_channels,
            bias=False,
        )
        self.frequency_norm = SubSpectralNorm(out_channels, sub_bands)
        self.temporal_conv = nn.Conv2d(
            out_channels,
            out_channels,
            (1, kernel),
            padding=(0, 0 if causal else dilation * (kernel // 2)),
            dilation=(1, dilation),
            groups=out_channels,
            bias=False,
        )
        self.temporal_norm = nn.BatchNorm2d(out_channels)
        self.pointwise = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        expanded = features
        if self.is_transition:
            expanded = functional.relu(self.expand_norm(self.expand(features)))
        spectral = self.frequency_norm(self.frequency_conv(expanded))
        pooled = spectral.mean(dim=2, keepdim=True)  # (B, C, 1, F)
        pooled = functional.pad(pooled, (self.history_frames, 0))
        temporal = functional.silu(self.temporal_norm(self.temporal_conv(pooled)))
        summed = spectral + self.dropout(self.pointwise(temporal))
        return functional.relu(summed if self.is_transition else summed + features)


class BCResNet(nn.Module):
    """BC-ResNet of a width; 12 classes have 9,232 parameters at width 1 and 321,068 at width 8.

    Args:
        n_classes: number of keywords K.
        n_mels: mel bins M; M / 8 must be a multiple of `sub_bands` (the paper has 40 and 5).
        width: the paper's tau (1, 1.5, 2, 3, 6 or 8).
        sub_bands: groups of the sub-spectral normalisation.
        dropout: probability of dropping a channel of the temporal branch.
        fast_training: train on a CPU through `training_forward`, the same function in fewer passes over memory.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """

    def __init__(
        self,
        n_classes: int,
        n_mels: int,
        width: float,
        sub_bands: int,
        dropout: float,
        fast_training: bool,
    ):
        super().__init__()
        self.fast_training = fast_training
        self.workspace = None  # arrays of the compiled loops, which make it
        check_positive(width=width)
        check_mels(n_mels, sub_bands)
        base = int(BASE_CHANNELS * width)
        channels = int(base * STEM_CHANNELS)
        self.stem = nn.Sequential(
            nn.Conv2d(
                1, channels, STEM_KERNEL, stride=(2, 1), padding=STEM_KERNEL // 2, bias=False
            ),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.blocks = make_blocks(width, STAGE_BLOCKS, STAGE_DILATIONS, sub_bands, dropout)
        channels = self.blocks[-1].pointwise.out_channels
        hidden = int(base * HEAD_CHANNELS)
        head_kernel = (n_mels // TOTAL_STRIDE, STEM_KERNEL)
        self.head = nn.Sequential(
            nn.Conv2d(
                channels,
                channels,
                head_kernel,
                padding=(0, STEM_KERNEL // 2),
                groups=channels,
                bias=False,
            ),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(hidden, n_classes, 1),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        if self.training and self.fast_training and log_mel.device.type == "cpu":
            # Here and not above: only training on a CPU needs a compiler, and it loads slowly.
            from speech_commands_kws.models.cpu_training.forward import training_forward

            return training_forward(self, log_mel)
        return self.head(self.blocks(self.stem(log_mel))).flatten(1)


def check_mels(n_mels: int, sub_bands: int) -> None:
    if n_mels % (TOTAL_STRIDE * sub_bands):
        raise ValueError(
            f"expected n_mels to be a multiple of {TOTAL_STRIDE * sub_bands} "
            f"(stride {TOTAL_STRIDE} x sub_bands {sub_bands}), got {n_mels}"
        )


def make_blocks(
    width: float,
    stage_blocks: Sequence[int],
    dilations: Sequence[int],
    sub_bands: int,
    dropout: float,
    kernel: int = BLOCK_KERNEL,
    causal: bool = False,
) -> nn.Sequential:
    """The blocks of all stages, behind the stem."""
    base = int(BASE_CHANNELS * width)
    channels = int(base * STEM_CHANNELS)
    blocks = []
    for factor, n_blocks, stride, dilation in zip(
        STAGE_CHANNELS, stage_blocks, STAGE_STRIDES, dilations, strict=True
    ):
        for i in range(n_blocks):
            sizes = (channels, int(base * factor), stride if i == 0 else 1, dilation)
            blocks.append(BroadcastedBlock(*sizes, sub_bands, dropout, kernel, causal))
            channels = int(base * factor)
    return nn.Sequential(*blocks)
