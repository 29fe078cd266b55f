"""The loops of BC-ResNet's training on a CPU, compiled by Numba: each reads its large arrays once.

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

Legend: C channels, M mel bins read, M' mel bins made, S bands, L frames x clips.
"""

import numba
import numpy as np

TILE = 256  # the rows of a tile of L stay in a core's first cache
JIT = {
    "nogil": True,
    "cache": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
}


@numba.njit(**JIT)
def _load(rows, scale, shift, start, stop, tile):
    """Activations (M, start to stop) into the rows 1 to M of a tile (M + 2, TILE)."""
    for j in range(rows.shape[0]):
        made, given = tile[j + 1], rows[j, start:stop]
        for i in range(stop - start):
            value = scale * given[i] + shift
            made[i] = np.float32(0.0) if value <= 0 else value


@numba.njit(**JIT)
def moments(first, last, rows, values, sums, products):
    """Sums of values (C, M, L), a gradient or y itself, and of them times y, over each channel, (C,)."""
    for channel in range(first, last):
        sums[channel], products[channel] = 0.0, 0.0
        for j in range(rows.shape[1]):
            for start in range(0, rows.shape[2], TILE):
                given, shown = rows[channel, j, start : start + TILE], values[channel, j, start:]
                total, product = np.float32(0.0), np.float32(0.0)
                for i in range(len(given)):
                    total += shown[i]
                    product += shown[i] * given[i]
                sums[channel] += total
                products[channel] += product


@numba.njit(**JIT)
def activation(first, last, rows, scale, shift, made):
    """x of y, (C, M, L)."""
    for channel in range(first, last):
        for j in range(rows.shape[1]):
            given, shown = rows[channel, j], made[channel, j]
            for i in range(len(given)):
                value = scale[channel] * given[i] + shift[channel]
                shown[i] = np.float32(0.0) if value <= 0 else value


@numba.njit(**JIT)
def _moved(row, start, step):
    """A row from `start` on, and moved by one to four steps."""
    first = row[start:]
    second = first[step:]
    third = second[step:]
    fourth = third[step:]
    return first, second, third, fourth, fourth[step:]


@numba.njit(**JIT)
def stem(first, last, padded, weight, stride, step, made):
    """Convolution of padded images (M + 4, (F + 4) B) with (C, 5, 5), (C, M', L); frames lie `step` = B apart."""
    length = made.shape[2]
    for channel in range(first, last):
        for j in range(made.shape[1]):
            for start in range(0, length, TILE):
                shown = made[channel, j, start : start + TILE]
                shown[:] = 0.0
                for row in range(len(weight[channel])):
                    taps = weight[channel, row]
                    tap_0, tap_1, tap_2, tap_3, tap_4 = (
                        taps[0],
                        taps[1],
                        taps[2],
                        taps[-2],
                        taps[-1],
                    )
                    image_0, image_1, image_2, image_3, image_4 = _moved(
                        padded[stride * j + row], start, step
                    )
                    for i in range(len(shown)):
                        near = tap_0 * image_0[i] + tap_1 * image_1[i] + tap_2 * image_2[i]
                        shown[i] += near + tap_3 * image_3[i] + tap_4 * image_4[i]


@numba.njit(**JIT)
def stem_gradient(first, last, padded, rows, behind, factors, stride, step, grad_weight):
    """Gradient of the stem's weights, (C, 5, 5); that of y is factors[0] d + factors[1] y + factors[2], each (C,)."""
    change = np.zeros(TILE, rows.dtype)
    for channel in range(first, last):
        of_grad, of_row = factors[0, channel], factors[1, channel]
        constant = factors[2, channel]
        grad_weight[channel] = 0.0
        for j in range(rows.shape[1]):
            for start in range(0, rows.shape[2], TILE):
                given, shown = behind[channel, j, start : start + TILE], rows[channel, j, start:]
                for i in range(len(given)):
                    change[i] = of_grad * given[i] + of_row * shown[i] + constant
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
                    made = grad_weight[channel, row]
                    made[0] += sum_0
                    made[1] += sum_1
                    made[2] += sum_2
                    made[-2] += sum_3
                    made[-1] += sum_4


@numba.njit(**JIT)
def moments_of_bands(first, last, rows, scale, shift, taps, stride, sums, squares, band_rows):
    """Sums of s and s^2 over each band, (C, S), and of s over the rows of each band, (C, S, L)."""
    mels, length = rows.shape[1], rows.shape[2]
    bands = band_rows.shape[1]
    in_band = mels // stride // bands
    tile = np.zeros((mels + 2, TILE), rows.dtype)
    for channel in range(first, last):
        before, middle, after = taps[channel, 0], taps[channel, 1], taps[channel, 2]
        sums[channel] = 0.0
        squares[channel] = 0.0
        for start in range(0, length, TILE):
            stop = min(start + TILE, length)
            _load(rows[channel], scale[channel], shift[channel], start, stop, tile)
            for band in range(bands):
                made = band_rows[channel, band, start:stop]
                for j in range(in_band):
                    row = (band * in_band + j) * stride
                    upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
                    kept = np.float32(j > 0)
                    if j == 0:
                        made[:] = 0.0
                    total, square = np.float32(0.0), np.float32(0.0)
                    for i in range(stop - start):
                        value = before * upper[i] + middle * centre[i] + after * lower[i]
                        total += value
                        square += value * value
                        made[i] = kept * made[i] + value
                    sums[channel, band] += total
                    squares[channel, band] += square


@numba.njit(**JIT)
def block_output(
    first, last, rows, scale, shift, taps, stride, gain, offset, added, identity, output
):
    """relu(gain s + offset + added [+ x]), (C, M', L); `added` is (C, L), `identity` 1 or 0."""
    mels, length = rows.shape[1], rows.shape[2]
    tile = np.zeros((mels + 2, TILE), rows.dtype)
    for channel in range(first, last):
        for start in range(0, length, TILE):
            stop = min(start + TILE, length)
            _load(rows[channel], scale[channel], shift[channel], start, stop, tile)
            extra = added[channel, start:stop]
            for j in range(output.shape[1]):
                row = j * stride
                upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
                made = output[channel, j, start:stop]
                before = gain[channel, j] * taps[channel, 0]
                middle = gain[channel, j] * taps[channel, 1] + identity
                after = gain[channel, j] * taps[channel, 2]
                constant = offset[channel, j]
                for i in range(stop - start):
                    value = before * upper[i] + middle * centre[i] + after * lower[i]
                    value += constant + extra[i]
                    made[i] = np.float32(0.0) if value <= 0 else value


@numba.njit(**JIT)
def behind_relu(first, last, grad, output, total):
    """d in the place of the gradient (C, M, L) of an output, and its sum over M, (C, L)."""
    length = grad.shape[2]
    for channel in range(first, last):
        for start in range(0, length, TILE):
            made = total[channel, start : start + TILE]
            made[:] = 0.0
            for j in range(grad.shape[1]):
                given, shown = grad[channel, j, start : start + TILE], output[channel, j, start:]
                for i in range(len(given)):
                    given[i] = given[i] if shown[i] > 0 else np.float32(0.0)
                for i in range(len(given)):
                    made[i] += given[i]


@numba.njit(**JIT)
def moments_of_errors(
    first, last, rows, scale, shift, taps, stride, behind, pooled, sums, products
):
    """Sums of e and e s over each band, (C, S); `behind` is d (C, M', L), `pooled` (C, L)."""
    mels, length = rows.shape[1], rows.shape[2]
    out_mels = behind.shape[1]
    in_band = out_mels // sums.shape[1]
    tile = np.zeros((mels + 2, TILE), rows.dtype)
    for channel in range(first, last):
        before, middle, after = taps[channel, 0], taps[channel, 1], taps[channel, 2]
        sums[channel] = 0.0
        products[channel] = 0.0
        for start in range(0, length, TILE):
            stop = min(start + TILE, length)
            _load(rows[channel], scale[channel], shift[channel], start, stop, tile)
            common = pooled[channel, start:stop]
            for j in range(out_mels):
                row = j * stride
                upper, centre, lower = tile[row], tile[row + 1], tile[row + 2]
                given = behind[channel, j, start:stop]
                total, product = np.float32(0.0), np.float32(0.0)
                for i in range(stop - start):
                    value = before * upper[i] + middle * centre[i] + after * lower[i]
                    error = common[i] + given[i]
                    total += error
                    product += error * value
                sums[channel, j // in_band] += total
                products[channel, j // in_band] += product


@numba.njit(**JIT)
def block_gradients(
    first, last, rows, scale, shift, taps, stride, behind, pooled, factors, identity,
    grad_rows, grad_taps, total, sums, products,
):  # fmt: skip
    """Gradients of x behind its own relu, (C, M, L), and of the taps, (C, 3).

    The gradient of s is factors[0] e + factors[1] s + factors[2], each (C, M'). Of that of x also the sum over M,
    (C, L), and the sums of it and of it times y over each channel, (C,).
    """
    mels, length, out_mels = rows.shape[1], rows.shape[2], behind.shape[1]
    tile = np.zeros((mels + 2, TILE), rows.dtype)
    changes = np.zeros((out_mels + 2, TILE), rows.dtype)
    for channel in range(first, last):
        before, middle, after = taps[channel, 0], taps[channel, 1], taps[channel, 2]
        grad_taps[channel] = 0.0
        sums[channel], products[channel] = 0.0, 0.0
        for start in range(0, length, TILE):
            stop = min(start + TILE, length)
            _load(rows[channel], scale[channel], shift[channel], start, stop, tile)
            common = pooled[channel, start:stop]
            for j in range(out_mels):
                upper, centre, lower = tile[stride * j], tile[stride * j + 1], tile[stride * j + 2]
                given, change = behind[channel, j, start:stop], changes[j + 1]
                of_error, of_value = factors[0, channel, j], factors[1, channel, j]
                constant = factors[2, channel, j]
                of_before, of_middle = np.float32(0.0), np.float32(0.0)
                of_after = np.float32(0.0)
                for i in range(stop - start):
                    value = before * upper[i] + middle * centre[i] + after * lower[i]
                    value = of_error * (common[i] + given[i]) + of_value * value + constant
                    of_before += value * upper[i]
                    of_middle += value * centre[i]
                    of_after += value * lower[i]
                    change[i] = value
                grad_taps[channel, 0] += of_before
                grad_taps[channel, 1] += of_middle
                grad_taps[channel, 2] += of_after
            over_mels = total[channel, start:stop]
            over_mels[:] = 0.0
            for j in range(mels):
                row, of_low, of_mid, of_high = _reached_from(j, stride, before, middle, after)
                low, mid, high = changes[row], changes[row + 1], changes[row + 2]
                direct = behind[channel, j // stride, start:stop]
                made, shown = grad_rows[channel, j, start:stop], tile[j + 1]
                given = rows[channel, j, start:stop]
                tile_sum, product = np.float32(0.0), np.float32(0.0)
                for i in range(stop - start):
                    value = of_low * low[i] + of_mid * mid[i] + of_high * high[i]
                    value += identity * direct[i]
                    value = value if shown[i] > 0 else np.float32(0.0)
                    made[i] = value
                    tile_sum += value
                    product += value * given[i]
                for i in range(stop - start):
                    over_mels[i] += made[i]
                sums[channel] += tile_sum
                products[channel] += product


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
def before_norm(first, last, rows, grad, factors):
    """factors[0] grad + factors[1] y + factors[2], each (C,), in the place of the gradient, (C, M, L)."""
    for channel in range(first, last):
        of_grad, of_row = factors[0, channel], factors[1, channel]
        constant = factors[2, channel]
        for j in range(rows.shape[1]):
            made, given = grad[channel, j], rows[channel, j]
            for i in range(len(made)):
                made[i] = of_grad * made[i] + of_row * given[i] + constant


@numba.njit(**JIT)
def over_time(first, last, signal, taps, step, made, sums, squares):
    """Convolution over time of signals (C, L), frames `step` apart, and the sums of it and of its square, (C,)."""
    length = signal.shape[1]
    padded = np.zeros(length + 2 * step, signal.dtype)
    for channel in range(first, last):
        before, middle, after = taps[channel, 0], taps[channel, 1], taps[channel, 2]
        padded[step : step + length] = signal[channel]
        sums[channel], squares[channel] = 0.0, 0.0
        for start in range(0, length, TILE):
            shown = made[channel, start : start + TILE]
            early, late = padded[start:], padded[start + 2 * step :]
            now = padded[start + step :]
            total, square = np.float32(0.0), np.float32(0.0)
            for i in range(len(shown)):
                value = before * early[i] + middle * now[i] + after * late[i]
                shown[i] = value
                total += value
                square += value * value
            sums[channel] += total
            squares[channel] += square


@numba.njit(**JIT)
def back_over_time(first, last, signal, taps, step, made, grad, factors, grad_signal, grad_taps):
    """Gradients of the signals (C, L) and taps (C, 3) of `over_time`.

    That of its result `made` is factors[0] grad + factors[1] made + factors[2], each (C,).
    """
    length = signal.shape[1]
    padded = np.zeros(length + 2 * step, signal.dtype)
    changes = np.zeros(length + 2 * step, signal.dtype)
    for channel in range(first, last):
        before, middle, after = taps[channel, 0], taps[channel, 1], taps[channel, 2]
        of_grad, of_made = factors[0, channel], factors[1, channel]
        constant = factors[2, channel]
        padded[step : step + length] = signal[channel]
        given, shown, change = grad[channel], made[channel], changes[step:]
        for i in range(length):
            change[i] = of_grad * given[i] + of_made * shown[i] + constant
        grad_taps[channel] = 0.0
        for start in range(0, length, TILE):
            found = grad_signal[channel, start : start + TILE]
            early, now, late = padded[start:], padded[start + step :], padded[start + 2 * step :]
            earlier, here, later = changes[start:], change[start:], changes[start + 2 * step :]
            of_before, of_middle, of_after = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(len(found)):
                found[i] = before * later[i] + middle * here[i] + after * earlier[i]
                of_before += here[i] * early[i]
                of_middle += here[i] * now[i]
                of_after += here[i] * late[i]
            grad_taps[channel, 0] += of_before
            grad_taps[channel, 1] += of_middle
            grad_taps[channel, 2] += of_after
