"""BC-ResNet for sound that never ends: no layer looks ahead, so that it can go on where it stopped.

Every layer of Kim et al. (arXiv 2106.04140) over time sees past frames alone; before the first frame stand zeros. The
classifier answers for each frame, and what counts is the mean of the last W answers.

Legend: B batch, C channels, M mel bins (frequency), F frames (time), K keywords, W frames of the mean.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.errors import check_positive, check_whole
from speech_commands_kws.models.bc_resnet import (
    BASE_CHANNELS,
    BLOCK_KERNEL,
    HEAD_CHANNELS,
    STEM_CHANNELS,
    STEM_KERNEL,
    TOTAL_STRIDE,
    check_mels,
    make_blocks,
)


class StreamingBCResNet(nn.Module):
    """Causal BC-ResNet with an answer for each frame.

    Args:
        n_classes: number of keywords K.
        n_mels: mel bins M; M / 8 must be a multiple of `sub_bands`.
        width: the paper's tau.
        sub_bands: groups of the sub-spectral normalisation.
        dropout: probability of dropping a channel of the temporal branch.
        stage_blocks: blocks of each of the four stages.
        dilations: of the temporal convolutions of each stage, frames.
        kernel: frames that each of them looks at.
        mean_frames: W, the answers that the streaming form averages.
        fast_training: train on a CPU through `training_features`, the same function in fewer passes over memory.

    Shape:
        (B, 1, M, F) log-mel to (B, K) logits, the mean of the answers for all F frames: the answer for a clip.
        `stream` gives (B, K, F), the mean of the last W answers at each frame.
    """

    def __init__(
        self,
        n_classes: int,
        n_mels: int,
        width: float,
        sub_bands: int,
        dropout: float,
        stage_blocks: Sequence[int],
        dilations: Sequence[int],
        kernel: int,
        mean_frames: int,
        fast_training: bool,
    ):
        super().__init__()
        if fast_training and kernel != BLOCK_KERNEL:
            raise ValueError(f"fast_training is for a kernel of {BLOCK_KERNEL}, got {kernel}")
        self.fast_training = fast_training
        self.workspace = None  # arrays of the compiled loops, which make it
        check_positive(width=width)
        check_whole(kernel=kernel, mean_frames=mean_frames)
        check_mels(n_mels, sub_bands)
        self.mean_frames = mean_frames
        base = int(BASE_CHANNELS * width)
        channels = int(base * STEM_CHANNELS)
        self.stem = nn.Sequential(
            nn.ZeroPad2d((STEM_KERNEL - 1, 0, STEM_KERNEL // 2, STEM_KERNEL // 2)),
            nn.Conv2d(1, channels, STEM_KERNEL, stride=(2, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.blocks = make_blocks(
            width, stage_blocks, dilations, sub_bands, dropout, kernel, causal=True
        )
        channels = self.blocks[-1].pointwise.out_channels
        hidden = int(base * HEAD_CHANNELS)
        picture = (n_mels // TOTAL_STRIDE, STEM_KERNEL)
        self.head = nn.Sequential(
            nn.ZeroPad2d((STEM_KERNEL - 1, 0, 0, 0)),
            nn.Conv2d(channels, channels, picture, groups=channels, bias=False),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, n_classes, 1),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.frame_logits(log_mel).mean(dim=-1)

    def frame_logits(self, log_mel: Tensor) -> Tensor:
        """(B, 1, M, F) log-mel to (B, K, F)."""
        return self.head(self.features(log_mel)).squeeze(2)

    def features(self, log_mel: Tensor) -> Tensor:
        if self.training and self.fast_training and log_mel.device.type == "cpu":
            # Here and not above: only training on a CPU needs a compiler, and it loads slowly.
            from speech_commands_kws.models.cpu_training.forward import training_features

            return training_features(self, log_mel)
        return self.blocks(self.stem(log_mel))

    def stream(self, log_mel: Tensor) -> Tensor:
        """(B, 1, M, F) log-mel to (B, K, F): at each frame the mean of the last W answers, zeros before the first."""
        padded = functional.pad(self.frame_logits(log_mel), (self.mean_frames - 1, 0))
        return functional.avg_pool1d(padded, self.mean_frames, stride=1)
