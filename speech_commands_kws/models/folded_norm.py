"""Batch norm of a matrix product, folded into the matrix, without making the product first.

Let y = A x with x of rows (R, L) and A (R', R). Batch norm needs the mean of y and of y^2 over L (and over some of the
rows, for sub-spectral norm). Both follow from two small quantities of the input,

    mu = mean of x, (R,)        G = mean of x x^T, (R, R):
    mean(y) = A mu              mean(y^2) = diag(A G A^T)

and norm(y) = g (y - m) + beta with g = gamma / sqrt(v + eps) is (g A) x + (beta - g m): again a matrix and an offset,
so that y itself is never needed. The gradient reaches x directly and through G and mu:

    dx = (g A)^T dout + S x + c,        S = (dG + dG^T) / L,        c = dmu / L.

The algebra of small matrices is done in double precision, for v = mean(y^2) - m^2 is a difference of larger numbers,
and in NumPy, whose calls on a few numbers cost a fraction of torch's.

Legend: C channels that have their own matrix (depthwise) or 1 (pointwise), R rows, L length.
"""

import numpy as np
import torch
from torch import Tensor, nn


class FoldedNorm:
    """Batch norm of A x in training on a CPU, for one pass forward and one back.

    Attributes hold matrices as (C, bands, R' / bands, R) and values of a band as (C, bands, 1, 1), in double precision.

    Args:
        batch_norm: its parameters are used, its running statistics are updated.
        bands: groups of consecutive rows of R' that are normalised together; C x bands channels of the batch norm.
    """

    def __init__(self, batch_norm: nn.BatchNorm2d, bands: int):
        self.batch_norm, self.bands = batch_norm, bands

    def forward(self, rows: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """x (C, R, L) and A (C, R', R) to g A, of the same shape, and the offset (C, R', 1)."""
        channels, out_rows, columns = matrix.shape
        self.length = rows.shape[2]
        gram = _double(torch.bmm(rows, rows.mT)) / self.length
        self.mean = _double(rows.sum(2)).reshape(channels, 1, 1, columns) / self.length
        double = _double(matrix)
        self.matrix = double.reshape(channels, self.bands, -1, columns)
        self.spread = (double @ gram).reshape(self.matrix.shape)  # A G
        in_band = self.matrix.shape[2]
        self.band_mean = (self.matrix * self.mean).sum((-2, -1), keepdims=True) / in_band
        square = (self.matrix * self.spread).sum((-2, -1), keepdims=True) / in_band
        variance = square - self.band_mean * self.band_mean
        self._update_running(variance, self.length * in_band)
        self.scale = 1 / np.sqrt(variance + self.batch_norm.eps)
        self.gain = _double(self.batch_norm.weight).reshape(variance.shape) * self.scale
        offset = _double(self.batch_norm.bias).reshape(variance.shape) - self.gain * self.band_mean
        offset = offset.repeat(in_band, 2).reshape(channels, out_rows, 1)
        folded = (self.gain * self.matrix).reshape(matrix.shape)
        return _single(folded, matrix), _single(offset, matrix)

    def _update_running(self, variance: np.ndarray, count: int) -> None:
        norm = self.batch_norm
        norm.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1))
        for running, now in ((norm.running_mean, self.band_mean), (norm.running_var, unbiased)):
            running.lerp_(_single(now.reshape(-1), running), norm.momentum)

    def backward(self, grad_folded: Tensor, grad_offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of A, gamma and beta from those of g A and the offset; S and c are kept for `add_gradient`."""
        channels, _, columns = grad_folded.shape
        in_band = self.matrix.shape[2]
        grad_matrix = _double(grad_folded).reshape(self.matrix.shape)
        grad_beta = _double(grad_offset).reshape(channels, self.bands, in_band, 1)
        grad_beta = grad_beta.sum(2, keepdims=True)
        grad_gain = (grad_matrix * self.matrix).sum((-2, -1), keepdims=True)
        grad_gamma = (grad_gain - self.band_mean * grad_beta) * self.scale
        # d (v + eps)^(-1/2) = -1/2 (v + eps)^(-3/2) dv, and v = mean(y^2) - m^2, both means over a band's rows too.
        by_square = grad_gamma * self.gain * self.scale / -in_band
        by_mean = self.gain * grad_beta / -in_band - self.band_mean * by_square
        weighted = (by_square * self.matrix).reshape(channels, -1, columns)
        grad_matrix = grad_matrix * self.gain + by_square * self.spread + by_mean * self.mean
        flat = self.matrix.reshape(channels, -1, columns)
        symmetric = flat.transpose(0, 2, 1) @ weighted / self.length
        constant = (by_mean * self.matrix).sum((1, 2)).reshape(channels, columns, 1) / self.length
        self.symmetric = _single(symmetric, grad_folded)
        self.constant = _single(constant, grad_folded)
        return (
            _single(grad_matrix.reshape(grad_folded.shape), grad_folded),
            _single(grad_gamma.reshape(-1), grad_folded),
            _single(grad_beta.reshape(-1), grad_folded),
        )

    def add_gradient(self, grad: Tensor, rows: Tensor) -> Tensor:
        """Add S x + c to the (C, R, L) gradient of x, in place."""
        return grad.baddbmm_(self.symmetric, rows).add_(self.constant)


def _double(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def _single(array: np.ndarray, like: Tensor) -> Tensor:
    """A tensor of the precision of another."""
    return torch.from_numpy(array).to(like.dtype)
