"""Stem, blocks and the last convolution of BC-ResNet, forward and back, on arrays that compiled loops work on.

With x of shape (C, M, L) and s = A x the depthwise convolution over frequency, a block is

    relu(gain s + offset [+ x] + t(mean over M of (gain s + offset))).

Backward, with d = [out > 0] dout, t gives the gradient dp of the mean, and the gradient of gain s + offset is
e = d + dp / M'. Batch norm over n values of mean m and gain g = gamma r, r = (v + eps)^(-1/2), then has

    dbeta = sum of e,    dgamma = r (sum of e s - m dbeta),    ds = g e - (g r dgamma / n) (s - m) - g dbeta / n.

Legend: B clips, C channels, M mel bins, S bands, L frames x clips, the clips innermost.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.models.cpu_training import kernels as kernels
from speech_commands_kws.models.cpu_training.kernels import (
    FACTORS,
    TILE,
    Block,
    BlockGradients,
    Norm,
)
from speech_commands_kws.models.cpu_training.workspace import Workspace
from speech_commands_kws.models.thread_team import ThreadTeam


class Activation(NamedTuple):
    """relu(scale y + shift) of y, (C, M, L)."""

    rows: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def parameters_of(block) -> list[Tensor]:
    """In the order of the gradients that `BlockPass.backward` gives."""
    modules = [block.expand, block.expand_norm] if block.is_transition else []
    modules += [block.frequency_conv, block.frequency_norm.norm]
    modules += [block.temporal_conv, block.temporal_norm, block.pointwise]
    return [parameter for module in modules for parameter in module.parameters()]


def _norm(batch_norm: nn.BatchNorm2d, bands: int) -> Norm:
    """Its parameters and statistics as arrays (C, S), and room for what a pass finds."""
    names = "weight", "bias", "running_mean", "running_var"
    arrays = [
        getattr(batch_norm, name).detach().numpy().reshape(-1, bands) for name in names  # views
    ]
    batch_norm.num_batches_tracked.numpy()[...] += 1
    shape, dtype = arrays[0].shape, arrays[0].dtype
    mean, rate = np.empty((2, *shape))
    gain, offset = np.empty((2, *shape), dtype)
    factors = np.empty((FACTORS, *shape), dtype)
    gradients = np.empty((2, *shape), dtype)
    found = mean, rate, gain, offset, factors, *gradients
    return Norm(*arrays, batch_norm.momentum, batch_norm.eps, *found)


def _gradients(norm: Norm) -> list[Tensor]:
    return [torch.from_numpy(each.reshape(-1)) for each in (norm.grad_gamma, norm.grad_beta)]


def _array(conv: nn.Conv2d) -> np.ndarray:
    """The weights, (C', R), out of autograd's sight."""
    return conv.weight.detach().flatten(1).numpy()


class StemPass:
    """relu(norm(convolution 5 x 5)) of log-mel images, forward and back."""

    def __init__(self, stem: nn.Sequential, team: ThreadTeam, workspace: Workspace):
        self.team, self.workspace = team, workspace
        *padding, self.conv, batch_norm, _ = stem
        around = self.conv.padding[0]
        # Before and after the frames, below and above the mel bins.
        self.borders = padding[0].padding if padding else (around,) * 4
        self.norm = _norm(batch_norm, 1)

    def forward(self, log_mel: Tensor) -> Activation:
        """(B, 1, M, F) to (C, M / 2, L)."""
        batch, _, mels, frames = log_mel.shape
        padded = functional.pad(log_mel[:, 0].permute(1, 2, 0), (0, 0, *self.borders)).flatten(1)
        weight, stride = self.conv.weight.detach()[:, 0].numpy(), self.conv.stride[0]
        self.images, self.place = padded.numpy(), (stride, batch)
        shape = len(weight), mels // stride, frames * batch
        self.made = self.workspace.take(shape, weight.dtype)
        arguments = self.images, weight, *self.place, self.norm, self.made
        self.team.share(kernels.stem, len(weight), *arguments)
        return Activation(self.made, self.norm.gain[:, 0], self.norm.offset[:, 0])

    def backward(self, grad: np.ndarray) -> list[Tensor]:
        """Gradients of convolution and norm, from d."""
        grad_weight = torch.empty_like(self.conv.weight)
        arguments = self.images, self.made, grad, *self.place, self.norm, grad_weight[:, 0].numpy()
        self.team.share(kernels.stem_back, len(grad), *arguments)
        self.workspace.give(self.made, grad)
        return [grad_weight, *_gradients(self.norm)]


class ExpandPass:
    """norm(pointwise convolution) of an activation; its relu is the reader's."""

    def __init__(self, block, team: ThreadTeam, workspace: Workspace):
        self.team, self.workspace = team, workspace
        self.weight = _array(block.expand)
        self.norm = _norm(block.expand_norm, 1)

    def forward(self, given: Activation) -> Activation:
        self.given = given
        _, mels, length = given.rows.shape
        self.made = self.workspace.take((len(self.weight), mels, length), given.rows.dtype)
        sums = self._share_tiles(kernels.expand, *given, self.weight, self.made)
        kernels.settle_all(self.norm, sum(sums), mels * length)
        return Activation(self.made, self.norm.gain[:, 0], self.norm.offset[:, 0])

    def backward(
        self, grad: np.ndarray, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Tensor]]:
        """From d of `made` and the sums of d and of d times `made`: d of what was given, and the gradients."""
        rows = self.given.rows
        kernels.turn_back_all(self.norm, sums, rows.shape[1] * rows.shape[2])
        grad_rows = self.workspace.take(rows.shape, rows.dtype)
        total = self.workspace.take((len(rows), rows.shape[2]), rows.dtype)
        transposed = np.ascontiguousarray(self.weight.T)
        back = self.made, grad, self.norm, grad_rows, total
        parts = self._share_tiles(kernels.expand_back, *self.given, transposed, *back)
        self.workspace.give(self.made, grad)
        grad_weight = torch.from_numpy(sum(parts).astype(rows.dtype))[..., None, None]
        return grad_rows, total, [grad_weight, *_gradients(self.norm)]

    def _share_tiles(self, work: Callable[..., np.ndarray], *arguments: Any) -> list[np.ndarray]:
        length = self.given.rows.shape[2]
        return self.team.share(work, -(-length // TILE), *arguments)


class BlockPass:
    """A block, in two parts: the block that follows makes its output, while it has the rows at hand."""

    def __init__(self, block, batch: int, team: ThreadTeam, workspace: Workspace):
        self.block, self.batch, self.team, self.workspace = block, batch, team, workspace
        self.expand = ExpandPass(block, team, workspace) if block.is_transition else None
        self.pointwise = torch.from_numpy(_array(block.pointwise))
        self.mask = None
        if block.dropout.p > 0:
            # Drawn as Dropout2d draws it, so that one seed gives one mask in both forms.
            keep = 1 - block.dropout.p
            mask = self.pointwise.new_empty(batch, len(self.pointwise))
            self.mask = mask.bernoulli_(keep).div_(keep).t().contiguous()[:, None]

    def prepare(self, given: Activation) -> Activation:
        """Take what comes before the block, or before its transition; where its output, (C', M', L), will be."""
        given = self.expand.forward(given) if self.expand else given
        channels, mels, length = given.rows.shape
        block, dtype = self.block, given.rows.dtype
        stride = block.frequency_conv.stride[0]
        shape = (channels, length)
        signal, made = (self.workspace.take(shape, dtype) for _ in range(2))
        normed, added, self.active = (self.workspace.take(shape, dtype) for _ in range(3))
        output = self.workspace.take((channels, mels // stride, length), dtype)
        step = block.temporal_conv.dilation[1] * self.batch
        self.arrays = Block(
            *given,
            _array(block.frequency_conv),
            stride,
            float(not block.is_transition),
            _norm(block.frequency_norm.norm, block.frequency_norm.sub_bands),
            signal,
            _array(block.temporal_conv),
            step,
            2 * step if block.history_frames else step,
            made,
            _norm(block.temporal_norm, 1),
            normed,
            added,
            output,
        )
        return Activation(output, np.ones(channels, dtype), np.zeros(channels, dtype))

    def activate(self, first: int, last: int) -> None:
        normed, active = (
            torch.from_numpy(each)[first:last] for each in (self.arrays.normed, self.active)
        )
        torch.ops.aten.silu.out(normed, out=active)

    def add(self, first: int, last: int) -> None:
        """What the temporal branch adds, from its activation."""
        added = torch.from_numpy(self.arrays.added)[first:last]
        torch.mm(self.pointwise[first:last], torch.from_numpy(self.active), out=added)
        self._drop(added, first, last)

    def _drop(self, signal: Tensor, first: int, last: int) -> None:
        """Silence the dropped channels of each clip."""
        if self.mask is not None:
            signal.view(last - first, -1, self.batch).mul_(self.mask[first:last])

    def backward(
        self, grad: np.ndarray, total: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Tensor]]:
        """From d (C', M', L) and its sum over M', (C', L): the same of what was given, and the gradients."""
        block, arrays, (channels, length) = self.block, self.arrays, total.shape
        take, dtype = self.workspace.take, grad.dtype
        self._drop(torch.from_numpy(total), 0, channels)
        taps, temporal_taps = (
            torch.empty_like(conv.weight) for conv in (block.frequency_conv, block.temporal_conv)
        )
        grads = BlockGradients(
            grad,
            take((channels, length), dtype),
            take(arrays.rows.shape, dtype),
            take((channels, length), dtype),
            taps.view(channels, -1).numpy(),
            temporal_taps.view(channels, -1).numpy(),
            np.empty((2, channels)),
        )
        # Its rows are columns of the weight.
        pointwise = torch.empty_like(block.pointwise.weight).view(channels, channels)
        self.team.share(self._go_back, channels, total, grads, pointwise)
        self.workspace.give(grad, total, grads.active, self.active, arrays.signal, arrays.made)
        self.workspace.give(arrays.normed, arrays.added, arrays.output)
        found = [taps, *_gradients(arrays.norm), temporal_taps]
        found += [*_gradients(arrays.temporal_norm), pointwise.t()[..., None, None]]
        if self.expand is None:
            return grads.rows, grads.total, found
        self.workspace.give(grads.total)
        grad, total, expanded = self.expand.backward(grads.rows, grads.sums)
        return grad, total, [*expanded, *found]

    def _go_back(
        self, first: int, last: int, total: np.ndarray, grads: BlockGradients, pointwise: Tensor
    ) -> None:
        whole = torch.from_numpy(total)
        active, grad, normed = (
            torch.from_numpy(each)[first:last]
            for each in (self.active, grads.active, self.arrays.normed)
        )
        torch.mm(active, whole.t(), out=pointwise[first:last])
        torch.mm(self.pointwise.t()[first:last], whole, out=grad)
        torch.ops.aten.silu_backward.grad_input(grad, normed, grad_input=grad)
        kernels.go_back(first, last, self.arrays, grads)


def finish_and_begin(
    first: int, last: int, block: BlockPass | None, following: BlockPass | None
) -> None:
    """Finish a block and begin the following one, channel by channel, while its output is at hand."""
    if block:
        block.add(first, last)
    kernels.finish_and_begin(first, last, block and block.arrays, following and following.arrays)
    if following:
        following.activate(first, last)


class HeadPass:
    """The head: convolutions over all mel bins and over channels, norm, relu, mean over time, classifier."""

    def __init__(self, head: nn.Sequential, batch: int, team: ThreadTeam, workspace: Workspace):
        self.conv, self.pointwise, batch_norm, _, _, classifier = head
        self.batch, self.team, self.workspace = batch, team, workspace
        self.taps = self.conv.weight.detach()[:, 0].numpy()
        self.weight = torch.from_numpy(_array(self.pointwise))
        self.norm = _norm(batch_norm, 1)
        self.classes = classifier.weight.detach().flatten(1), classifier.bias.detach()

    def forward(self, given: Activation) -> Tensor:
        """(C, M, L) to logits (B, K)."""
        self.rows = given.rows
        channels, _, length = self.rows.shape
        self.signal = self.workspace.take((channels, length), self.rows.dtype)
        self.hidden = self.workspace.take((len(self.weight), length), self.rows.dtype)
        self.mean = self.weight.new_empty(len(self.weight), self.batch)
        arguments = self.rows, self.taps, self.batch, self.signal
        self.team.share(kernels.close, channels, *arguments)
        self.team.share(self._mean, len(self.mean))
        weight, bias = self.classes
        return torch.addmm(bias, self.mean.t(), weight.t())

    def _mean(self, first: int, last: int) -> None:
        hidden = torch.from_numpy(self.hidden)[first:last]
        torch.mm(self.weight[first:last], torch.from_numpy(self.signal), out=hidden)
        arguments = self.hidden, self.batch, self.norm, self.mean.numpy()
        kernels.mean_active(first, last, *arguments)

    def backward(self, grad_logits: Tensor) -> tuple[np.ndarray, np.ndarray, list[Tensor]]:
        """d of what was given, its sum over M, and the gradients."""
        take, (channels, length) = self.workspace.take, self.signal.shape
        grad_classes = (grad_logits.t() @ self.mean.t())[..., None, None]
        grad_mean = self.classes[0].t() @ grad_logits.t()
        grad_hidden = take(self.hidden.shape, self.hidden.dtype)
        grad_weight = torch.empty_like(self.pointwise.weight)
        arguments = grad_mean.numpy(), grad_hidden, grad_weight.flatten(1)
        self.team.share(self._mean_back, len(grad_mean), *arguments)
        grad_rows, grad_signal, total = (
            take(shape, grad_hidden.dtype)
            for shape in (self.rows.shape, (channels, length), (channels, length))
        )
        grad_taps = torch.empty_like(self.conv.weight)
        found = grad_rows, total, grad_taps[:, 0].numpy()
        self.team.share(self._close_back, channels, grad_hidden, grad_signal, *found)
        self.workspace.give(self.signal, self.hidden, grad_hidden, grad_signal)
        grads = [grad_taps, grad_weight, *_gradients(self.norm), grad_classes, grad_logits.sum(0)]
        return grad_rows, total, grads

    def _mean_back(
        self, first: int, last: int, grad_mean: np.ndarray, grad: np.ndarray, grad_weight: Tensor
    ) -> None:
        arguments = self.hidden, self.batch, self.norm, grad_mean, grad
        kernels.mean_active_back(first, last, *arguments)
        part, signal = torch.from_numpy(grad)[first:last], torch.from_numpy(self.signal)
        torch.mm(part, signal.t(), out=grad_weight[first:last])

    def _close_back(
        self, first: int, last: int, grad_hidden: np.ndarray, grad: np.ndarray, *found: np.ndarray
    ) -> None:
        weight = self.weight.t()[first:last]
        torch.mm(weight, torch.from_numpy(grad_hidden), out=torch.from_numpy(grad)[first:last])
        arguments = self.rows, self.taps, self.batch, grad, *found
        kernels.close_back(first, last, *arguments)
