"""What eyes see of a difference: structural similarity in the XYB colour space, and its slope.

The structure term of SSIM (Wang et al. 2004, "Image quality assessment: from error visibility to
structural similarity") in the colours of JPEG XL, with the mean term as SSIMULACRA 2 has it: the
distance of `nn.eye_distance`, which says more, for one picture and in numpy. Its slope is written
by hand. The numbers are here for both.
"""

from typing import NamedTuple

import numpy as np

# The distortion "eyes": weights of the squared error in 255 units and of the distance.
EYES_MSE, EYES_UNLIKE = 0.5, 1000.0
SCALE_WEIGHTS = 0.10, 0.28, 0.28, 0.22, 0.12  # full size first, each next one half of it
PLANE_WEIGHTS = 0.2, 0.6, 0.2  # of X, Y and B
WINDOW, STRIDE = 7, 2  # pixels
VARIANCE_FLOOR = 0.0009  # C2 of SSIM: below this variance structure hardly counts
WORST_WEIGHT = 0.15  # of the norm of fourth powers beside the mean: the worst windows rule it
NORM_FLOOR = 2.0**-32  # under the fourth root, whose slope at 0 is infinite
BIAS = 0.0037930732552754493  # of cone responses, and below JPEG XL's matrix from linear RGB
LMS = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)


class Scale(NamedTuple):
    """What is known of the true picture at a scale."""

    weight: float  # of the distance here; those of all scales sum to 1
    planes: np.ndarray  # XYB, float32 [3, h, w]
    means: np.ndarray  # of its windows, float32 [3, n, m]
    squares: np.ndarray  # means of squares


class EyeDistance:
    """The distance from one picture."""

    def __init__(self, x: np.ndarray):
        """x: float32 [3, H, W] in 0..1."""
        linear, self.scales = _linear_light(x)[0], []
        for weight in SCALE_WEIGHTS:
            if self.scales:
                if min(linear.shape[1:]) < 2 * WINDOW:
                    break
                linear = _halved(linear)
            planes = _xyb(_cones(linear))
            self.scales.append(Scale(weight, planes, _means(planes), _means(planes * planes)))
        total = sum(scale.weight for scale in self.scales)
        self.scales = [scale._replace(weight=scale.weight / total) for scale in self.scales]

    def judge(self, out: np.ndarray) -> tuple[float, np.ndarray]:
        """The distance of a picture, float32 [3, H, W], and its slope there, of the same shape."""
        linear, along_light = _linear_light(out)
        total, slopes = 0.0, []
        for number, scale in enumerate(self.scales):
            linear = _halved(linear) if number else linear
            cones = _cones(linear)
            distance, slope = _compared(_xyb(cones), scale)
            total += scale.weight * distance
            slopes.append(_along_linear(np.float32(scale.weight) * slope, cones))
        slope = slopes.pop()
        for finer in reversed(slopes):
            slope = _add_doubled(finer, slope)
        return total, slope * along_light


def _linear_light(srgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sRGB, clipped to 0..1 -> linear light in 0..1, and its slope, 0 where it is clipped."""
    x = srgb.clip(0, 1)
    low, curved = x <= 0.04045, (x + np.float32(0.055)) * np.float32(1 / 1.055)
    linear = _power(curved, 2.4)
    slope = np.where(low, np.float32(1 / 12.92), np.float32(2.4 / 1.055) * linear / curved)
    return np.where(low, x * np.float32(1 / 12.92), linear), slope * (x == srgb)


def _cones(linear: np.ndarray) -> np.ndarray:
    """Linear RGB [3, h, w] -> cube roots of the cones' responses."""
    return _power(_mixed(np.float32(LMS), linear) + np.float32(BIAS), 1 / 3)


def _power(x: np.ndarray, exponent: float) -> np.ndarray:
    """Of positive numbers, to within 1e-6 of it: numpy's own take up to three times as long."""
    return np.exp(np.float32(exponent) * np.log(x))


def _mixed(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """[3, 3] times [3, h, w], row by row: BLAS gives a large product to threads, which then keep
    the cores busy for a while, waiting for the next."""
    mixed = np.empty_like(planes)
    np.matmul(matrix, planes.transpose(1, 0, 2), out=mixed.transpose(1, 0, 2))
    return mixed


def _xyb(cones: np.ndarray) -> np.ndarray:
    """Cube roots -> XYB, as of `nn.eye_distance.xyb`."""
    long, middle, short = cones - np.float32(BIAS ** (1 / 3))
    y = (long + middle) / 2
    return np.stack([7 * (long - middle) + 0.42, y + 0.01, short - y + 0.55])


def _along_linear(slope: np.ndarray, cones: np.ndarray) -> np.ndarray:
    """The slope along XYB -> that along linear RGB."""
    x, y, b = slope
    both = (y - b) / 2
    roots = np.stack([7 * x + both, both - 7 * x, b]) / (3 * cones * cones)
    return _mixed(np.float32(LMS).T, roots)


def _compared(p: np.ndarray, true: Scale) -> tuple[float, np.ndarray]:
    """The distance of planes at one scale, and its slope along them, [3, h, w] as they are."""
    q, mean_q, mean_p = true.planes, true.means, _means(p)
    variances = (_means(p * p) - mean_p * mean_p) + (true.squares - mean_q * mean_q)
    covariance = _means(p * q) - mean_p * mean_q
    spread = variances + np.float32(VARIANCE_FLOOR)
    structure = (2 * covariance + np.float32(VARIANCE_FLOOR)) / spread
    apart = mean_p - mean_q
    alike = 1 - apart * apart
    total, along = _pooled((1 - alike * structure).clip(0))
    along_structure = -along * alike
    along_square = -along_structure * structure / spread
    along_product = 2 * along_structure / spread
    along_mean = 2 * along * apart * structure - along_product * mean_q - 2 * along_square * mean_p
    slope = _spread(along_mean, p.shape) + 2 * p * _spread(along_square, p.shape)
    return total, slope + q * _spread(along_product, p.shape)


def _pooled(distances: np.ndarray) -> tuple[float, np.ndarray]:
    """Of windows [3, n, m]: mean and norm of fourth powers of each plane, then all planes; and
    the slope."""
    cubes, count = distances**3, distances[0].size
    power = (cubes * distances).mean((1, 2), dtype=np.float64) + NORM_FLOOR
    worst = power**0.25 - NORM_FLOOR**0.25
    planes = distances.mean((1, 2), dtype=np.float64) + WORST_WEIGHT * worst
    steep = np.float32(WORST_WEIGHT * power**-0.75)[:, None, None]
    weights = np.float32(PLANE_WEIGHTS)[:, None, None] / np.float32(count)
    slope = weights * (1 + steep * cubes) * (distances > 0)
    return float(planes @ PLANE_WEIGHTS), slope


def _means(planes: np.ndarray) -> np.ndarray:
    """Of all windows: [3, h, w] -> [3, n, m]."""
    for axis in (1, 2):
        size, count = _windows(planes.shape[axis])
        if size < WINDOW:
            planes = planes.mean(axis, keepdims=True)
            continue
        firsts, seconds = _halves(axis, count)
        pairs = planes[firsts][_part(axis, 0, count + 2)] + planes[seconds]
        total = planes[firsts][_part(axis, 3, count)]
        for k in range(3):
            total = total + pairs[_part(axis, k, count)]
        planes = total * np.float32(1 / size)
    return planes


def _spread(slopes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The slope along means of windows -> that along the planes: `_means`, transposed."""
    for axis in (2, 1):
        size, count = _windows(shape[axis])
        sides = list(slopes.shape)
        sides[axis] = shape[axis]
        slopes = slopes * np.float32(1 / size)
        if size < WINDOW:
            slopes = np.broadcast_to(slopes, sides)
            continue
        planes = np.zeros(sides, np.float32)
        sides[axis] = count + 2
        pairs = np.zeros(sides, np.float32)
        for k in range(3):
            pairs[_part(axis, k, count)] += slopes
        firsts, seconds = _halves(axis, count)
        planes[seconds] = pairs
        planes[firsts][_part(axis, 0, count + 2)] = pairs
        planes[firsts][_part(axis, 3, count)] += slopes
        slopes = planes
    return slopes


def _windows(side: int) -> tuple[int, int]:
    """How large windows are along a side, and how many."""
    size = min(WINDOW, side)
    return size, (side - size) // STRIDE + 1


def _halves(axis: int, count: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Along an axis of three, of what so many windows see: all firsts of two, and their seconds
    but for the last, which has none. Windows of 7 by 2 are three pairs and a first."""
    end = STRIDE * count + WINDOW - STRIDE
    return tuple(
        (slice(None),) * axis + (slice(start, end - start, STRIDE),) for start in range(STRIDE)
    )


def _part(axis: int, start: int, count: int) -> tuple[slice, ...]:
    """So many positions along an axis."""
    return (slice(None),) * axis + (slice(start, start + count),)


def _halved(planes: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in planes.shape[1:])
    rows = planes[:, 0:height:2, :width] + planes[:, 1:height:2, :width]
    return (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)


def _add_doubled(planes: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Add the slope along `_halved` planes to that along the planes, which it overwrites."""
    height, width = (2 * side for side in slopes.shape[1:])
    quarter = slopes * np.float32(0.25)
    for y in (0, 1):
        for x in (0, 1):
            planes[:, y:height:2, x:width:2] += quarter
    return planes
