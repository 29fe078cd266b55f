"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass). Here an
activation is held as (C, M, L) with L = F x B, the batch innermost, and a channel goes through a whole block while it
lies in a core's cache, in the compiled loops of `training_kernels`. The function, and the drawing of its dropout, stay
what they are in the plain form.
"""

import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from speech_commands_kws.models.cpu_training import kernels
from speech_commands_kws.models.cpu_training.passes import (
    Activation,
    BlockPass,
    HeadPass,
    StemPass,
    finish_and_begin,
    parameters_of,
)
from speech_commands_kws.models.cpu_training.workspace import Workspace
from speech_commands_kws.models.thread_team import ThreadTeam

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
        team = ThreadTeam()
        with team:
            given = begin(ctx, log_mel, model, team)
            ctx.head = HeadPass(model.head, len(log_mel), team, model.workspace)
            return ctx.head.forward(given)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logits):
        check_first(ctx)
        with ctx.team:
            grad, total, found = ctx.head.backward(grad_logits)
            return None, None, *turn_back(ctx, grad, total), *found


class _Trunk(Function):
    """Log-mel (B, 1, M, F) to what the last block gives, (B, C, M', F)."""

    @staticmethod
    def forward(ctx, log_mel: Tensor, model, *parameters):
        team = ThreadTeam()
        with team:
            ctx.output = begin(ctx, log_mel, model, team).rows
        channels, mels, _ = ctx.output.shape
        rows = torch.from_numpy(ctx.output).view(channels, mels, -1, len(log_mel))
        return rows.permute(3, 0, 1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rows):
        check_first(ctx)
        channels, mels, length = ctx.output.shape
        # Of the workspace, into which the way back gives them.
        grad = ctx.workspace.take(ctx.output.shape, ctx.output.dtype)
        total = ctx.workspace.take((channels, length), ctx.output.dtype)
        given = grad_rows.permute(1, 2, 3, 0).reshape(channels, mels, length).numpy()
        np.multiply(given, ctx.output > 0, out=grad)
        np.sum(grad, axis=1, out=total)
        with ctx.team:
            return None, None, *turn_back(ctx, grad, total)


def begin(ctx, log_mel: Tensor, model, team: ThreadTeam) -> Activation:
    """Stem and blocks, kept in `ctx` for the way back."""
    ctx.team, batch = team, len(log_mel)
    ctx.workspace = model.workspace = model.workspace or Workspace()
    shared = team, model.workspace
    ctx.stem = StemPass(model.stem, *shared)
    ctx.blocks = [BlockPass(block, batch, *shared) for block in model.blocks]
    given, before = ctx.stem.forward(log_mel), None
    for block in ctx.blocks:
        if block.expand and before:
            # Its first convolution mixes the channels, so all of the input must be there.
            team.share(finish_and_begin, len(given.rows), before, None)
            before = None
        given = block.prepare(given)
        team.share(finish_and_begin, len(given.rows), before, block)
        before = block
    team.share(finish_and_begin, len(given.rows), before, None)
    return given


def turn_back(ctx, grad: np.ndarray, total: np.ndarray) -> list[Tensor]:
    """Gradients of the parameters of stem and blocks, from d of what the last block gives and its sum over M'."""
    found: list[Tensor] = []
    while ctx.blocks:
        grad, total, more = ctx.blocks.pop().backward(grad, total)
        found = [*more, *found]
    return [*ctx.stem.backward(grad), *found]


def check_first(ctx) -> None:
    if not ctx.blocks:
        raise RuntimeError("expected one backward pass for a forward pass, got a second one")


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given, and backward can be run once.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    return _apply(_Network, model, log_mel, model.head.parameters())


def training_features(model, log_mel: Tensor) -> Tensor:
    """What `model.blocks(model.stem(log_mel))` gives in training mode, under the same conditions.

    Shape: (B, 1, M, F) log-mel to (B, C, M', F).
    """
    return _apply(_Trunk, model, log_mel, [])


def _apply(
    function: type[Function], model, log_mel: Tensor, further: Iterable[nn.Parameter]
) -> Tensor:
    announce_compilation()
    blocks = [parameter for block in model.blocks for parameter in parameters_of(block)]
    parameters = [*model.stem.parameters(), *blocks, *further]
    with torch.autocast(log_mel.device.type, enabled=False):
        return function.apply(log_mel.to(parameters[0].dtype), model, *parameters)
