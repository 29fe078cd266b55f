"""One pass of a block of BC-ResNet forward and back, in few passes over memory.

With x of shape (C, M, L) and s = A x the depthwise convolution over frequency, a block is

    relu(gain s + offset [+ x] + t(mean over M of (gain s + offset))).

Backward, with d = [out > 0] dout, t gives the gradient dp of the mean, and the gradient of gain s + offset is
e = d + dp / M'. Batch norm over n values of mean m and gain g = gamma r, r = (v + eps)^(-1/2), then has

    dbeta = sum of e,    dgamma = r (sum of e s - m dbeta),    ds = g e - (g r dgamma / n) (s - m) - g dbeta / n.

Legend: C channels, M mel bins, S bands, L frames x clips, the clips innermost.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.models import training_kernels as kernels
from speech_commands_kws.models.thread_team import ThreadTeam


def parameters_of(block) -> list[Tensor]:
    """In the order of the gradients that `BlockPass.backward` gives."""
    modules = [block.expand, block.expand_norm] if block.is_transition else []
    modules += [block.frequency_conv, block.frequency_norm.norm]
    modules += [block.temporal_conv, block.temporal_norm, block.pointwise]
    return [parameter for module in modules for parameter in module.parameters()]


def sum_behind_relu(team: ThreadTeam, grad: Tensor, output: Tensor) -> Tensor:
    """Turn the gradient (C, M, L) of a relu's output into that of its input, and sum it over M, (C, L)."""
    total = grad.new_empty(len(grad), grad.shape[2])
    team.share(kernels.behind_relu, len(grad), grad.numpy(), output.numpy(), total.numpy())
    return total


class Norm:
    """Batch norm in training: values of sums over n become gain, offset and, backward, gradients.

    Args:
        sums: of the values and, `squares`, of their squares over the n values of each channel, float64.
    """

    def __init__(
        self, batch_norm: nn.BatchNorm2d, sums: np.ndarray, squares: np.ndarray, count: int
    ):
        weight, bias = (value.detach().numpy() for value in batch_norm.parameters())
        self.dtype = weight.dtype
        self.count, self.mean = count, sums / count
        variance = squares / count - self.mean * self.mean
        self.rate = 1 / np.sqrt(np.maximum(variance, 0.0) + batch_norm.eps)
        self.gain = weight.reshape(sums.shape) * self.rate
        self.offset = bias.reshape(sums.shape) - self.gain * self.mean
        unbiased = variance * (count / (count - 1))
        for running, now in (
            (batch_norm.running_mean.numpy(), self.mean),
            (batch_norm.running_var.numpy(), unbiased),
        ):
            running += batch_norm.momentum * (now.reshape(-1) - running)
        batch_norm.num_batches_tracked.numpy()[...] += 1

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Gain and offset in the precision of the model."""
        return self.gain.astype(self.dtype), self.offset.astype(self.dtype)

    def backward(self, sums: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, list[Tensor]]:
        """From the sums of e and e s: (a, b, c) of ds = a e + b s + c, and the gradients of gamma and beta."""
        grad_gamma = self.rate * (products - self.mean * sums)
        by_value = -self.gain * self.rate * grad_gamma / self.count
        constant = -self.gain * sums / self.count - by_value * self.mean
        factors = np.stack([self.gain, by_value, constant]).astype(self.dtype)
        grads = (torch.from_numpy(each.astype(self.dtype)) for each in (grad_gamma, sums))
        return factors, [each.flatten() for each in grads]


class StemPass:
    """relu(norm(convolution 5 x 5)) of log-mel images, forward and back."""

    def __init__(self, stem: nn.Sequential, team: ThreadTeam):
        self.team = team
        self.conv, self.norm_module, _ = stem

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, 1, M, F) to (C, M / 2, L)."""
        batch, _, mels, frames = log_mel.shape
        padding = self.conv.padding[0]
        borders = (0, 0, padding, padding, padding, padding)  # of clips, frames, mel bins
        padded = functional.pad(log_mel[:, 0].permute(1, 2, 0), borders).flatten(1)
        weight, stride = self.conv.weight.detach()[:, 0], self.conv.stride[0]
        channels = len(weight)
        made = log_mel.new_empty(channels, mels // stride, frames * batch)
        arguments = padded.numpy(), weight.numpy(), stride, batch, made.numpy()
        self.team.share(kernels.stem, channels, *arguments)
        sums, squares = np.empty((2, channels))
        self.team.share(kernels.moments, channels, made.numpy(), made.numpy(), sums, squares)
        self.norm = Norm(self.norm_module, sums, squares, made[0].numel())
        self.padded, self.made, self.place = padded, made, (stride, batch)
        output = torch.empty_like(made)
        arguments = made.numpy(), *self.norm.affine(), output.numpy()
        self.team.share(kernels.activation, channels, *arguments)
        return output

    def backward(self, grad: Tensor) -> list[Tensor]:
        """Gradients of convolution and norm, from d."""
        channels, made = len(grad), self.made.numpy()
        sums, products = np.empty((2, channels))
        self.team.share(kernels.moments, channels, made, grad.numpy(), sums, products)
        factors, grad_norm = self.norm.backward(sums, products)
        grad_weight = torch.empty_like(self.conv.weight)
        self.team.share(
            kernels.stem_gradient,
            channels,
            self.padded.numpy(),
            made,
            grad.numpy(),
            factors,
            *self.place,
            grad_weight[:, 0].numpy(),
        )
        return [grad_weight, *grad_norm]


class BlockPass:
    """Keeps between the two ways what is small; the activations are kept by the caller."""

    def __init__(self, block, batch: int, team: ThreadTeam):
        self.block, self.team = block, team
        self.stride = block.frequency_conv.stride[0]
        self.taps = _matrix(block.frequency_conv).numpy()
        self.identity = self.taps.dtype.type(not block.is_transition)
        self.temporal = TemporalPass(block, batch, team)

    def forward(self, rows: Tensor) -> Tensor:
        """(C, M, L) to (C', M', L)."""
        expanded, scale, shift = self._expand(rows)
        channels, mels, length = expanded.shape
        bands, out_mels = self.block.frequency_norm.sub_bands, mels // self.stride
        self.stencil = expanded.numpy(), scale, shift, self.taps, self.stride
        sums, squares = np.empty((2, channels, bands))
        band_rows = rows.new_empty(channels, bands, length)
        arguments = *self.stencil, sums, squares, band_rows.numpy()
        self.team.share(kernels.moments_of_bands, channels, *arguments)
        count = out_mels // bands * length
        self.norm = Norm(self.block.frequency_norm.norm, sums, squares, count)
        gain, offset = (torch.from_numpy(each) for each in self.norm.affine())
        pooled = torch.bmm(gain[:, None] / out_mels, band_rows).squeeze(1)
        added = self.temporal.forward(pooled.add_(offset.mean(1, keepdim=True)))
        output = rows.new_empty(channels, out_mels, length)
        per_row = (self._per_row(values, out_mels) for values in self.norm.affine())
        arguments = *self.stencil, *per_row, added.numpy(), self.identity, output.numpy()
        self.team.share(kernels.block_output, channels, *arguments)
        return output

    def _expand(self, rows: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """y, scale and shift of the activation relu(scale y + shift) that the convolution over frequency reads."""
        if not self.block.is_transition:
            return rows, *np.array([[1.0], [0.0]], self.taps.dtype).repeat(len(rows), 1)
        weight = _matrix(self.block.expand)
        made = self.team.product(weight, rows.flatten(1)).view(len(weight), *rows.shape[1:])
        sums, squares = np.empty((2, len(weight)))
        self.team.share(kernels.moments, len(weight), made.numpy(), made.numpy(), sums, squares)
        self.expand_norm = Norm(self.block.expand_norm, sums, squares, made[0].numel())
        return made, *self.expand_norm.affine()

    def _per_row(self, values: np.ndarray, mels: int) -> np.ndarray:
        """Values of bands (…, S) as values of mel bins (…, M')."""
        return values.repeat(mels // values.shape[-1], -1)

    def backward(
        self, grad: Tensor, total: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """From d (C', M', L) and its sum over M', (C', L): the same of the block before, and the gradients."""
        channels, out_mels, length = grad.shape
        grad_pooled, grad_temporal = self.temporal.backward(total)
        behind = grad.numpy(), grad_pooled.div_(out_mels).numpy()
        sums, products = np.empty((2, *self.norm.mean.shape))
        self.team.share(kernels.moments_of_errors, channels, *self.stencil, *behind, sums, products)
        factors, grad_norm = self.norm.backward(sums, products)
        grad_rows = grad.new_empty(channels, rows.shape[1], length)
        grad_taps = torch.empty_like(self.block.frequency_conv.weight)
        sums, products = np.empty((2, channels))
        total = grad.new_empty(channels, length)
        self.team.share(
            kernels.block_gradients,
            channels,
            *self.stencil,
            *behind,
            self._per_row(factors, out_mels),
            self.identity,
            grad_rows.numpy(),
            grad_taps.view(channels, -1).numpy(),
            total.numpy(),
            sums,
            products,
        )
        grads = [grad_taps, *grad_norm, *grad_temporal]
        if self.block.is_transition:
            return self._expand_backward(grad_rows, rows, sums, products, grads)
        return grad_rows, total, grads

    def _expand_backward(
        self,
        grad: Tensor,
        rows: Tensor,
        sums: np.ndarray,
        products: np.ndarray,
        grads: list[Tensor],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        factors, grad_norm = self.expand_norm.backward(sums, products)
        self.team.share(kernels.before_norm, len(grad), self.stencil[0], grad.numpy(), factors)
        weight = self.block.expand.weight
        grad, flat = grad.flatten(1), rows.flatten(1)
        grad_weight = (grad @ flat.t()).view_as(weight)
        grad_rows = self.team.product(_matrix(self.block.expand).t(), grad).view_as(rows)
        return (
            grad_rows,
            sum_behind_relu(self.team, grad_rows, rows),
            [grad_weight, *grad_norm, *grads],
        )


class TemporalPass:
    """dropout(pointwise(silu(norm(convolution over time)))) of signals (C, L), forward and back."""

    def __init__(self, block, batch: int, team: ThreadTeam):
        self.team = team
        self.conv, self.pointwise, self.norm_module = (
            block.temporal_conv,
            block.pointwise,
            block.temporal_norm,
        )
        self.step = block.temporal_conv.dilation[1] * batch
        self.taps = _matrix(self.conv).numpy()
        self.mask = None
        if block.dropout.p > 0:
            # Drawn as Dropout2d draws it, so that one seed gives one mask in both forms.
            keep = 1 - block.dropout.p
            mask = self.conv.weight.new_empty(batch, len(self.taps)).bernoulli_(keep).div_(keep)
            self.mask = mask.t().contiguous()[:, None]

    def forward(self, signal: Tensor) -> Tensor:
        self.signal, self.made = signal, torch.empty_like(signal)
        sums, squares = np.empty((2, len(signal)))
        arguments = signal.numpy(), self.taps, self.step, self.made.numpy(), sums, squares
        self.team.share(kernels.over_time, len(signal), *arguments)
        self.norm = Norm(self.norm_module, sums, squares, signal.shape[1])
        gain, offset = (torch.from_numpy(each)[:, None] for each in self.norm.affine())
        self.normed = self.made * gain + offset
        self.active = functional.silu(self.normed)
        return self._drop(_matrix(self.pointwise) @ self.active)

    def _drop(self, signal: Tensor) -> Tensor:
        """Silence the dropped channels of each clip, in place."""
        if self.mask is not None:
            signal.view(len(signal), -1, self.mask.shape[2]).mul_(self.mask)
        return signal

    def backward(self, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the signals and of convolution, norm and pointwise convolution."""
        grad = self._drop(grad)
        grad_pointwise = (grad @ self.active.t()).view_as(self.pointwise.weight)
        grad = _matrix(self.pointwise).t() @ grad
        grad = torch.ops.aten.silu_backward(grad, self.normed)
        made, sums, products = self.made.numpy(), *np.empty((2, len(grad)))
        pair = made[:, None], grad.numpy()[:, None]
        self.team.share(kernels.moments, len(grad), *pair, sums, products)
        factors, grad_norm = self.norm.backward(sums, products)
        grad_signal, grad_taps = torch.empty_like(grad), torch.empty_like(self.conv.weight)
        self.team.share(
            kernels.back_over_time,
            len(grad),
            self.signal.numpy(),
            self.taps,
            self.step,
            made,
            grad.numpy(),
            factors,
            grad_signal.numpy(),
            grad_taps.view(len(grad), -1).numpy(),
        )
        return grad_signal, [grad_taps, *grad_norm, grad_pointwise]


def _matrix(conv: nn.Conv2d) -> Tensor:
    """The weights, (C', R), out of autograd's sight."""
    return conv.weight.detach().flatten(1)
