"""A folder of .vqc files in a DataLoader of torch: python examples/data_loader.py coded/ 256

Each file is decoded where it is needed, a random crop of it at a time: only the tiles of the crop
are read. The last line is what a training loop would do.
"""

import sys

from torch.utils.data import DataLoader

from vqcodec.integrations.torch import VqcFolder

if __name__ == "__main__":  # worker processes import this file
    crops = VqcFolder(sys.argv[1], crop=int(sys.argv[2]))  # uint8 [3, side, side]
    for batch in DataLoader(crops, 4, shuffle=True, num_workers=2):
        print(tuple(batch.shape), f"mean {batch.float().mean():.1f}")
