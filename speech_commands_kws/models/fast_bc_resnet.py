"""The forward of BC-ResNet's training, arranged so that a CPU makes few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, norm, additions, activations, and each again in the backward pass).
Three changes remove most of those passes and leave the function as it is.

**Layout.** An activation is held as (C, M, L) with L = F x B, the batch innermost. Every convolution is then a
product of a small matrix with long contiguous rows:

- over frequency (depthwise): a banded matrix (M', M) for each channel;
- pointwise: one matrix (C', C) on the view (1, C, M x L);
- over time (depthwise): the taps weigh the rows "signal moved by k frames"; to move by a frame is to move by B;
- the stem: one matrix (C, 25) on the 25 rows "input moved by (i, j)", (1, 25, M x L).

**Norm.** Every norm is folded into the matrix before it (`folded_norm`), so that the product itself is never made. A
layer is out = relu(A' x + h + t), where the identity of a block is one more matrix within A', and t is its temporal
branch, which starts from the mean over frequency p = r x, r the mean of the rows of the folded matrix.

**Pieces.** L is cut into pieces of whole frames that stay in the cache while several steps are done on them: the
layer's product, its relu, and the moments for the next norm. In the backward pass the gradient of a layer's input,

    dx = A'^T d + S x + r^T dp + c,    d = [out > 0] dout,    S and c from the norm,

is not made by the layer itself: it hands the terms to the layer below, whose loop over pieces adds them up and at
once takes its own d, dA' = d x^T, dh (sum of d over L) and dt (sum over M) from the result.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from speech_commands_kws.models.folded_norm import FoldedNorm, Moments

# Numbers of the stem's output in a piece; a layer works on some four such tensors at a time.
PIECE_NUMBERS = 2**18


class _TemporalBranch:
    """dropout(pointwise(silu(norm(convolution over time)))) of signals (C, 1, L)."""

    def __init__(self, block, batch: int):
        self.conv, self.pointwise = block.temporal_conv, block.pointwise
        self.dropout = block.dropout.p
        self.batch, self.step = batch, block.temporal_conv.dilation[1] * batch
        self.norm = FoldedNorm(block.temporal_norm, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        self.rows = _shift(pooled, self.conv.kernel_size[1], self.step)
        self.folded, offset = self.norm.forward(self.conv.weight[:, 0], Moments(self.rows))
        self.normed = torch.bmm(self.folded, self.rows).add_(offset)[:, 0]
        self.active = functional.silu(self.normed)
        return self._drop(self.pointwise.weight[:, :, 0, 0] @ self.active, draw=True)[:, None]

    def _drop(self, signal: Tensor, draw: bool) -> Tensor:
        if self.dropout == 0.0:
            return signal
        if draw:  # as Dropout2d draws it, so that one seed gives one mask in both forms
            keep = 1 - self.dropout
            mask = signal.new_empty(self.batch, len(signal)).bernoulli_(keep).div_(keep)
            self.mask = mask.t()[:, None].contiguous()
        return (signal.view(len(signal), -1, self.batch) * self.mask).view_as(signal)

    def backward(self, grad: Tensor, grads: dict) -> Tensor:
        grad = self._drop(grad[:, 0], draw=False)
        grads[self.pointwise.weight] = (grad @ self.active.t()).view_as(self.pointwise.weight)
        grad = self.pointwise.weight[:, :, 0, 0].t() @ grad
        grad = torch.ops.aten.silu_backward(grad, self.normed)[:, None]
        grad_folded = torch.bmm(grad, self.rows.mT)
        grad_matrix, symmetric, constant = self.norm.backward(grad_folded, grad.sum(2), grads)
        grads[self.conv.weight] = grad_matrix.view_as(self.conv.weight)
        grad_rows = (self.folded.mT * grad).add_(constant)  # one row meets a column
        return _shift_back(grad_rows.baddbmm_(symmetric, self.rows), self.step)


class _Layer:
    """relu(norm(A x) [+ x] [+ temporal branch]) of pieces x: (C, R, L) to (C, R', L).

    A is the convolution's weight (C, taps) by `basis` (taps, R' x R), or the weight itself, for all x in one.
    """

    def __init__(
        self, conv: nn.Conv2d, norm: FoldedNorm, basis: Tensor | None, temporal=None, identity=False
    ):
        self.conv, self.norm, self.basis = conv, norm, basis
        self.temporal, self.identity = temporal, identity

    def arrange(self, activation: Tensor, length: int) -> Tensor:
        """View of an activation as this layer's input."""
        if self.basis is None:
            return activation.view(1, self.conv.in_channels, -1)
        return activation.view(self.conv.in_channels, -1, length)

    def _matrix(self, rows: int) -> Tensor:
        weight = self.conv.weight.flatten(1)
        if self.basis is None:
            return weight[None]
        return (weight @ self.basis).view(len(weight), -1, rows)

    def forward(self, pieces: list[Tensor], moments: Moments) -> None:
        """What is to be known of all pieces before the first output."""
        self.pieces = pieces
        self.folded, self.offset = self.norm.forward(self._matrix(pieces[0].shape[1]), moments)
        if self.temporal:
            self.row = self.folded.mean(1, keepdim=True)
            pooled = torch.cat([torch.bmm(self.row, piece) for piece in pieces], dim=2)
            pooled += self.offset.mean(1, keepdim=True)
            self.branch = _split(self.temporal.forward(pooled), pieces)
        if self.identity:
            self.folded.diagonal(dim1=1, dim2=2).add_(1.0)
        self.outputs = []

    def output(self, i: int) -> Tensor:
        result = torch.bmm(self.folded, self.pieces[i]).add_(self.offset)
        if self.temporal:
            result.add_(self.branch[i])
        self.outputs.append(result.relu_())
        return result

    def backward(self, terms: "_Terms", grads: dict) -> "_Terms":
        grad_folded = torch.zeros_like(self.folded)
        grad_offset = torch.zeros_like(self.offset)
        add_rows = self.folded.new_ones(self.folded.shape[0], 1, self.folded.shape[1])
        grad_branch = []
        for i, output in enumerate(self.outputs):
            # The output is not needed again: its gradient takes its place, in memory that is in the cache.
            grad = torch.ops.aten.threshold_backward.grad_input(
                terms.total(i).view_as(output), output, 0, grad_input=output
            )
            grad_folded.baddbmm_(grad, self.pieces[i].mT)
            grad_offset += grad.sum(2, keepdim=True)
            if self.temporal:
                grad_branch.append(torch.bmm(add_rows, grad))
        below = [(self.folded.mT, self.outputs)]
        if self.temporal:
            grad_pooled = self.temporal.backward(torch.cat(grad_branch, dim=2), grads)
            parts = _split(grad_pooled, self.pieces)
            pairs = zip(parts, self.pieces, strict=True)
            grad_row = sum(torch.bmm(part, piece.mT) for part, piece in pairs)
            rows = self.folded.shape[1]
            grad_folded = grad_folded + grad_row / rows
            grad_offset = grad_offset + grad_pooled.sum(2, keepdim=True) / rows
            below.append((self.row.mT, parts))
        grad_matrix, symmetric, constant = self.norm.backward(grad_folded, grad_offset, grads)
        below.append((symmetric, self.pieces))
        grad_weight = grad_matrix if self.basis is None else grad_matrix.flatten(1) @ self.basis.t()
        grads[self.conv.weight] = grad_weight.view_as(self.conv.weight)
        return _Terms(below, constant)


class _Terms:
    """A gradient that is not yet added up: sum of matrix (C, R, K) x piece i (C, K, L) over the terms, + constant."""

    def __init__(self, terms: list[tuple[Tensor, list[Tensor]]], constant: Tensor):
        self.terms, self.constant = terms, constant

    def total(self, i: int) -> Tensor:
        (matrix, pieces), *others = self.terms
        result = torch.bmm(matrix, pieces[i])
        for matrix, pieces in others:
            result.baddbmm_(matrix, pieces[i])
        return result.add_(self.constant)


def _split(joined: Tensor, pieces: list[Tensor]) -> tuple[Tensor, ...]:
    """(C, K, sum of L) as pieces (C, K, L)."""
    return joined.split([piece.shape[2] for piece in pieces], dim=2)


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


@cache
def _band(
    taps: int, stride: int, padding: int, mels: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """(taps, M' x M): 1 where the tap of a convolution over frequency joins output row and input row."""
    out_mels = (mels + 2 * padding - taps) // stride + 1
    tap = torch.arange(taps, device=device)[:, None, None]
    row = torch.arange(out_mels, device=device)[:, None] * stride
    return (torch.arange(mels, device=device) == row + tap - padding).to(dtype).flatten(1)


def _pointwise_layer(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> _Layer:
    return _Layer(conv, FoldedNorm(norm, bands=conv.out_channels), basis=None)


def _layers(model, mels: int, batch: int) -> list[_Layer]:
    """Layers of the stem and of all blocks; `mels` is the height of the stem's output."""
    layers = [_pointwise_layer(model.stem[0], model.stem[1])]
    for block in model.blocks:
        if block.is_transition:
            layers.append(_pointwise_layer(block.expand, block.expand_norm))
        conv = block.frequency_conv
        taps, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        basis = _band(taps, stride, padding, mels, conv.weight.device, conv.weight.dtype)
        mels = basis.shape[1] // mels
        norm = FoldedNorm(block.frequency_norm.norm, block.frequency_norm.sub_bands)
        temporal = _TemporalBranch(block, batch)
        layers.append(_Layer(conv, norm, basis, temporal, identity=not block.is_transition))
    return layers


class _Trunk(Function):
    """Stem, blocks and the product of the head's first convolution, rows (C, taps, L) that are still to be moved.

    The parameters are arguments only for autograd to see them; no gradient of `log_mel` is given.
    """

    @staticmethod
    def forward(ctx, model, log_mel: Tensor, *parameters: Tensor):
        pieces, lengths, mels = _patches(model.stem[0], log_mel)
        ctx.layers = _layers(model, mels, len(log_mel))
        moments = Moments(*pieces)
        for layer, following in zip(ctx.layers, [*ctx.layers[1:], None], strict=True):
            layer.forward(pieces, moments)
            pieces, moments = [], Moments()
            for i in range(len(lengths)):
                output = layer.output(i)
                if following:
                    output = following.arrange(output, lengths[i])
                    moments.add(output)
                pieces.append(output)
        ctx.pieces, ctx.head, ctx.parameters = pieces, model.head[0].weight, parameters
        matrix = ctx.head[:, 0].mT
        return torch.cat([torch.bmm(matrix, piece) for piece in pieces], dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        parts = _split(grad, ctx.pieces)
        pairs = zip(parts, ctx.pieces, strict=True)
        grad_head = sum(torch.bmm(piece, part.mT) for part, piece in pairs)
        grads = {ctx.head: grad_head[:, None]}
        terms = _Terms([(ctx.head[:, 0], parts)], ctx.head.new_zeros(1))
        while ctx.layers:
            terms = ctx.layers.pop().backward(terms, grads)
        return None, None, *[grads[parameter] for parameter in ctx.parameters]


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


def _patches(conv: nn.Conv2d, log_mel: Tensor) -> tuple[list[Tensor], list[int], int]:
    """The stem's input (1, taps x taps, M' x L) in pieces, the length L of each, and M'."""
    batch, _, mels, frames = log_mel.shape
    taps, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    borders = (0, 0, padding, padding, padding, padding)  # of batch, frames, mels
    padded = functional.pad(log_mel[:, 0].permute(1, 2, 0), borders)
    windows = padded.unfold(0, taps, stride).unfold(1, taps, 1)  # (M', F, B, taps, taps)
    windows = windows.movedim((-2, -1), (0, 1))
    numbers = conv.out_channels * windows[0, 0].numel()
    n_pieces = 1 if log_mel.is_cuda else max(1, numbers // PIECE_NUMBERS)
    parts = windows.tensor_split(min(n_pieces, frames), dim=-2)
    lengths = [part.shape[-2] * batch for part in parts]
    return [part.reshape(1, taps * taps, -1) for part in parts], lengths, windows.shape[2]


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    conv, pointwise, norm, activation, _, classifier = model.head
    batch = log_mel.shape[0]
    parameters = [*model.stem.parameters(), *model.blocks.parameters(), conv.weight]
    with torch.autocast(log_mel.device.type, enabled=False):
        rows = _Trunk.apply(model, log_mel.to(conv.weight.dtype), *parameters)
        # The convolution over time moves its output where _shift moves the input: hence the opposite step.
        signal = _ShiftBack.apply(rows, -batch)[:, 0]
        hidden = (pointwise.weight.flatten(1) @ signal).view(1, pointwise.out_channels, -1, batch)
        mean = activation(norm(hidden))[0].mean(1)
        return (classifier.weight.flatten(1) @ mean).t() + classifier.bias
