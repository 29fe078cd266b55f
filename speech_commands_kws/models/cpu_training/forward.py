"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass). Here an
activation is held as (C, M, L) with L = F x B, the batch innermost, and a channel goes through a whole block while it
lies in a core's cache, in the compiled loops of `training_kernels`. The function, and the drawing of its dropout, stay
what they are in the plain form.
"""

import logging
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from speech_commands_kws.models.cpu_training import kernels
from speech_commands_kws.models.cpu_training.passes import (
    BlockPass,
    HeadPass,
    StemPass,
    finish_and_begin,
    parameters_of,
)
from speech_commands_kws.models.cpu_training.threads import ThreadTeam
from speech_commands_kws.models.cpu_training.workspace import Workspace

LOG = logging.getLogger(__name__)


@cache
def announce_compilation() -> None:
    """Say in the first training why nothing happens; Numba keeps what it has compiled for the others."""
    source = Path(kernels.__file__)
    compiled = Path(kernels.finish_and_begin.stats.cache_path).glob(f"{source.stem}.*.nbi")
    changed = source.stat().st_mtime
    if not any(path.stat().st_mtime > changed for path in compiled):
        LOG.info("compiling the loops of the training, once on this machine: takes about a minute")


class _Network(Function):
    """Log-mel (B, 1, M, F) to logits (B, K).

    All parameters are arguments for autograd to see them.
    """

    @staticmethod
    def forward(ctx, log_mel: Tensor, model, *parameters):
        ctx.team, batch = ThreadTeam(), len(log_mel)
        model.workspace = model.workspace or Workspace()
        shared = ctx.team, model.workspace
        ctx.stem = StemPass(model.stem, *shared)
        ctx.blocks = [BlockPass(block, batch, *shared) for block in model.blocks]
        ctx.head = HeadPass(model.head, batch, *shared)
        with ctx.team:
            given, before = ctx.stem.forward(log_mel), None
            for block in ctx.blocks:
                if block.expand and before:
                    # Its first convolution mixes the channels, so all of the input must be there.
                    ctx.team.share(finish_and_begin, len(given.rows), before, None)
                    before = None
                given = block.prepare(given)
                ctx.team.share(finish_and_begin, len(given.rows), before, block)
                before = block
            ctx.team.share(finish_and_begin, len(given.rows), before, None)
            return ctx.head.forward(given)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logits):
        if not ctx.blocks:
            raise RuntimeError("expected one backward pass for a forward pass, got a second one")
        with ctx.team:
            grad, total, found = ctx.head.backward(grad_logits)
            while ctx.blocks:
                grad, total, more = ctx.blocks.pop().backward(grad, total)
                found = [*more, *found]
            return None, None, *ctx.stem.backward(grad), *found


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given, and backward can be run once.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    announce_compilation()
    parameters = [
        *model.stem.parameters(),
        *(parameter for block in model.blocks for parameter in parameters_of(block)),
        *model.head.parameters(),
    ]
    with torch.autocast(log_mel.device.type, enabled=False):
        return _Network.apply(log_mel.to(model.stem[0].weight.dtype), model, *parameters)
