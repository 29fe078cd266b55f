"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass). Here an
activation is held as (C, M, L) with L = F x B, the batch innermost, and stem and blocks run in the compiled loops of
`training_kernels`: forward, a block reads its input twice and writes its output; backward, it reads input and gradient
twice and writes the gradient of its input, which is masked by the relu before and summed on the way. The function, and
the drawing of its dropout, stay what they are in the plain form.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from speech_commands_kws.models.block_pass import (
    BlockPass,
    StemPass,
    parameters_of,
    sum_behind_relu,
)
from speech_commands_kws.models.thread_team import ThreadTeam


class _StemAndBlocks(Function):
    """Log-mel (B, 1, M, F) to the last activation (C, M / 8, L).

    All parameters are arguments for autograd to see them.
    """

    @staticmethod
    def forward(ctx, log_mel: Tensor, model, *parameters):
        ctx.team = ThreadTeam()
        ctx.stem, ctx.passes = StemPass(model.stem, ctx.team), []
        with ctx.team:
            activations = [ctx.stem.forward(log_mel)]
            for block in model.blocks:
                ctx.passes.append(BlockPass(block, len(log_mel), ctx.team))
                activations.append(ctx.passes[-1].forward(activations[-1]))
        ctx.save_for_backward(*activations)
        return activations[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        *inputs, output = ctx.saved_tensors
        with ctx.team:
            grad = grad.clone(memory_format=torch.contiguous_format)
            total = sum_behind_relu(ctx.team, grad, output)
            grad_parameters: list[Tensor] = []
            while ctx.passes:  # each is let go with what it keeps
                grad, total, found = ctx.passes.pop().backward(grad, total, inputs.pop())
                grad_parameters = [*found, *grad_parameters]
            return None, None, *ctx.stem.backward(grad), *grad_parameters


def _head(head: nn.Sequential, activation: Tensor, batch: int) -> Tensor:
    """(C, M, L) to logits (B, K)."""
    conv, pointwise, norm, activate, _, classifier = head
    rows = torch.bmm(conv.weight.squeeze(1).mT, activation)  # (C, taps, L)
    signal = _SumOfMoved.apply(rows, batch)
    hidden = (pointwise.weight.flatten(1) @ signal).view(1, pointwise.out_channels, -1, batch)
    mean = activate(norm(hidden)).mean(2).squeeze(0)
    return (classifier.weight.flatten(1) @ mean).t() + classifier.bias


class _SumOfMoved(Function):
    """Rows (C, taps, L), each moved by its place in the convolution over time, added: (C, L)."""

    @staticmethod
    def forward(ctx, rows: Tensor, step: int) -> Tensor:
        ctx.taps, ctx.step = rows.shape[1], step
        total = rows[:, ctx.taps // 2].clone()
        for k, to, of in _moves(*rows.shape[1:], step):
            total[:, to] += rows[:, k, of]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        channels, length = grad.shape
        grad_rows = grad.new_zeros(channels, ctx.taps, length)
        grad_rows[:, ctx.taps // 2] = grad
        for k, to, of in _moves(ctx.taps, length, ctx.step):
            grad_rows[:, k, of] = grad[:, to]
        return grad_rows, None


def _moves(taps: int, length: int, step: int) -> Iterator[tuple[int, slice, slice]]:
    """Of each tap but the middle one: where its row goes, and which part of the row that is."""
    for k in range(taps):
        move = (k - taps // 2) * step
        if 0 < abs(move) < length:
            ahead, behind = slice(max(move, 0), length + min(move, 0)), slice(
                max(-move, 0), length - max(move, 0)
            )
            yield k, behind, ahead


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given, and backward can be run once.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    parameters = [
        *model.stem.parameters(),
        *(parameter for block in model.blocks for parameter in parameters_of(block)),
    ]
    with torch.autocast(log_mel.device.type, enabled=False):
        activation = _StemAndBlocks.apply(
            log_mel.to(model.stem[0].weight.dtype), model, *parameters
        )
        return _head(model.head, activation, len(log_mel))
