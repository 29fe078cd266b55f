"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass). Here an
activation is held as (C, M, L) with L = F x B, the batch innermost, and a channel goes through a whole block while it
lies in a core's cache, in the compiled loops of `training_kernels`. The function, and the drawing of its dropout, stay
what they are in the plain form.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from speech_commands_kws.models.block_pass import BlockPass, ClosePass, StemPass, parameters_of
from speech_commands_kws.models.thread_team import ThreadTeam


class _UpToHead(Function):
    """Log-mel (B, 1, M, F) to the signals (C, L) that the head's first convolution makes.

    All parameters are arguments for autograd to see them.
    """

    @staticmethod
    def forward(ctx, log_mel: Tensor, model, *parameters):
        ctx.team, batch = ThreadTeam(), len(log_mel)
        shared = ctx.team, model.workspace
        ctx.stem = StemPass(model.stem, *shared)
        ctx.blocks = [BlockPass(block, batch, *shared) for block in model.blocks]
        ctx.close = ClosePass(model.head[0], batch, *shared)
        with ctx.team:
            ctx.blocks[0].begin(ctx.stem.forward(log_mel))
            for before, block in zip(ctx.blocks, ctx.blocks[1:]):
                if block.expand:
                    block.begin(before.finish())
                else:
                    before.finish_and_begin(block)
            return ctx.close.forward(ctx.blocks[-1].finish())

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_signal):
        if not ctx.blocks:
            raise RuntimeError("expected one backward pass for a forward pass, got a second one")
        with ctx.team:
            grad, total, found = ctx.close.backward(grad_signal.contiguous())
            while ctx.blocks:
                grad, total, more = ctx.blocks.pop().backward(grad, total)
                found = [*more, *found]
            return None, None, *ctx.stem.backward(grad), *found


def _head(head: nn.Sequential, signal: Tensor, batch: int) -> Tensor:
    """(C, L) to logits (B, K)."""
    _, pointwise, norm, activate, _, classifier = head
    hidden = (pointwise.weight.flatten(1) @ signal).view(1, pointwise.out_channels, -1, batch)
    mean = activate(norm(hidden)).mean(2).squeeze(0)
    return (classifier.weight.flatten(1) @ mean).t() + classifier.bias


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given, and backward can be run once.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    parameters = [
        *model.stem.parameters(),
        *(parameter for block in model.blocks for parameter in parameters_of(block)),
        *model.head[0].parameters(),
    ]
    with torch.autocast(log_mel.device.type, enabled=False):
        signal = _UpToHead.apply(log_mel.to(model.stem[0].weight.dtype), model, *parameters)
        return _head(model.head, signal, len(log_mel))
