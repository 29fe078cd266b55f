"""Batch norm of a matrix product, folded into the matrix, without making the product first.

Let y = A x with x of rows (R, L) and A (R', R). Batch norm needs the mean of y and of y^2 over L (and over some of the
rows, for sub-spectral norm). Both follow from two small quantities of the input,

    mu = mean of x, (R,)        G = mean of x x^T, (R, R):
    mean(y) = A mu              mean(y^2) = diag(A G A^T)

and norm(y) = g (y - m) + beta with g = gamma / sqrt(v + eps) is (g A) x + (beta - g m): again a matrix and an offset,
so that y itself is never needed. The gradient reaches x directly and through G and mu:

    dx = (g A)^T dout + S x + c,        S = (dG + dG^T) / L,        c = dmu / L.

The algebra of small matrices is done in double precision, for v = mean(y^2) - m^2 is a difference of larger numbers.

Legend: C channels that have their own matrix (depthwise) or 1 (pointwise), R rows, L length.
"""

import torch
from torch import Tensor, nn


class Moments:
    """L G (C, R, R) and L mu (C, R) of pieces (C, R, L), added one by one."""

    def __init__(self, *pieces: Tensor):
        self.gram_sum, self.sum, self.length = None, None, 0
        for piece in pieces:
            self.add(piece)

    def add(self, piece: Tensor) -> None:
        gram, total = torch.bmm(piece, piece.mT), piece.sum(2)
        if self.length:
            self.gram_sum += gram
            self.sum += total
        else:
            self.gram_sum, self.sum = gram.double(), total.double()
        self.length += piece.shape[2]


class FoldedNorm:
    """Batch norm of A x as a matrix and an offset; `bands` groups of consecutive rows are normalised together.

    Below, matrices are (C, bands, R' / bands, R) and values of a band (C, bands).
    """

    def __init__(self, batch_norm: nn.BatchNorm2d, bands: int):
        self.batch_norm, self.bands = batch_norm, bands

    def forward(self, matrix: Tensor, moments: Moments) -> tuple[Tensor, Tensor]:
        """A (C, R', R) to g A, of the same shape, and h (C, R', 1)."""
        double = matrix.double()
        spread = double @ (moments.gram_sum / moments.length)  # A G
        self.mean = (moments.sum / moments.length)[:, None]
        self.length = moments.length
        by_band = len(matrix), self.bands, -1, matrix.shape[2]
        self.matrix, self.spread = double.view(by_band), spread.view(by_band)
        in_band = self.matrix.shape[2]
        self.band_mean = (self.matrix.mean(2) * self.mean).sum(2)
        variance = (self.matrix * self.spread).sum((-2, -1)) / in_band - self.band_mean.square()
        self._update_running(variance, moments.length * in_band)
        self.scale = torch.rsqrt(variance + self.batch_norm.eps)
        self.gain = self.batch_norm.weight.view_as(variance) * self.scale
        offset = self.batch_norm.bias.view_as(variance) - self.gain * self.band_mean
        folded = self.gain[:, :, None, None] * self.matrix
        offset = offset[:, :, None].expand(-1, -1, in_band).reshape(len(matrix), -1, 1)
        return folded.view_as(matrix).to(matrix.dtype), offset.to(matrix.dtype)

    def _update_running(self, variance: Tensor, count: int) -> None:
        norm = self.batch_norm
        norm.num_batches_tracked += 1
        keep, unbiased = 1 - norm.momentum, norm.momentum * count / (count - 1)
        norm.running_mean.mul_(keep).add_(self.band_mean.view(-1), alpha=norm.momentum)
        norm.running_var.mul_(keep).add_(variance.view(-1), alpha=unbiased)

    def backward(self, grad_folded: Tensor, grad_offset: Tensor, grads: dict):
        """Gradient of A, S and c; those of gamma and beta are entered into `grads`."""
        dtype = grad_folded.dtype
        in_band = self.matrix.shape[2]
        grad_folded = grad_folded.view_as(self.matrix).double()
        grad_beta = grad_offset.view(*self.gain.shape, in_band).double().sum(2)
        grad_gain = (grad_folded * self.matrix).sum((-2, -1)) - self.band_mean * grad_beta
        grad_gamma = grad_gain * self.scale
        # d (v + eps)^(-1/2) = -1/2 (v + eps)^(-3/2) dv, and v = mean(y^2) - m^2; both means are over a band's rows
        grad_variance = grad_gamma * self.gain * self.scale * -0.5
        grad_mean = self.gain * grad_beta + 2 * self.band_mean * grad_variance
        by_square = (grad_variance * (2 / in_band))[:, :, None, None] * self.matrix
        by_mean = (grad_mean / -in_band)[:, :, None, None]
        grad_matrix = self.gain[:, :, None, None] * grad_folded + by_mean * self.mean[:, None]
        grad_matrix += (grad_variance * (2 / in_band))[:, :, None, None] * self.spread
        symmetric = self.matrix.flatten(1, 2).mT @ by_square.flatten(1, 2) / self.length
        constant = (by_mean * self.matrix).sum((1, 2))[:, :, None] / self.length
        grads[self.batch_norm.weight], grads[self.batch_norm.bias] = grad_gamma.view(
            -1
        ), grad_beta.view(-1)
        return grad_matrix.flatten(1, 2).to(dtype), symmetric.to(dtype), constant.to(dtype)
