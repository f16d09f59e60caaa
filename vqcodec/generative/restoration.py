"""Denoising and super-resolution with a codec whose network was trained for it.

Such a network is a codec like any other, but its indices stand for the restored picture. What
it was trained for is the `task` of its config.
"""

import numpy as np
from PIL import Image

from ..codec import Codec
from ..config import TaskConfig
from ..errors import ModelError
from ..geometry import MAX_PIXELS, check_size
from ..image.pixels import Picture, Source, load

QUALITY = 100  # the level of the least error


def task_of(codec: Codec) -> TaskConfig:
    """What a codec's network restores. Raises ModelError if it was trained to code only."""
    task = codec.model.config.task
    if task is None:
        name = codec.model.config.name
        raise ModelError(f"model {name} has no task: restoring needs one of vqcodec train --task")
    return task


def enlarge(picture: Picture, factor: int) -> Picture:
    """`factor` times the width and height, bicubic; alpha as well."""
    alpha = None if picture.alpha is None else _resized(picture.alpha, factor)
    return picture._replace(rgb=_resized(picture.rgb, factor), alpha=alpha)


def restore(codec: Codec, image: Source, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The restored picture as a .vqc file of this codec, for `Codec.decode`.

    A network for enlargement gives `task.factor` times the width and height. Alpha and metadata
    are kept as by `Codec.encode`. Raises ModelError for a network without a task, InputError,
    ImageTooLargeError, for the restored picture as well.
    """
    task = task_of(codec)
    picture = load(image, max_pixels)
    height, width = picture.rgb.shape[:2]
    check_size(task.factor * width, task.factor * height, max_pixels)
    if task.factor > 1:
        picture = enlarge(picture, task.factor)
    return codec.encode(picture, QUALITY, max_pixels=max_pixels)


def degrade(rgb: np.ndarray, task: TaskConfig, rng: np.random.Generator) -> np.ndarray:
    """Make a clean picture uint8 [H, W, 3] into what `restore` is for: with noise, or of
    [H / factor, W / factor, 3]. H and W are multiples of the factor."""
    if task.sigma:
        noisy = rgb + rng.normal(scale=task.sigma, size=rgb.shape)
        return noisy.round().clip(0, 255).astype(np.uint8)
    size = rgb.shape[1] // task.factor, rgb.shape[0] // task.factor
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def _resized(pixels: np.ndarray, factor: int) -> np.ndarray:
    size = pixels.shape[1] * factor, pixels.shape[0] * factor
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
