"""The loops of BC-ResNet's blocks in training on a CPU, compiled by Numba.

The norms of a training tie all clips of a batch together, but never two channels. So a channel goes through all that a
block does to it before the next one comes: its rows stay in a core's second cache, and what would be eight passes over
memory is one or two.

An activation x (C, M, L) is given as y, scale and shift: x[c, m, l] = relu(scale[c] y[c, m, l] + shift[c]), so that a
norm and a relu need no pass of their own. The depthwise convolution over frequency is

    s[c, m, l] = sum over k of taps[c, k] x[c, stride m + k - 1, l],        zeros beyond the borders.

It costs next to nothing beside the reading of y, and is computed anew wherever it is needed. Sub-spectral norm makes it
gain[c, m] s + offset[c, m]; the rows of a band are normalised together. d is a gradient behind the relu of an output, e
is d + pooled, the gradient of s after its norm.

Every kernel works on the channels from `first` to `last`, without the interpreter's lock, so that threads share it.
Sums are made in the precision of the arrays over a tile, in double precision over the tiles. fastmath is without
`nnan`: a NaN must stay one. LLVM makes vectors of a loop if it has few arrays to compare for overlaps, hence one
written array a loop, and if an index is the loop's own, hence slices.

All kernels are in one file, since Numba keeps what it has compiled until the file of a kernel changes, whatever it
imports from others.

Legend: B clips, C channels made, R channels read, M mel bins read, M' mel bins made, S bands, L frames x clips.
"""

from typing import NamedTuple

import numba
import numpy as np

FACTORS = 3  # of a norm's way back
TILE = 512  # the rows of a tile of L stay in a core's first cache
JIT = {
    "nogil": True,
    # With inlined calls a kernel is the same code when it was compiled just now and when it is loaded from the cache: a
    # call left over is bound to whichever copy of the callee is in the process, and the copies round differently.
    "forceinline": True,
    "cache": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
}


class Norm(NamedTuple):
    """A batch norm of S values for each channel; all arrays (C, S) but the factors."""

    gamma: np.ndarray
    beta: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray
    momentum: float
    eps: float
    mean: np.ndarray  # of the batch, float64 like the rate
    rate: np.ndarray  # 1 / standard deviation
    gain: np.ndarray
    offset: np.ndarray
    # Backward: the gradient of a value v is factors[0] e + factors[1] v + factors[2], (FACTORS, C, S).
    factors: np.ndarray
    grad_gamma: np.ndarray
    grad_beta: np.ndarray


class Block(NamedTuple):
    """What a block works on; its pointwise convolution and dropout lie between the kernels."""

    rows: np.ndarray  # y, (C, M, L)
    scale: np.ndarray
    shift: np.ndarray
    taps: np.ndarray  # of the convolution over frequency, (C, 3)
    stride: int
    identity: float  # 1 where the input is added to the output, else 0
    norm: Norm
    signal: np.ndarray  # the mean over M' of the normalised s, (C, L)
    temporal_taps: np.ndarray  # (C, 3)
    step: int  # how far apart in L the frames lie that a convolution over time takes
    lead: int  # how far before a frame the first of them lies: a step, or two where the last one is the frame itself
    made: np.ndarray  # by the convolution over time, (C, L)
    temporal_norm: Norm
    normed: np.ndarray  # the normalised `made`, (C, L)
    added: np.ndarray  # what the temporal branch adds, (C, L)
    output: np.ndarray  # (C, M', L)


@numba.njit(**JIT)
def settle(norm, channel, band, total, square, count):
    """Gain and offset, and the running statistics, from the sums of `count` values and of their squares."""
    mean = total / count
    variance = square / count - mean * mean
    rate = 1.0 / np.sqrt(np.maximum(variance, 0.0) + norm.eps)
    gain = norm.gamma[channel, band] * rate
    norm.mean[channel, band], norm.rate[channel, band] = mean, rate
    norm.gain[channel, band] = gain
    norm.offset[channel, band] = norm.beta[channel, band] - gain * mean
    unbiased = variance * (count / (count - 1))
    norm.running_mean[channel, band] += norm.momentum * (mean - norm.running_mean[channel, band])
    norm.running_var[channel, band] += norm.momentum * (unbiased - norm.running_var[channel, band])


@numba.njit(**JIT)
def turn_back(norm, channel, band, total, product, count):
    """The factors and gradients, from the sums of e and of e times the value."""
    mean, rate = norm.mean[channel, band], norm.rate[channel, band]
    gain = norm.gamma[channel, band] * rate
    grad_gamma = rate * (product - mean * total)
    by_value = -gain * rate * grad_gamma / count
    norm.factors[0, channel, band] = gain
    norm.factors[1, channel, band] = by_value
    norm.factors[2, channel, band] = -gain * total / count - by_value * mean
    norm.grad_gamma[channel, band], norm.grad_beta[channel, band] = grad_gamma, total


@numba.njit(**JIT)
def moments(row, values):
    """Sums of values (L,), a gradient or the row itself, and of them times the row."""
    total, product = 0.0, 0.0
    for start in range(0, len(row), TILE):
        given, shown = row[start : start + TILE], values[start:]
        tile_total, tile_product = np.float32(0.0), np.float32(0.0)
        for i in range(len(given)):
            tile_total += shown[i]
            tile_product += shown[i] * given[i]
        total += tile_total
        product += tile_product
    return total, product


@numba.njit(**JIT)
def load(rows, scale, shift, start, stop, tile):
    """Activations (M, start to stop) into the rows 1 to M of a tile (M + 2, TILE)."""
    for j in range(rows.shape[0]):
        made, given = tile[j + 1], rows[j, start:stop]
        for i in range(stop - start):
            value = scale * given[i] + shift
            made[i] = np.float32(0.0) if value <= 0 else value


@numba.njit(**JIT)
def through_norm(norm, channel, made, grad, found):
    """The gradient of `made`, (n,), from that of the normalised values and the norm's factors."""
    of_grad, of_made = norm.factors[0, channel, 0], norm.factors[1, channel, 0]
    constant = norm.factors[2, channel, 0]
    for i in range(len(grad)):
        found[i] = of_grad * grad[i] + of_made * made[i] + constant


@numba.njit(**JIT)
def finish_and_begin(first, last, block, following):
    """The output of a block, and all of the following one up to the normalised convolution over time.

    Either may be None.
    """
    if block is not None:
        tile = _empty_tile(block)
    if following is not None:
        next_tile, length = _empty_tile(following), following.signal.shape[1]
        padded = np.zeros(length + 2 * following.step, following.rows.dtype)
        over_bands = np.zeros((following.norm.gain.shape[1], length), following.rows.dtype)
    for channel in range(first, last):
        if block is not None:
            _finish(block, channel, tile)
        if following is not None:
            _begin(following, channel, next_tile, padded, over_bands)


@numba.njit(**JIT)
def _empty_tile(block):
    return np.zeros((block.rows.shape[1] + 2, TILE), block.rows.dtype)


@numba.njit(**JIT)
def _begin(block, channel, tile, padded, over_bands):
    _normalise_bands(block, channel, tile, over_bands)
    norm, made, normed = block.temporal_norm, block.made[channel], block.normed[channel]
    taps, signal = block.temporal_taps[channel], block.signal[channel]
    total, square = _over_time(signal, taps, block.step, block.lead, padded, made)
    settle(norm, channel, 0, total, square, len(made))
    gain, offset = norm.gain[channel, 0], norm.offset[channel, 0]
    for i in range(len(made)):
        normed[i] = gain * made[i] + offset


@numba.njit(**JIT)
def _normalise_bands(block, channel, tile, over_bands):
    """Settle the norm of each band by the sums of s and s^2, and take the mean of the normalised s over M'."""
    rows, taps, norm = block.rows[channel], block.taps[channel], block.norm
    bands, length, out_mels = norm.gain.shape[1], rows.shape[1], block.output.shape[1]
    in_band = out_mels // bands
    before, middle, after = taps[0], taps[1], taps[2]
    sums, squares = np.zeros(bands), np.zeros(bands)
    over_bands[:] = 0.0
    for start in range(0, length, TILE):
        stop = min(start + TILE, length)
        load(rows, block.scale[channel], block.shift[channel], start, stop, tile)
        for j in range(out_mels):
            row = j * block.stride
            upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
            over_band = over_bands[j // in_band, start:stop]
            total, square = np.float32(0.0), np.float32(0.0)
            for i in range(stop - start):
                value = before * upper[i] + middle * centre[i] + after * lower[i]
                over_band[i] += value
                total += value
                square += value * value
            sums[j // in_band] += total
            squares[j // in_band] += square
    signal = block.signal[channel]
    signal[:] = 0.0
    for band in range(bands):
        settle(norm, channel, band, sums[band], squares[band], in_band * length)
        share = norm.gain[channel, band] / rows.dtype.type(out_mels)
        offset, over_band = norm.offset[channel, band] / rows.dtype.type(bands), over_bands[band]
        for i in range(length):
            signal[i] += share * over_band[i] + offset


@numba.njit(**JIT)
def _over_time(signal, taps, step, lead, padded, made):
    """Convolution over time of a signal (L,), frames `step` apart; the sums of it and of its square."""
    length = len(signal)
    padded[lead : lead + length] = signal
    before, middle, after = taps[0], taps[1], taps[2]
    sum_of_tiles, square_of_tiles = 0.0, 0.0
    for start in range(0, length, TILE):
        shown = made[start : start + TILE]
        early, now, late = padded[start:], padded[start + step :], padded[start + 2 * step :]
        total, square = np.float32(0.0), np.float32(0.0)
        for i in range(len(shown)):
            value = before * early[i] + middle * now[i] + after * late[i]
            shown[i] = value
            total += value
            square += value * value
        sum_of_tiles += total
        square_of_tiles += square
    return sum_of_tiles, square_of_tiles


@numba.njit(**JIT)
def _finish(block, channel, tile):
    """relu(gain s + offset + added [+ x])."""
    rows, taps, norm = block.rows[channel], block.taps[channel], block.norm
    length, out_mels = rows.shape[1], block.output.shape[1]
    in_band = out_mels // norm.gain.shape[1]
    for start in range(0, length, TILE):
        stop = min(start + TILE, length)
        load(rows, block.scale[channel], block.shift[channel], start, stop, tile)
        extra = block.added[channel, start:stop]
        for j in range(out_mels):
            row = j * block.stride
            upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
            made = block.output[channel, j, start:stop]
            gain = norm.gain[channel, j // in_band]
            before, middle, after = gain * taps[0], gain * taps[1], gain * taps[2]
            middle += taps.dtype.type(block.identity)
            constant = norm.offset[channel, j // in_band]
            for i in range(stop - start):
                value = before * upper[i] + middle * centre[i] + after * lower[i]
                value += constant + extra[i]
                made[i] = np.float32(0.0) if value <= 0 else value


class BlockGradients(NamedTuple):
    behind: np.ndarray  # d, (C, M', L)
    active: np.ndarray  # gradient of the temporal norm's result, (C, L)
    rows: np.ndarray  # of x, behind its own relu, (C, M, L)
    total: np.ndarray  # the sum of that over M, (C, L)
    taps: np.ndarray
    temporal_taps: np.ndarray
    sums: np.ndarray  # of that of x and of it times y over each channel, (2, C)


@numba.njit(**JIT)
def go_back(first, last, block, grads):
    """All of a block's gradients from `behind` and `active` on."""
    tile = _empty_tile(block)
    changes = np.zeros((block.output.shape[1] + 2, TILE), block.rows.dtype)
    length = block.signal.shape[1]
    padded = np.zeros(length + 2 * block.step, block.rows.dtype)
    padded_changes = np.zeros_like(padded)
    pooled = np.empty(length, block.rows.dtype)
    for channel in range(first, last):
        _back_over_time(block, channel, grads, padded, padded_changes, pooled)
        for i in range(length):
            pooled[i] /= len(block.output[channel])
        _turn_back_bands(block, channel, grads.behind[channel], pooled, tile)
        _back_over_frequency(block, channel, grads, pooled, tile, changes)


@numba.njit(**JIT)
def _back_over_time(block, channel, grads, padded, changes, grad_signal):
    """Through norm and convolution of the temporal branch."""
    signal, made, grad = block.signal[channel], block.made[channel], grads.active[channel]
    norm, step, length = block.temporal_norm, block.step, len(block.signal[channel])
    lead = block.lead
    total, product = moments(made, grad)
    turn_back(norm, channel, 0, total, product, length)
    padded[lead : lead + length] = signal
    change = changes[2 * step - lead :]
    through_norm(norm, channel, made, grad, change)
    taps, grad_taps = block.temporal_taps[channel], grads.temporal_taps[channel]
    before, middle, after = taps[0], taps[1], taps[2]
    grad_taps[:] = 0.0
    for start in range(0, length, TILE):
        found = grad_signal[start : start + TILE]
        early, now, late = padded[start:], padded[start + step :], padded[start + 2 * step :]
        earlier, level, later = (
            changes[start:],
            changes[start + step :],
            changes[start + 2 * step :],
        )
        here = change[start:]
        of_before, of_middle, of_after = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for i in range(len(found)):
            found[i] = before * later[i] + middle * level[i] + after * earlier[i]
            of_before += here[i] * early[i]
            of_middle += here[i] * now[i]
            of_after += here[i] * late[i]
        grad_taps[0] += of_before
        grad_taps[1] += of_middle
        grad_taps[2] += of_after


@numba.njit(**JIT)
def _turn_back_bands(block, channel, behind, pooled, tile):
    """Turn the norm of each band back by the sums of e and e s."""
    rows, taps, norm = block.rows[channel], block.taps[channel], block.norm
    length, out_mels, bands = rows.shape[1], behind.shape[0], norm.gain.shape[1]
    in_band = out_mels // bands
    before, middle, after = taps[0], taps[1], taps[2]
    sums, products = np.zeros(bands), np.zeros(bands)
    for start in range(0, length, TILE):
        stop = min(start + TILE, length)
        load(rows, block.scale[channel], block.shift[channel], start, stop, tile)
        common = pooled[start:stop]
        for j in range(out_mels):
            row = j * block.stride
            upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
            given = behind[j, start:stop]
            total, product = np.float32(0.0), np.float32(0.0)
            for i in range(stop - start):
                value = before * upper[i] + middle * centre[i] + after * lower[i]
                error = common[i] + given[i]
                total += error
                product += error * value
            sums[j // in_band] += total
            products[j // in_band] += product
    for band in range(bands):
        turn_back(norm, channel, band, sums[band], products[band], in_band * length)


@numba.njit(**JIT)
def _back_over_frequency(block, channel, grads, pooled, tile, changes):
    rows, behind, norm = block.rows[channel], grads.behind[channel], block.norm
    grad_rows, taps, grad_taps = grads.rows[channel], block.taps[channel], grads.taps[channel]
    mels, length, out_mels, stride = rows.shape[0], rows.shape[1], behind.shape[0], block.stride
    in_band = out_mels // norm.gain.shape[1]
    before, middle, after = taps[0], taps[1], taps[2]
    identity = taps.dtype.type(block.identity)
    grad_taps[:] = 0.0
    total, product = 0.0, 0.0
    for start in range(0, length, TILE):
        stop = min(start + TILE, length)
        load(rows, block.scale[channel], block.shift[channel], start, stop, tile)
        common = pooled[start:stop]
        for j in range(out_mels):
            upper, centre, lower = tile[stride * j], tile[stride * j + 1], tile[stride * j + 2]
            given, change, band = behind[j, start:stop], changes[j + 1], j // in_band
            of_error, of_value = norm.factors[0, channel, band], norm.factors[1, channel, band]
            constant = norm.factors[2, channel, band]
            of_before, of_middle, of_after = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(stop - start):
                value = before * upper[i] + middle * centre[i] + after * lower[i]
                value = of_error * (common[i] + given[i]) + of_value * value + constant
                of_before += value * upper[i]
                of_middle += value * centre[i]
                of_after += value * lower[i]
                change[i] = value
            grad_taps[0] += of_before
            grad_taps[1] += of_middle
            grad_taps[2] += of_after
        over_mels = grads.total[channel, start:stop]
        over_mels[:] = 0.0
        for j in range(mels):
            row, of_low, of_mid, of_high = _reached_from(j, stride, before, middle, after)
            low, mid, high = changes[row], changes[row + 1], changes[row + 2]
            direct = behind[j // stride, start:stop]
            made, shown, given = grad_rows[j, start:stop], tile[j + 1], rows[j, start:stop]
            tile_total, tile_product = np.float32(0.0), np.float32(0.0)
            for i in range(stop - start):
                value = of_low * low[i] + of_mid * mid[i] + of_high * high[i]
                value += identity * direct[i]
                value = value if shown[i] > 0 else np.float32(0.0)
                made[i] = value
                tile_total += value
                tile_product += value * given[i]
            for i in range(stop - start):
                over_mels[i] += made[i]
            total += tile_total
            product += tile_product
    grads.sums[0, channel], grads.sums[1, channel] = total, product


@numba.njit(**JIT)
def _reached_from(mel, stride, before, middle, after):
    """Row m of x reaches three rows of s, or at a stride of 2 two or one: the first of the three, and their weights."""
    row = mel // stride
    if stride == 1:
        return row, after, middle, before
    if mel % stride == 0:
        return row, np.float32(0.0), middle, np.float32(0.0)
    return row, np.float32(0.0), after, before


@numba.njit(**JIT)
def stem(first, last, padded, weight, stride, step, norm, made):
    """Convolution of padded images (M + 4, (F + 4) B) with (C, 5, 5), (C, M', L), and its norm.

    Frames lie `step` = B apart.
    """
    length = made.shape[2]
    for channel in range(first, last):
        sum_of_tiles, square_of_tiles = 0.0, 0.0
        for j in range(made.shape[1]):
            for start in range(0, length, TILE):
                shown = made[channel, j, start : start + TILE]
                shown[:] = 0.0
                for row in range(weight.shape[1]):
                    taps = weight[channel, row]
                    tap_0, tap_1, tap_2 = taps[0], taps[1], taps[2]
                    tap_3, tap_4 = taps[-2], taps[-1]
                    image_0, image_1, image_2, image_3, image_4 = _moved(
                        padded[stride * j + row], start, step
                    )
                    for i in range(len(shown)):
                        near = tap_0 * image_0[i] + tap_1 * image_1[i] + tap_2 * image_2[i]
                        shown[i] += near + tap_3 * image_3[i] + tap_4 * image_4[i]
                total, square = moments(shown, shown)
                sum_of_tiles += total
                square_of_tiles += square
        settle(norm, channel, 0, sum_of_tiles, square_of_tiles, made.shape[1] * length)


@numba.njit(**JIT)
def _moved(row, start, step):
    """A row from `start` on, and moved by one to four steps."""
    first = row[start:]
    second = first[step:]
    third = second[step:]
    fourth = third[step:]
    return first, second, third, fourth, fourth[step:]


@numba.njit(**JIT)
def stem_back(first, last, padded, made, behind, stride, step, norm, grad_weight):
    """Gradients of the stem's norm and weights (C, 5, 5); `behind` (C, M', L) is d."""
    change = np.zeros(TILE, made.dtype)
    for channel in range(first, last):
        sum_of_tiles, product_of_tiles = 0.0, 0.0
        for j in range(made.shape[1]):
            total, product = moments(made[channel, j], behind[channel, j])
            sum_of_tiles += total
            product_of_tiles += product
        count = made.shape[1] * made.shape[2]
        turn_back(norm, channel, 0, sum_of_tiles, product_of_tiles, count)
        grad_weight[channel] = 0.0
        for j in range(made.shape[1]):
            for start in range(0, made.shape[2], TILE):
                given, shown = behind[channel, j, start : start + TILE], made[channel, j, start:]
                through_norm(norm, channel, shown, given, change)
                for row in range(grad_weight.shape[1]):
                    image_0, image_1, image_2, image_3, image_4 = _moved(
                        padded[stride * j + row], start, step
                    )
                    sum_0, sum_1, sum_2 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                    sum_3, sum_4 = np.float32(0.0), np.float32(0.0)
                    for i in range(len(given)):
                        sum_0 += change[i] * image_0[i]
                        sum_1 += change[i] * image_1[i]
                        sum_2 += change[i] * image_2[i]
                        sum_3 += change[i] * image_3[i]
                        sum_4 += change[i] * image_4[i]
                    found = grad_weight[channel, row]
                    found[0] += sum_0
                    found[1] += sum_1
                    found[2] += sum_2
                    found[-2] += sum_3
                    found[-1] += sum_4


@numba.njit(**JIT)
def expand(first, last, rows, scale, shift, weight, made):
    """The pointwise convolution (C, R) of x (R, M, L) on the tiles `first` to `last` of L: (C, M, L).

    Returns the sums of what is made and of its square, (2, C).
    """
    read, mels, length = rows.shape
    tile = np.zeros((read, TILE), rows.dtype)
    sums = np.zeros((2, len(weight)))
    for start in range(first * TILE, min(last * TILE, length), TILE):
        stop = min(start + TILE, length)
        for j in range(mels):
            _load_column(rows, scale, shift, j, start, stop, tile)
            for channel in range(len(weight)):
                shown = made[channel, j, start:stop]
                _mix(tile, weight[channel], shown)
                total, square = moments(shown, shown)
                sums[0, channel] += total
                sums[1, channel] += square
    return sums


@numba.njit(**JIT)
def settle_all(norm, sums, count):
    for channel in range(sums.shape[1]):
        settle(norm, channel, 0, sums[0, channel], sums[1, channel], count)


@numba.njit(**JIT)
def turn_back_all(norm, sums, count):
    for channel in range(sums.shape[1]):
        turn_back(norm, channel, 0, sums[0, channel], sums[1, channel], count)


@numba.njit(**JIT)
def _load_column(rows, scale, shift, mel, start, stop, tile):
    """x (R, start to stop) of a mel bin into a tile (R, TILE)."""
    for channel in range(len(rows)):
        value_of, value_to = rows[channel, mel, start:stop], tile[channel]
        factor, constant = scale[channel], shift[channel]
        for i in range(stop - start):
            value = factor * value_of[i] + constant
            value_to[i] = np.float32(0.0) if value <= 0 else value


@numba.njit(**JIT)
def _mix(tile, weights, made):
    """The sum of the rows of a tile (R, TILE), weighted, four at a time."""
    made[:] = 0.0
    whole = len(weights) // 4 * 4
    for k in range(0, whole, 4):
        weight, rows = weights[k : k + 4], tile[k : k + 4]
        weight_0, weight_1, weight_2, weight_3 = weight[0], weight[1], weight[2], weight[-1]
        row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[-1]
        for i in range(len(made)):
            near = weight_0 * row_0[i] + weight_1 * row_1[i]
            made[i] += near + weight_2 * row_2[i] + weight_3 * row_3[i]
    for k in range(whole, len(weights)):
        weight, row = weights[k], tile[k]
        for i in range(len(made)):
            made[i] += weight * row[i]


@numba.njit(**JIT)
def expand_back(
    first, last, rows, scale, shift, transposed, made, grad_made, norm, grad_rows, total
):
    """Gradients of `expand`: of x behind its own relu, (R, M, L), with its sum over M, (R, L).

    `transposed` are the weights (R, C). Returns the gradient of the weights, (C, R).
    """
    read, mels, length = rows.shape
    tile = np.zeros((read, TILE), rows.dtype)
    changes = np.zeros((len(made), TILE), rows.dtype)
    mixed = np.zeros(TILE, rows.dtype)
    grad_weight = np.zeros((len(made), read))
    for start in range(first * TILE, min(last * TILE, length), TILE):
        stop = min(start + TILE, length)
        total[:, start:stop] = 0.0
        for j in range(mels):
            _load_column(rows, scale, shift, j, start, stop, tile)
            for channel in range(len(made)):
                given, shown = grad_made[channel, j, start:stop], made[channel, j, start:stop]
                change = changes[channel, : stop - start]
                through_norm(norm, channel, shown, given, change)
                _products(tile, change, grad_weight[channel])
            for channel in range(read):
                _mix(changes, transposed[channel], mixed)
                found, shown = grad_rows[channel, j, start:stop], tile[channel]
                for i in range(stop - start):
                    found[i] = mixed[i] if shown[i] > 0 else np.float32(0.0)
                over_mels = total[channel, start:stop]
                for i in range(stop - start):
                    over_mels[i] += found[i]
    return grad_weight


@numba.njit(**JIT)
def _products(tile, change, sums):
    """Add the product of each row of a tile (R, TILE) with `change`, four rows at a time."""
    whole = len(sums) // 4 * 4
    for k in range(0, whole, 4):
        rows, found = tile[k : k + 4], sums[k : k + 4]
        row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[-1]
        sum_0, sum_1 = np.float32(0.0), np.float32(0.0)
        sum_2, sum_3 = np.float32(0.0), np.float32(0.0)
        for i in range(len(change)):
            sum_0 += change[i] * row_0[i]
            sum_1 += change[i] * row_1[i]
            sum_2 += change[i] * row_2[i]
            sum_3 += change[i] * row_3[i]
        found[0] += sum_0
        found[1] += sum_1
        found[2] += sum_2
        found[-1] += sum_3
    for k in range(whole, len(sums)):
        row, product = tile[k], np.float32(0.0)
        for i in range(len(change)):
            product += change[i] * row[i]
        sums[k] += product


@numba.njit(**JIT)
def close(first, last, rows, weight, step, signal):
    """Convolution (C, M, taps) over all mel bins and some frames of each channel of (C, M, L): (C, L)."""
    channels, mels, length = rows.shape
    taps = weight.shape[2]
    reach = taps // 2 * step
    padded = np.zeros(length + 2 * reach, rows.dtype)
    for channel in range(first, last):
        made = signal[channel]
        made[:] = 0.0
        for j in range(mels):
            padded[reach : reach + length] = rows[channel, j]
            for k in range(taps):
                tap, given = weight[channel, j, k], padded[k * step :]
                for i in range(length):
                    made[i] += tap * given[i]


@numba.njit(**JIT)
def close_back(first, last, rows, weight, step, grad, grad_rows, total, grad_weight):
    """Gradients of `close`: of its rows, behind their relu, with their sum over M, and of its weights."""
    channels, mels, length = rows.shape
    taps = weight.shape[2]
    reach = taps // 2 * step
    padded = np.zeros(length + 2 * reach, rows.dtype)
    for channel in range(first, last):
        padded[reach : reach + length] = grad[channel]
        over_mels = total[channel]
        over_mels[:] = 0.0
        for j in range(mels):
            shown, made = rows[channel, j], grad_rows[channel, j]
            made[:] = 0.0
            for k in range(taps):
                tap, given = weight[channel, j, taps - 1 - k], padded[k * step :]
                for i in range(length):
                    made[i] += tap * given[i]
                _, product = moments(shown, given)
                grad_weight[channel, j, taps - 1 - k] = product
            for i in range(length):
                made[i] = made[i] if shown[i] > 0 else np.float32(0.0)
            for i in range(length):
                over_mels[i] += made[i]


@numba.njit(**JIT)
def mean_active(first, last, hidden, step, norm, mean):
    """The mean over time of relu(norm(hidden)), (C, B), of (C, L)."""
    for channel in range(first, last):
        values, made = hidden[channel], mean[channel]
        total, square = moments(values, values)
        settle(norm, channel, 0, total, square, len(values))
        gain, offset = norm.gain[channel, 0], norm.offset[channel, 0]
        made[:] = 0.0
        for start in range(0, len(values), step):
            given = values[start : start + step]
            for i in range(step):
                value = gain * given[i] + offset
                made[i] += np.float32(0.0) if value <= 0 else value
        for i in range(step):
            made[i] /= len(values) // step


@numba.njit(**JIT)
def mean_active_back(first, last, hidden, step, norm, grad_mean, grad):
    """The gradient (C, L) of `hidden`, from that of the mean, (C, B)."""
    for channel in range(first, last):
        values, found, length = hidden[channel], grad[channel], hidden.shape[1]
        gain, offset = norm.gain[channel, 0], norm.offset[channel, 0]
        share = grad_mean[channel] / grad.dtype.type(length // step)
        for start in range(0, length, step):
            given, made = values[start : start + step], found[start : start + step]
            for i in range(step):
                made[i] = share[i] if gain * given[i] + offset > 0 else np.float32(0.0)
        total, product = moments(values, found)
        turn_back(norm, channel, 0, total, product, length)
        through_norm(norm, channel, values, found, found)
