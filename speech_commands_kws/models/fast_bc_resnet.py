"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass).
Three changes remove most of those passes and leave the function as it is.

**Layout.** An activation is held as (C, M, L) with L = F x B, the batch innermost. Every convolution is then a
product of a small matrix A with long contiguous rows:

- over frequency (depthwise): a banded matrix (M', M) for each channel;
- pointwise: one matrix (C', C) on the view (1, C, M x L);
- over time (depthwise): the taps weigh the rows "signal moved by k frames"; to move by a frame is to move by B;
- the stem: one matrix (C, 25) on the 25 rows "input moved by (i, j)", (1, 25, M x L).

**Norm.** Every norm is folded into the matrix before it (`folded_norm`), so that the product itself is never made.

**Blocks.** With s = A' x + h the normed convolution over frequency, a block is relu(s [+ x] + t(mean over M of s)). Its
output takes one product, (A' [+ 1]) x, to which h and t are added in place; the mean of s takes the mean row of A'.
Backward, with d = [out > 0] dout and dp the gradient of the mean, s has the gradient e = d + dp / M', and

    dA' = e x^T,    dh = sum of e over L,    dx = A'^T e [+ d] = (A' [+ 1])^T e [- dp / M'],

to which the norm adds its part. d and e take the place of the output, which is not needed again.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from speech_commands_kws.models.block_pass import BlockPass, parameters_of, sum_behind_relu
from speech_commands_kws.models.folded_norm import FoldedNorm


class _PointwiseLayer(Function):
    """relu(norm(weight x)); gamma and beta, those of the norm, are arguments for autograd to see them.

    Shape: x (1, R, L), weight (C, R, 1, 1) to (1, C, L).
    """

    @staticmethod
    def forward(ctx, rows, weight, gamma, beta, norm: FoldedNorm):
        folded, offset = norm.forward(rows, weight.view(1, len(weight), -1))
        output = torch.bmm(folded, rows).add_(offset).relu_()
        ctx.save_for_backward(rows, folded, output)
        ctx.norm, ctx.shape = norm, weight.shape
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rows, folded, output = ctx.saved_tensors
        grad = _relu_backward(grad, output)
        grad_weight, *grad_norm = ctx.norm.backward(torch.bmm(grad, rows.mT), grad.sum(2))
        grad_rows = None
        if ctx.needs_input_grad[0]:
            grad_rows = ctx.norm.add_gradient(torch.bmm(folded.mT, grad), rows)
        return grad_rows, grad_weight.view(ctx.shape), *grad_norm, None


class _Blocks(Function):
    """All blocks; their parameters are arguments for autograd to see them. Shape: (C, M, L) to (C', M / 4, L)."""

    @staticmethod
    def forward(ctx, rows, batch: int, blocks, *parameters):
        ctx.passes, activations = [], [rows]
        for block in blocks:
            ctx.passes.append(BlockPass(block, batch))
            activations.append(ctx.passes[-1].forward(activations[-1]))
        ctx.save_for_backward(*activations)
        return activations[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        *inputs, output = ctx.saved_tensors
        grad = grad.clone(memory_format=torch.contiguous_format)
        total = sum_behind_relu(grad, output)
        grad_parameters: list[Tensor] = []
        for each, rows in zip(reversed(ctx.passes), reversed(inputs), strict=True):
            grad, total, found = each.backward(grad, total, rows)
            grad_parameters = [*found, *grad_parameters]
        ctx.passes = []
        return grad, None, None, *grad_parameters


def _relu_backward(grad: Tensor, output: Tensor) -> Tensor:
    """Gradient before the relu, in the place of its output."""
    return torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=output)


def _moved(length: int, move: int) -> tuple[slice, slice]:
    """Places of a row and of a signal where row[l] = signal[l + move] exists."""
    move = min(max(move, -length), length)
    row = slice(max(-move, 0), length - max(move, 0))
    return row, slice(row.start + move, row.stop + move)


def _shift(signal: Tensor, taps: int, step: int) -> Tensor:
    """Signals (C, 1, L) to rows (C, K, L): row k is the signal moved by k - K // 2 steps, zeros moving in."""
    length = signal.shape[2]
    rows = signal.new_empty(len(signal), taps, length)
    for k in range(taps):
        row, place = _moved(length, (k - taps // 2) * step)
        rows[:, k, : row.start] = 0.0
        rows[:, k, row] = signal[:, 0, place]
        rows[:, k, row.stop :] = 0.0
    return rows


def _shift_back(rows: Tensor, step: int) -> Tensor:
    """The transpose of `_shift`: rows (C, K, L) moved back and added, (C, 1, L)."""
    middle = rows.shape[1] // 2
    signal = rows[:, middle : middle + 1].clone()
    for k in range(rows.shape[1]):
        if k != middle:
            row, place = _moved(rows.shape[2], (k - middle) * step)
            signal[:, 0, place] += rows[:, k, row]
    return signal


class _ShiftBack(Function):
    """`_shift_back` for autograd."""

    @staticmethod
    def forward(ctx, rows: Tensor, step: int):
        ctx.arguments = rows.shape[1], step
        return _shift_back(rows, step)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return _shift(grad, *ctx.arguments), None


def _pointwise(rows: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """(1, R, L) to (1, C, L)."""
    folded = FoldedNorm(norm, bands=conv.out_channels)
    return _PointwiseLayer.apply(rows, conv.weight, norm.weight, norm.bias, folded)


def _stem(stem: nn.Sequential, log_mel: Tensor) -> Tensor:
    """Log-mel (B, 1, M, F) to (C, M / 2, L)."""
    conv, norm, _ = stem
    taps, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    borders = (0, 0, padding, padding, padding, padding)  # of batch, frames, mels
    padded = functional.pad(log_mel[:, 0].permute(1, 2, 0), borders)
    windows = padded.unfold(0, taps, stride).unfold(1, taps, 1)  # (M / 2, F, B, taps, taps)
    patches = windows.movedim((-2, -1), (0, 1)).reshape(1, taps * taps, -1)
    return _pointwise(patches, conv, norm).view(conv.out_channels, len(windows), -1)


def _run_blocks(blocks: nn.Sequential, activation: Tensor, batch: int) -> Tensor:
    parameters = [parameter for block in blocks for parameter in parameters_of(block)]
    return _Blocks.apply(activation, batch, blocks, *parameters)


def _head(head: nn.Sequential, activation: Tensor, batch: int) -> Tensor:
    """(C, M, L) to logits (B, K)."""
    conv, pointwise, norm, activate, _, classifier = head
    rows = torch.bmm(conv.weight.squeeze(1).mT, activation)  # (C, taps, L)
    # The convolution over time moves its output where _shift moves the input: hence the opposite step.
    signal = _ShiftBack.apply(rows, -batch).squeeze(1)
    hidden = (pointwise.weight.flatten(1) @ signal).view(1, pointwise.out_channels, -1, batch)
    mean = activate(norm(hidden)).mean(2).squeeze(0)
    return (classifier.weight.flatten(1) @ mean).t() + classifier.bias


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given, and backward can be run once.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    batch = len(log_mel)
    with torch.autocast(log_mel.device.type, enabled=False):
        activation = _stem(model.stem, log_mel.to(model.stem[0].weight.dtype))
        activation = _run_blocks(model.blocks, activation, batch)
        return _head(model.head, activation, batch)
