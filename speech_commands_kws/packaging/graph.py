"""Rewrites a model to fewer and cheaper steps for the exported graph.

In BC-ResNet the sub-spectral normalisation scales each sub-band by itself, so that it cannot be folded into the weights
of a convolution over frequency. But with the picture laid out as C M rows of F frames, a convolution over frequency
with all that follows it linearly is one matrix for each channel, a grouped convolution of kernel 1.

Where a normalisation is folded, one channel may be a thousand times as loud as the next, and eight bits for all of them
leave nothing of the others. The channels of such a layer are balanced (`balance`), which changes no answer.

Legend: B batch, C channels, M mel bins (N after a stride), F frames.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speech_commands_kws.models.bc_resnet import BCResNet, BroadcastedBlock
from speech_commands_kws.models.spotter_module import SpotterModule

# Up to so many channels of a block ONNX Runtime is faster with a larger product than with one more step.
NARROW = 20
# With more channels it is busy with pointwise convolutions, which it computes faster on whole pictures.
WIDE = 64


def inference_graph(spotter: SpotterModule) -> nn.Module:
    """A module in evaluation mode that computes what `spotter` does, or the very same where nothing is gained."""
    spotter.eval()
    if not isinstance(spotter.backbone, BCResNet):
        return spotter
    if max(block.pointwise.in_channels for block in spotter.backbone.blocks) > WIDE:
        return spotter
    with torch.no_grad():
        return SpotterModule(
            spotter.frontend, FlatBCResNet(spotter.backbone, spotter.frontend.n_mels)
        ).eval()


class FlatBCResNet(nn.Module):
    """A trained BC-ResNet with its normalisations folded. Shape: (B, 1, M, F) log-mel to (B, K) logits."""

    def __init__(self, network: BCResNet, n_mels: int):
        super().__init__()
        convolution, norm, _ = network.stem
        self.stem = fuse_conv_bn_eval(convolution, norm)
        self.blocks = nn.Sequential(*flat_blocks(network.blocks, self.stem, n_mels))
        depthwise, pointwise, norm, _, _, classifier = network.head
        self.depthwise = convolution_1d(
            depthwise.weight.squeeze(1), groups=depthwise.groups, padding=depthwise.padding[1]
        )
        hidden = fuse_conv_bn_eval(pointwise, norm)
        self.hidden = convolution_1d(hidden.weight.squeeze(-1), hidden.bias)
        self.classifier = nn.Linear(classifier.in_channels, classifier.out_channels)
        self.classifier.weight.copy_(classifier.weight.flatten(1))
        self.classifier.bias.copy_(classifier.bias)
        first = self.blocks[0]
        if first.is_transition:
            balance(self.stem, first.expand.weight.transpose(0, 1))
        balance(self.hidden, self.classifier.weight.t())

    def forward(self, log_mel: Tensor) -> Tensor:
        rows = self.blocks(functional.relu(self.stem(log_mel)).flatten(1, 2))
        hidden = functional.relu(self.hidden(self.depthwise(rows)))
        return self.classifier(hidden.mean(dim=-1))


class FlatBlock(nn.Module):
    """A trained block, (B, C M, F) to (B, C N, F).

    Its convolution over frequency with the sub-spectral normalisation is y[c] = A[c] x[c] + b[c], where A[c] is (N, M).
    The mean over frequency is the mean of the rows of A[c] and b[c], and the identity is added to A[c]. In a narrow
    block the pointwise convolution repeats each channel N times, which is cheaper than broadcasting it, and adds b[c].
    """

    def __init__(self, block: BroadcastedBlock, rows: int):
        super().__init__()
        self.channels, self.rows_in = block.pointwise.in_channels, rows
        self.is_transition = block.is_transition
        if self.is_transition:
            expand = fuse_conv_bn_eval(block.expand, block.expand_norm)
            self.expand = convolution_1d(expand.weight.squeeze(-1), expand.bias)
        over_frequency = nn.Sequential(block.frequency_conv, block.frequency_norm)
        maps, offsets = affine_maps(over_frequency, self.channels, rows)  # (C, N, M), (C, N)
        self.rows_out = maps.shape[1]
        means, mean_offsets = maps.mean(dim=1, keepdim=True), offsets.mean(dim=1)
        if not self.is_transition:
            maps = maps + torch.eye(rows)
        self.is_narrow = self.channels <= NARROW
        self.frequency = convolution_1d(
            maps.reshape(-1, rows, 1),
            None if self.is_narrow else offsets.flatten(),
            groups=self.channels,
        )
        self.pool = convolution_1d(means.reshape(-1, rows, 1), mean_offsets, groups=self.channels)
        temporal = fuse_conv_bn_eval(block.temporal_conv, block.temporal_norm)
        self.temporal = convolution_1d(
            temporal.weight.squeeze(2),
            temporal.bias,
            groups=self.channels,
            padding=temporal.padding[1],
            dilation=temporal.dilation[1],
        )
        if self.is_transition:
            by_channel = [
                layer.weight.unflatten(0, (self.channels, -1))
                for layer in (self.frequency, self.pool)
            ]
            balance(self.expand, *by_channel)
        pointwise = block.pointwise.weight.squeeze(-1)
        if self.is_narrow:
            repeated = pointwise.repeat_interleave(self.rows_out, dim=0)
            self.pointwise = convolution_1d(repeated, offsets.flatten())
        else:
            self.pointwise = convolution_1d(pointwise)

    def forward(self, rows: Tensor) -> Tensor:
        rows = self.expanded(rows)
        return self.combined(rows, self.pool(rows))

    def expanded(self, rows: Tensor) -> Tensor:
        """The rows that the convolution over frequency sees, (B, C M, F)."""
        if not self.is_transition:
            return rows
        n_frames = rows.shape[-1]
        pixels = rows.reshape(-1, self.expand.in_channels, self.rows_in * n_frames)
        return functional.relu(self.expand(pixels)).reshape(
            -1, self.channels * self.rows_in, n_frames
        )

    def combined(self, rows: Tensor, pooled: Tensor) -> Tensor:
        """What the block answers, given the means over frequency, (B, C, F and what the convolution takes away)."""
        temporal = self.pointwise(functional.silu(self.temporal(pooled)))
        spectral = self.frequency(rows)
        if self.is_narrow:
            return functional.relu(temporal + spectral)
        pictures = spectral.unflatten(1, (self.channels, self.rows_out))
        return functional.relu(temporal.unsqueeze(2) + pictures).flatten(1, 2)


def flat_blocks(
    blocks: Iterable[BroadcastedBlock], stem: nn.Conv2d, n_mels: int
) -> list[FlatBlock]:
    rows = -(-n_mels // stem.stride[0])
    flat: list[FlatBlock] = []
    for block in blocks:
        flat.append(FlatBlock(block, rows))
        rows = flat[-1].rows_out
    return flat


def balance(layer: nn.Module, *following: Tensor) -> None:
    """Make the channels of a layer before a relu about equally loud, and those behind it as they were.

    Cross-layer equalisation, Nagel et al. 2019 (arXiv 1906.04721), section 4.1, by powers of two, which round nothing.

    Args:
        layer: a convolution of C channels with a bias.
        following: weights (C, ...) of what takes the relu of these channels, changed in place.
    """
    loudness = layer.weight.abs().flatten(1).sum(dim=1) + layer.bias.abs()
    # Silent channels stay as they are.
    factor = loudness.where(loudness > 0, 1).log2().round().exp2()
    for weight in (layer.weight, layer.bias):
        weight.div_(broadcast(factor, weight))
    for weight in following:
        weight.mul_(broadcast(factor, weight))


def broadcast(factor: Tensor, weight: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (weight.dim() - 1))


def affine_maps(layer: nn.Module, channels: int, rows: int) -> tuple[Tensor, Tensor]:
    """Matrices (C, N, M) and offsets (C, N) of a layer that maps the rows of each channel by itself.

    The layer is asked about nothing, and about each row alone.
    """
    probes = torch.cat([torch.zeros(1, rows), torch.eye(rows)])  # (1 + M, M)
    answers = layer(probes[:, None, :, None].expand(-1, channels, -1, 1)).squeeze(
        -1
    )  # (1 + M, C, N)
    offsets, maps = answers[0], answers[1:] - answers[0]
    return maps.permute(1, 2, 0), offsets


def convolution_1d(
    weight: Tensor, bias: Tensor | None = None, groups: int = 1, padding: int = 0, dilation: int = 1
) -> nn.Conv1d:
    """A convolution over frames with these weights, (out, in / groups, kernel)."""
    out_channels, in_channels, kernel = weight.shape
    layer = nn.Conv1d(
        in_channels * groups,
        out_channels,
        kernel,
        groups=groups,
        padding=padding,
        dilation=dilation,
        bias=bias is not None,
    )
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer
