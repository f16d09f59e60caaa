"""Units and bounds of the integer prior and of the codebooks, as FORMAT.md has them. No torch.

Numbers end in MAX where they bound an absolute value, in BITS where they count binary places.
"""

import math

from ..config import QuantizerConfig

ACT_BITS = 5  # activations stand for integers / 2**5
WEIGHT_BITS = 8
SUM_BITS = ACT_BITS + WEIGHT_BITS
STATE_MAX = 2047  # |running state|, and likewise below
RELU_MAX = 511
UNITS_MAX = 1023
EXACT_SUM = 2**24  # float32 holds every integer up to here
BIAS_MAX = 2**20  # bound of each of the up to three biases of a sum, in sum units
MEAN_BITS = 10  # means are integers / 2**10 standard deviations
MEAN_MAX = 2**15
LATENT_BITS = 6  # decoded latents are integers / 2**6 steps
TABLE_BITS = 16  # entries of the level tables `to_steps` and `to_units`
CODEWORD_BITS = 6  # codewords are integers / 2**6 steps
ESCAPE_BITS = 16.0  # assumed price of an escape's spelled-out number
NUMBER_MAX = 2**17 - 1  # |n| of an escape: latents stay exact in float32


def sigmas(config: QuantizerConfig) -> list[float]:
    """Standard deviation, in steps, that each class of scale stands for."""
    return [2 ** (config.log_sigma_min + t / config.per_octave) for t in range(config.classes)]


def scalar_range(config: QuantizerConfig) -> list[int]:
    """M of each scalar class: its codewords start as the integers -M..M."""
    return [max(4, math.ceil(5 * sigma)) for sigma in sigmas(config)]


def table_sizes(config: QuantizerConfig) -> list[int]:
    """K of each row of the tables, escape included."""
    side = config.pair_classes // config.pair_merge
    pair = (2 * config.pair_range + 1) ** 2 + 1
    return [2 * m + 2 for m in scalar_range(config)] + [pair] * side**2
