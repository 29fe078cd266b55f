"""The loops of BC-ResNet's training that mix channels, or begin and end the network; see `training_kernels`.

Legend: C channels, R channels read, M mel bins, L frames x clips.
"""

import numba
import numpy as np

from speech_commands_kws.models.training_kernels import JIT, TILE, moments, settle, turn_back

FOUR = 4  # rows that one loop reads: fewer writes of what it makes


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
        of_grad, of_made = norm.factors[0, channel, 0], norm.factors[1, channel, 0]
        constant = norm.factors[2, channel, 0]
        grad_weight[channel] = 0.0
        for j in range(made.shape[1]):
            for start in range(0, made.shape[2], TILE):
                given, shown = behind[channel, j, start : start + TILE], made[channel, j, start:]
                for i in range(len(given)):
                    change[i] = of_grad * given[i] + of_made * shown[i] + constant
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
    whole = len(weights) // FOUR * FOUR
    for k in range(0, whole, FOUR):
        weight, rows = weights[k : k + FOUR], tile[k : k + FOUR]
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
    first, last, rows, scale, shift, transposed, made, grad_made, factors, grad_rows, total
):
    """Gradients of `expand`: of x behind its own relu, (R, M, L), with its sum over M, (R, L).

    That of `made` is factors[0] grad_made + factors[1] made + factors[2], each (C, 1); `transposed` are the weights
    (R, C). Returns the gradient of the weights, (C, R).
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
                of_grad, of_made = factors[0, channel, 0], factors[1, channel, 0]
                constant, change = factors[2, channel, 0], changes[channel]
                given, shown = grad_made[channel, j, start:stop], made[channel, j, start:stop]
                for i in range(stop - start):
                    change[i] = of_grad * given[i] + of_made * shown[i] + constant
                _products(tile, change[: stop - start], grad_weight[channel])
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
    whole = len(sums) // FOUR * FOUR
    for k in range(0, whole, FOUR):
        rows, found = tile[k : k + FOUR], sums[k : k + FOUR]
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
        of_grad, of_value = norm.factors[0, channel, 0], norm.factors[1, channel, 0]
        constant = norm.factors[2, channel, 0]
        for i in range(length):
            found[i] = of_grad * found[i] + of_value * values[i] + constant
