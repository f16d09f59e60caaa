"""Callables for Ray Data's `map_batches`: columns of pictures, .vqc files or indices.

Each class is one method of `Codec` on every row of a batch {column: array of N rows}; Ray is not
imported. Give an instance, for tasks on all cores, or the class, for a set number of actors:

    dataset.map_batches(Encode(quality=40, effort=4))
    dataset.map_batches(Encode, fn_constructor_kwargs={"quality": 40}, concurrency=8)

Either way a process loads its model once, and Ray gives it as many threads as the `num_cpus`
that you ask for. Actors keep their cores: leave some for the tasks that read and write.

A picture is what `Codec.encode` takes: bytes of an image file, or uint8 [H, W, 3]. Indices are
the columns of `Indices`: model_id, level, width, height, words (int32 [h, w, C]) and grey.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bitstream.container import read_header
from ..errors import VqcodecError
from ..rate_control import DEFAULT_QUALITY
from .loaded import codec_of

if TYPE_CHECKING:
    from ..codec import Codec, Indices

Batch = dict[str, np.ndarray]
INDICES = ("model_id", "level", "width", "height", "words", "grey")
WAYS = "lossless", "exact"  # to encode, beside a target
_log = logging.getLogger(__name__)


class _Map:
    """A function of rows, applied to batches. It is small to pickle: the model stays behind."""

    takes: tuple[str, ...] = ()  # columns; `gives` stand in their place
    gives: tuple[str, ...] = ()

    def __init__(self, model: str | Path | None = None, drop_bad: bool = False):
        """model: name, or path of a folder that every node has, as of `Codec.load`; None: the
        default one to encode, and the one that a file or the indices name to decode.
        drop_bad: leave out, and log, the rows that raise VqcodecError, instead of raising it.
        """
        self.model, self.drop_bad = model, drop_bad

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the columns of `gives` in place of those of `takes`; others stay."""
        others = [name for name in batch if name not in self.takes]
        rows = []
        for number in range(len(batch[self.takes[0]])):
            try:
                made = self.row(*(batch[name][number] for name in self.takes))
            except VqcodecError as exc:
                if not self.drop_bad:
                    raise
                _log.warning("a row was dropped: %s", exc)
                continue
            kept = (batch[name][number] for name in others)
            rows.append((*kept, *made))
        names = [*others, *self.gives]
        return {name: _column([row[at] for row in rows]) for at, name in enumerate(names)}

    def codec(self, model_id: bytes | None = None) -> "Codec":
        """The process's codec for the model asked for, else for this id (None: the default)."""
        return codec_of(self.model, model_id)

    def row(self, *values: object) -> tuple:
        """One row: the values of `takes` -> those of `gives`."""
        raise NotImplementedError


def _column(values: list) -> np.ndarray:
    """[N] objects, whatever the shapes of arrays among them; plain numbers as such."""
    if values and isinstance(values[0], int | np.number):
        return np.array(values)
    column = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        column[number] = value
    return column


class _FromPicture(_Map):
    def __init__(
        self,
        column: str = "image",
        quality: float = DEFAULT_QUALITY,
        model: str | Path | None = None,
        drop_bad: bool = False,
        effort: int | None = None,
    ):
        """column: where the pictures are; Ray's `read_binary_files` calls it "bytes".
        quality, effort: as of `Codec.encode`. The others as for every class here."""
        super().__init__(model, drop_bad)
        self.takes, self.quality, self.effort = (column,), quality, effort


class Encode(_FromPicture):
    """Pictures -> `vqc`: bytes of .vqc files. Raises as `targets.encode`."""

    gives = ("vqc",)

    def __init__(self, *how: object, **more: object):
        """As `EncodeIndices`, or with a target instead of a quality, `lossless` or `exact`, as
        `targets.encode` has them: Encode(target_ssimulacra2=70), Encode(exact=False)."""
        named = [name for name in more if name.startswith("target_") or name in WAYS]
        self.how = {name: more.pop(name) for name in named}
        super().__init__(*how, **more)

    def row(self, picture: "bytes | np.ndarray") -> tuple[bytes]:
        from ..targets import encode

        return (encode(self.codec(), picture, self.quality, effort=self.effort, **self.how),)


class EncodeIndices(_FromPicture):
    """Pictures -> columns of indices, without files. Raises as `Codec.encode`."""

    gives = INDICES

    def row(self, picture: "bytes | np.ndarray") -> "Indices":
        return self.codec().encode_indices(picture, self.quality, effort=self.effort)


class _ToPicture(_Map):
    def __init__(
        self, model: str | Path | None = None, drop_bad: bool = False, realism: float = 0.0
    ):
        """realism: as of `Codec.decode`. The others as for every class here."""
        super().__init__(model, drop_bad)
        self.realism = realism


class Decode(_ToPicture):
    """`vqc` -> `image`: uint8 [H, W, 3], or [H, W, 4] with alpha. Raises as `Codec.decode`."""

    takes, gives = ("vqc",), ("image",)

    def row(self, data: bytes) -> tuple[np.ndarray]:
        image = self.codec(read_header(data).model_id).decode(data, realism=self.realism)
        return (np.asarray(image.convert("RGBA" if "A" in image.mode else "RGB")),)


class ReadIndices(_Map):
    """`vqc` -> columns of indices; no pixel is computed. Raises as `Codec.decode`."""

    takes, gives = ("vqc",), INDICES

    def row(self, data: bytes) -> "Indices":
        return self.codec(read_header(data).model_id).read_indices(data)


class DecodeIndices(_ToPicture):
    """Columns of indices -> `image`: uint8 [H, W, 3]. Raises as `Codec.decode_indices`."""

    takes, gives = INDICES, ("image",)

    def row(self, *fields: object) -> tuple[np.ndarray]:
        indices = _indices(*fields)
        image = self.codec(indices.model_id).decode_indices(indices, realism=self.realism)
        return (np.asarray(image.convert("RGB")),)


class WriteIndices(_Map):
    """Columns of indices -> `vqc`: bytes of .vqc files. Raises as `Codec.decode_indices`."""

    takes, gives = INDICES, ("vqc",)

    def row(self, *fields: object) -> tuple[bytes]:
        indices = _indices(*fields)
        return (self.codec(indices.model_id).write_indices(indices),)


def _indices(
    model_id: bytes, level: int, width: int, height: int, words: np.ndarray, grey: bool
) -> "Indices":
    from ..codec import Indices

    return Indices(model_id, int(level), int(width), int(height), words, bool(grey))
