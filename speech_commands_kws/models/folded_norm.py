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


class FoldedNorm:
    """Batch norm of A x in training, for one pass forward and one back.

    Attributes hold matrices as (C, bands, R' / bands, R) and values of a band as (C, bands, 1, 1), in double precision.

    Args:
        batch_norm: its parameters are used, its running statistics are updated.
        bands: groups of consecutive rows of R' that are normalised together; C x bands channels of the batch norm.
    """

    def __init__(self, batch_norm: nn.BatchNorm2d, bands: int):
        self.batch_norm, self.bands = batch_norm, bands

    def forward(self, rows: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """x (C, R, L) and A (C, R', R) to g A, of the same shape, and the offset (C, R', 1)."""
        channels, _, columns = matrix.shape
        self.length = rows.shape[2]
        double = matrix.double()
        gram = torch.bmm(rows, rows.mT).double().div_(self.length)
        self.mean = rows.sum(2).view(channels, 1, 1, columns).double().div_(self.length)
        self.matrix = double.view(channels, self.bands, -1, columns)
        self.spread = (double @ gram).view_as(self.matrix)  # A G
        in_band = self.matrix.shape[2]
        self.band_mean = (self.matrix * self.mean).sum((-2, -1), keepdim=True).div_(in_band)
        square = (self.matrix * self.spread).sum((-2, -1), keepdim=True).div_(in_band)
        variance = square - self.band_mean.square()
        self._update_running(variance, self.length * in_band)
        self.scale = torch.rsqrt(variance + self.batch_norm.eps)
        self.gain = self.batch_norm.weight.view_as(variance) * self.scale
        offset = self.batch_norm.bias.view_as(variance) - self.gain * self.band_mean
        folded = (self.gain * self.matrix).view_as(matrix).to(matrix.dtype)
        offset = offset.expand(-1, -1, in_band, -1).reshape(channels, -1, 1).to(matrix.dtype)
        return folded, offset

    def _update_running(self, variance: Tensor, count: int) -> None:
        norm = self.batch_norm
        norm.num_batches_tracked += 1
        keep, unbiased = 1 - norm.momentum, norm.momentum * count / (count - 1)
        norm.running_mean.mul_(keep).add_(self.band_mean.view(-1), alpha=norm.momentum)
        norm.running_var.mul_(keep).add_(variance.view(-1), alpha=unbiased)

    def backward(self, grad_folded: Tensor, grad_offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of A, gamma and beta from those of g A and the offset; S and c are kept for `add_gradient`."""
        channels, _, columns = grad_folded.shape
        in_band = self.matrix.shape[2]
        grad_matrix = grad_folded.view_as(self.matrix).double()
        grad_beta = grad_offset.view(channels, self.bands, in_band, 1).double()
        grad_beta = grad_beta.sum(2, keepdim=True)
        grad_gain = (grad_matrix * self.matrix).sum((-2, -1), keepdim=True)
        grad_gamma = (grad_gain - self.band_mean * grad_beta) * self.scale
        # d (v + eps)^(-1/2) = -1/2 (v + eps)^(-3/2) dv, and v = mean(y^2) - m^2, both means over a band's rows too.
        by_square = grad_gamma * self.gain * self.scale / -in_band
        by_mean = self.gain * grad_beta / -in_band - self.band_mean * by_square
        weighted = by_square * self.matrix
        grad_matrix = grad_matrix * self.gain + by_square * self.spread + by_mean * self.mean
        symmetric = self.matrix.flatten(1, 2).mT @ weighted.flatten(1, 2)
        constant = (by_mean * self.matrix).sum((1, 2)).view(channels, columns, 1)
        self.symmetric = symmetric.div_(self.length).to(grad_folded.dtype)
        self.constant = constant.div_(self.length).to(grad_folded.dtype)
        return (
            grad_matrix.view_as(grad_folded).to(grad_folded.dtype),
            grad_gamma.view(-1),
            grad_beta.view(-1),
        )

    def add_gradient(self, grad: Tensor, rows: Tensor) -> Tensor:
        """Add S x + c to the (C, R, L) gradient of x, in place."""
        return grad.baddbmm_(self.symmetric, rows).add_(self.constant)
