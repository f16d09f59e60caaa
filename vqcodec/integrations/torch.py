"""A folder of .vqc files as a Dataset of torch, without torchvision.

    DataLoader(VqcFolder("coded/", crop=64), batch_size=32, shuffle=True, num_workers=4)

Files are decoded in the workers, forked or spawned; each process loads a model once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..bitstream.container import Header, read_header
from ..errors import InputError, VqcodecError
from ..geometry import SCALES
from .loaded import codec_of

if TYPE_CHECKING:
    from PIL import Image

    from ..codec import Crop


class VqcFolder(Dataset[Tensor]):
    """The .vqc files below a folder, in the order of their paths, which are in `paths`."""

    def __init__(
        self,
        folder: str | Path,
        *,
        crop: int | tuple[int, int] | None = None,
        random: bool = True,
        scale: int = 1,
        indices: bool = False,
        realism: float = 0.0,
        model: str | Path | None = None,
    ):
        """crop: side, or height and width, in pixels of the whole picture, of the part to decode;
        only its tiles are read. None: all.
        random: crops are anywhere, drawn from torch's generator, which DataLoader seeds; False: in
        the middle.
        scale: 1, 2, 4 or 8: pixels come at 1/scale of their size, as of `Codec.decode`.
        indices: give the tokens of whole files, no pixel is computed.
        realism, model: as of `Codec.decode` and `Codec.load`; None: the model that a file names.

        Raises InputError for a folder without .vqc files; ValueError for options that do not go
        together.
        """
        if scale not in SCALES:
            raise ValueError(f"scale is {scale}, expected one of {SCALES}")
        if indices and (crop is not None or scale > 1 or realism):
            raise ValueError("indices are those of whole files: no crop, scale or realism")
        self.crop = (crop, crop) if isinstance(crop, int) else crop
        if self.crop is not None and min(self.crop) < 1:
            raise ValueError(f"crop is {crop}, expected pixels")
        self.random, self.scale, self.indices = random, scale, indices
        self.realism, self.model = realism, model
        self.paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() == ".vqc")
        if not self.paths:
            raise InputError(f"no file below {folder} ends in .vqc")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        """uint8 [3, H, W], RGB; or the tokens, int32 [h, w, C].

        Raises InputError, which names the file, for one that is damaged, too small for the crop,
        or of a model that is not installed.
        """
        path = self.paths[number]
        try:
            data = path.read_bytes()
            header = read_header(data)
            codec = codec_of(self.model, header.model_id)
            if self.indices:
                return torch.from_numpy(codec.read_indices(data).indices)
            how = {"scale": self.scale, "realism": self.realism}
            return to_tensor(codec.decode(data, crop=self._crop(header), **how))
        except (OSError, VqcodecError) as exc:
            raise InputError(f"{path}: {exc}") from exc

    def _crop(self, header: Header) -> "Crop | None":
        if self.crop is None:
            return None
        height, width = self.crop
        x, y = header.width - width, header.height - height
        if min(x, y) < 0:
            size = f"{header.width}x{header.height}"
            raise InputError(f"the picture is {size}, smaller than the crop of {width}x{height}")
        # Multiples of the scale, where 1/4 and 1/8 are decoded fast.
        x, y = (self._start(room // self.scale) * self.scale for room in (x, y))
        return x, y, width, height

    def _start(self, most: int) -> int:
        return int(torch.randint(most + 1, ())) if self.random else most // 2


def to_tensor(image: "Image.Image") -> Tensor:
    """A decoded picture, without its alpha, as torch has pictures: uint8 [3, H, W], RGB."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
