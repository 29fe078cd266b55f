"""The forward of BC-ResNet's training, arranged so that a CPU does few passes over memory.

The multiply-adds of BC-ResNet are few; the plain form spends its time in reading and writing the large tensors of
its many small steps (depthwise convolution, batch norm, additions, activations; each step again in the backward
pass). Two changes remove most of those passes and leave the function as it is.

Layout. An activation is held as (C, M, L) with L = F x B, the batch innermost. Every convolution of the network is
then a product of a small matrix with contiguous rows of length L:

- over frequency (depthwise): a banded matrix (M', M) for each channel, `torch.bmm`;
- pointwise: a matrix (C', C) applied to the view (1, C, M x L);
- over time (depthwise): the K rows "signal moved by k frames", (C, K, L), weighted; moving by a frame is moving by B;
- the stem: the 25 rows "input moved by (i, j)", a view (1, 25, M x L).

L is cut into pieces of whole frames that stay in the cache while several steps are done on them.

Norm. Let y = A x be one of those products, x with rows (R, L). Batch normalisation needs the mean of y and of y^2
over L (and over a few rows, for sub-spectral norm). Both follow from two small quantities of the input,

    mu = mean of x, (R,)        G = mean of x x^T, (R, R):
    mean(y) = A mu              mean(y^2) = diag(A G A^T)

so that norm(y) = g (y - m) + beta = (g A) x + (beta - g m), where g = gamma / sqrt(v + eps), is again a matrix and an
offset, and y itself is never made. A block is out = relu(matrix x [+ x] + offset + temporal), the identity being one
more matrix to add. Its mean over frequency is (mean of the matrix's rows) x, which needs no intermediate either.
All of the algebra of small matrices is left to autograd, in double precision (v is a difference of larger numbers);
the gradients of the four steps with large tensors are written out:

    moments   G, mu of x:            dx = (dG + dG^T) x / L + dmu / L
    project   p = r x:               dx = r^T dp,                 dr = dp x^T
    mix       out = relu(A x + h + t): d = [out > 0] dout, dx = A^T d, dA = d x^T, dh = sum over L, dt = sum over rows
    shift     rows moved in time:    the adjoint moves them back and adds

`moments` and `project` hand x through, and so receive the gradient that the later use of x has produced, to which
they add theirs in place: autograd itself has no large tensors to add.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

PIECE_NUMBERS = (
    2**17
)  # of the largest activation; two of them and the result fit into a core's cache


class _Moments(Function):
    """Pieces (C, R, L) to their second moments (C, R, R), means (C, R), both double, and the pieces themselves."""

    @staticmethod
    def forward(ctx, *pieces: Tensor):
        ctx.save_for_backward(*pieces)
        ctx.set_materialize_grads(False)
        gram = sum(torch.bmm(piece, piece.transpose(1, 2)).double() for piece in pieces)
        total = sum(piece.sum(2).double() for piece in pieces)
        length = sum(piece.shape[2] for piece in pieces)
        return gram / length, total / length, *pieces

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_gram, grad_mean, *grads):
        pieces = ctx.saved_tensors
        if not any(ctx.needs_input_grad):
            return tuple(None for _ in pieces)
        length = sum(piece.shape[2] for piece in pieces)
        dtype = pieces[0].dtype
        symmetric = ((grad_gram + grad_gram.transpose(1, 2)) / length).to(dtype)
        constant = (grad_mean / length).to(dtype)[:, :, None]
        for piece, grad in zip(pieces, grads, strict=True):
            grad.baddbmm_(symmetric, piece).add_(constant)
        return grads


class _Project(Function):
    """Matrix (C, P, R) and pieces (C, R, L) to the joined product (C, P, sum of L) and the pieces themselves."""

    @staticmethod
    def forward(ctx, matrix: Tensor, *pieces: Tensor):
        ctx.save_for_backward(matrix, *pieces)
        ctx.set_materialize_grads(False)
        return torch.cat([torch.bmm(matrix, piece) for piece in pieces], dim=2), *pieces

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *grads):
        matrix, *pieces = ctx.saved_tensors
        parts = grad.split([piece.shape[2] for piece in pieces], dim=2)
        grad_matrix = sum(
            torch.bmm(part, piece.transpose(1, 2))
            for part, piece in zip(parts, pieces, strict=True)
        )
        transposed = matrix.transpose(1, 2)
        if grads[0] is None:
            return grad_matrix, *[torch.bmm(transposed, part) for part in parts]
        for part, piece_grad in zip(parts, grads, strict=True):
            piece_grad.baddbmm_(transposed, part)
        return grad_matrix, *grads


class _Mix(Function):
    """relu(matrix x + offset + temporal) of each piece x.

    Shape: matrix (C, R', R), offset (C, R', 1), temporal (C, 1, sum of L) or None, pieces (C, R, L) to (C, R', L).
    """

    @staticmethod
    def forward(ctx, matrix: Tensor, offset: Tensor, temporal: Tensor | None, *pieces: Tensor):
        outputs = [torch.baddbmm(offset, matrix, piece) for piece in pieces]
        if temporal is not None:
            parts = temporal.split([piece.shape[2] for piece in pieces], dim=2)
            for output, part in zip(outputs, parts, strict=True):
                output.add_(part)
        for output in outputs:
            output.relu_()
        ctx.save_for_backward(matrix, *pieces, *outputs)
        ctx.has_temporal = temporal is not None
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        matrix, *saved = ctx.saved_tensors
        n_pieces = len(grads)
        transposed = matrix.transpose(1, 2)
        grad_matrix, grad_offset, grad_temporal, grad_pieces = 0, 0, [], []
        for grad, piece, output in zip(grads, saved[:n_pieces], saved[n_pieces:], strict=True):
            grad = torch.ops.aten.threshold_backward(grad, output, 0)
            grad_matrix = grad_matrix + torch.bmm(grad, piece.transpose(1, 2))
            grad_offset = grad_offset + grad.sum(2, keepdim=True)
            if ctx.has_temporal:
                grad_temporal.append(grad.sum(1, keepdim=True))
            needed = ctx.needs_input_grad[-1]
            grad_pieces.append(torch.bmm(transposed, grad) if needed else None)
        joined = torch.cat(grad_temporal, dim=2) if ctx.has_temporal else None
        return grad_matrix, grad_offset, joined, *grad_pieces


class _Shift(Function):
    """Signals (C, L) to rows (C, K, L): row k is the signal moved by k - K // 2 steps, zeros moving in.

    With `adjoint`, the transpose: rows (C, K, L) moved back and added, (C, L).
    """

    @staticmethod
    def forward(ctx, signal: Tensor, taps: int, step: int, adjoint: bool):
        ctx.arguments = taps, step, adjoint
        return _shift_back(signal, step) if adjoint else _shift(signal, taps, step)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        taps, step, adjoint = ctx.arguments
        return _shift(grad, taps, step) if adjoint else _shift_back(grad, step), None, None, None


def _overlaps(taps: int, step: int, length: int):
    """(row, place in the row, place in the signal) of each row's part that lies inside the signal."""
    for k in range(taps):
        move = min(max((k - taps // 2) * step, -length), length)
        row = slice(max(-move, 0), length - max(move, 0))
        yield k, row, slice(row.start + move, row.stop + move)


def _shift(signal: Tensor, taps: int, step: int) -> Tensor:
    rows = signal.new_zeros(signal.shape[0], taps, signal.shape[1])
    for k, row, place in _overlaps(taps, step, signal.shape[1]):
        rows[:, k, row] = signal[:, place]
    return rows


def _shift_back(rows: Tensor, step: int) -> Tensor:
    signal = rows.new_zeros(rows.shape[0], rows.shape[2])
    for k, row, place in _overlaps(rows.shape[1], step, rows.shape[2]):
        signal[:, place] += rows[:, k, row]
    return signal


def _fold(
    norm: nn.BatchNorm2d, matrix: Tensor, gram: Tensor, mean: Tensor, bands: int, length: int
):
    """Matrix and offset of norm(matrix x); updates the running statistics as the norm itself would.

    Shape: matrix (C, R', R), gram (C, R, R), mean (C, R) to (C, R', R) and (C, R', 1). Each of `bands` groups of
    consecutive rows of R' is normalised together; C x bands is the size of the norm. `length` is that of a row.
    """
    channels, rows, _ = matrix.shape
    double = matrix.double()
    row_mean = (double @ mean[:, :, None])[:, :, 0]
    row_square = ((double @ gram) * double).sum(2)
    band_mean = row_mean.view(-1, bands, rows // bands).mean(2) if bands else row_mean
    band_square = row_square.view(-1, bands, rows // bands).mean(2) if bands else row_square
    variance = band_square - band_mean.square()
    _update_running(
        norm, band_mean.detach(), variance.detach(), length * (rows // bands if bands else 1)
    )
    gain = norm.weight.double().view_as(variance) * torch.rsqrt(variance + norm.eps)
    offset = norm.bias.double().view_as(variance) - gain * band_mean
    if bands:
        gain = gain.repeat_interleave(rows // bands, dim=1)
        offset = offset.repeat_interleave(rows // bands, dim=1)
    return (gain[:, :, None] * double).to(matrix.dtype), offset[:, :, None].to(matrix.dtype)


@torch.no_grad()
def _update_running(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.flatten().to(norm.running_mean.dtype), norm.momentum)
    unbiased = variance.flatten() * (count / (count - 1))
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)


def _frequency_matrix(conv: nn.Conv2d, mels: int) -> Tensor:
    """Depthwise convolution over frequency as banded matrices, (C, M', M)."""
    taps, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    out_mels = (mels + 2 * padding - taps) // stride + 1
    rows = torch.arange(out_mels, device=conv.weight.device)[:, None, None] * stride
    place = torch.arange(mels, device=conv.weight.device)[None, :, None] - rows + padding
    band = (place == torch.arange(taps, device=conv.weight.device)).to(
        conv.weight.dtype
    )  # (M', M, taps)
    return torch.einsum("ck,omk->com", conv.weight[:, 0, :, 0], band)


def _pointwise_relu(pieces, weight: Tensor, norm: nn.BatchNorm2d):
    """relu(norm(weight x)): pieces (1, R, L), weight (C, R), to pieces (1, C, L)."""
    gram, mean, *pieces = _Moments.apply(*pieces)
    length = sum(piece.shape[2] for piece in pieces)
    matrix, offset = _fold(norm, weight[None], gram, mean, 0, length)
    return _Mix.apply(matrix, offset, None, *pieces)


def _stem(stem: nn.Sequential, log_mel: Tensor):
    """Log-mel (B, 1, M, F) to pieces (C, M / 2, whole frames x B)."""
    conv = stem[0]
    batch, _, mels, frames = log_mel.shape
    taps, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    borders = (0, 0, padding, padding, padding, padding)  # of batch, frames, mels
    padded = functional.pad(log_mel[:, 0].permute(1, 2, 0), borders)
    windows = padded.unfold(0, taps, stride).unfold(1, taps, 1)  # (M / 2, F, B, taps, taps)
    windows = windows.movedim((-2, -1), (0, 1))
    out_mels = windows.shape[2]
    n_pieces = max(1, round(conv.out_channels * out_mels * frames * batch / PIECE_NUMBERS))
    if log_mel.is_cuda:
        n_pieces = 1
    patches = [
        part.reshape(1, taps * taps, -1)
        for part in windows.tensor_split(min(n_pieces, frames), dim=-2)
    ]
    pieces = _pointwise_relu(patches, conv.weight.flatten(1), stem[1])
    return [piece.view(conv.out_channels, out_mels, -1) for piece in pieces]


def _block(block, pieces, batch: int):
    """Pieces (C, M, L) to (C', M / stride, L)."""
    if block.is_transition:
        mels = pieces[0].shape[1]
        flat = [piece.view(1, piece.shape[0], -1) for piece in pieces]
        wide = _pointwise_relu(flat, block.expand.weight.flatten(1), block.expand_norm)
        pieces = [piece.view(block.expand.out_channels, mels, -1) for piece in wide]
    gram, mean, *pieces = _Moments.apply(*pieces)
    length = sum(piece.shape[2] for piece in pieces)
    banded = _frequency_matrix(block.frequency_conv, pieces[0].shape[1])
    spectral_norm = block.frequency_norm
    matrix, offset = _fold(spectral_norm.norm, banded, gram, mean, spectral_norm.sub_bands, length)
    pooled, *pieces = _Project.apply(matrix.mean(1, keepdim=True), *pieces)
    temporal = _temporal(block, pooled + offset.mean(1, keepdim=True), batch)
    if not block.is_transition:
        matrix = matrix + torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    return _Mix.apply(matrix, offset, temporal, *pieces)


def _temporal(block, pooled: Tensor, batch: int) -> Tensor:
    """dropout(pointwise(silu(norm(convolution over time)))) of (C, 1, L)."""
    channels, _, length = pooled.shape
    conv = block.temporal_conv
    rows = _Shift.apply(pooled[:, 0], conv.kernel_size[1], conv.dilation[1] * batch, False)
    gram, mean, rows = _Moments.apply(rows)
    matrix, offset = _fold(
        block.temporal_norm, conv.weight.view(channels, 1, -1), gram, mean, 0, length
    )
    active = functional.silu(torch.baddbmm(offset, matrix, rows))
    mixed = block.pointwise.weight.flatten(1) @ active[:, 0]
    if block.dropout.p > 0:
        # Drawn as Dropout2d draws it, so that one seed gives one mask in both forms.
        keep = 1 - block.dropout.p
        mask = mixed.new_empty(batch, channels).bernoulli_(keep).div_(keep)
        mixed = (mixed.view(channels, -1, batch) * mask.t()[:, None]).view(channels, length)
    return mixed[:, None]


def _head(head: nn.Sequential, pieces, batch: int) -> Tensor:
    """Pieces (C, M, L) to logits (B, K)."""
    conv, pointwise, norm, _, _, classifier = head
    taps = conv.kernel_size[1]
    rows, *_ = _Project.apply(conv.weight[:, 0].transpose(1, 2), *pieces)  # (C, taps, L)
    signal = _Shift.apply(rows, taps, -batch, True)  # moves of the output, not of the input
    (hidden,) = _pointwise_relu([signal[None]], pointwise.weight.flatten(1), norm)
    mean = hidden[0].view(hidden.shape[1], -1, batch).mean(1)
    return (classifier.weight.flatten(1) @ mean).t() + classifier.bias


def training_forward(model, log_mel: Tensor) -> Tensor:
    """What `model(log_mel)` computes in training mode, on the same parameters and running statistics.

    No gradient with respect to `log_mel` is given.

    Shape: (B, 1, M, F) log-mel to (B, K) logits.
    """
    batch = log_mel.shape[0]
    with torch.autocast(log_mel.device.type, enabled=False):
        pieces = _stem(model.stem, log_mel.to(model.stem[0].weight.dtype))
        for block in model.blocks:
            pieces = _block(block, pieces, batch)
        return _head(model.head, pieces, batch)
