"""DS-CNN: depthwise separable convolutions (Zhang et al., "Hello Edge", arXiv 1711.07128).

Legend: B batch, C channels, M mel bins, F frames, K keywords.
"""

from collections.abc import Sequence

from torch import Tensor, nn

BLOCK_KERNEL = 3


class DSCNN(nn.Module):
    """A convolution, depthwise separable blocks, the mean over mel bins and frames, a linear layer.

    The paper's small, medium and large networks have 64, 172 and 276 channels with 4, 4 and 5 blocks. They look at 10
    MFCCs; on 40 log-mel energies the first convolution moves by `stem_stride` in both directions, which leaves a
    picture of comparable size.

    Args:
        n_classes: number of keywords K.
        n_mels: mel bins M (any).
        channels: C of every layer.
        n_blocks: depthwise separable blocks.
        stem_kernel, stem_stride: of the first convolution, (mel bins, frames).
        dropout: probability before the linear layer.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """

    def __init__(
        self,
        n_classes: int,
        n_mels: int,
        channels: int,
        n_blocks: int,
        stem_kernel: Sequence[int],
        stem_stride: Sequence[int],
        dropout: float,
    ):
        super().__init__()
        if n_mels < stem_kernel[0]:
            raise ValueError(
                f"expected n_mels of at least stem_kernel[0]={stem_kernel[0]}, got {n_mels}"
            )
        padding = (stem_kernel[0] // 2, stem_kernel[1] // 2)
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, tuple(stem_kernel), tuple(stem_stride), padding, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(separable_block(channels) for _ in range(n_blocks)))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels, n_classes),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(log_mel)))


def separable_block(channels: int) -> nn.Sequential:
    """Depthwise then pointwise convolution, each normalised; (B, C, M, F) to the same."""
    return nn.Sequential(
        nn.Conv2d(
            channels, channels, BLOCK_KERNEL, padding=BLOCK_KERNEL // 2, groups=channels, bias=False
        ),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
