"""A folder of .vqc files in a DataLoader of torch: python examples/data_loader.py coded/ 256

Each file is decoded where it is needed, a random crop of it at a time: only the tiles of the crop
are read. The last line is what a training loop would do.
"""

import random
import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import vqcodec


class Crops(Dataset):
    def __init__(self, folder: str, side: int):
        self.paths = sorted(Path(folder).rglob("*.vqc"))
        self.side = side  # pixels

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):  # uint8 [3, side, side]
        data = self.paths[index].read_bytes()
        header = vqcodec.read_header(data)
        x = random.randint(0, header.width - self.side)
        y = random.randint(0, header.height - self.side)
        image = vqcodec.decode(data, crop=(x, y, self.side, self.side)).convert("RGB")
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


if __name__ == "__main__":  # worker processes import this file
    crops = Crops(sys.argv[1], int(sys.argv[2]))
    # spawn: a model that this process has loaded is not safe to fork
    loader = DataLoader(crops, 4, shuffle=True, num_workers=2, multiprocessing_context="spawn")
    for batch in loader:
        print(tuple(batch.shape), f"mean {batch.float().mean():.1f}")
