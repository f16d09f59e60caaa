"""A classifier of indices, not of pixels: python examples/token_classifier.py 180"""

import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vqcodec import Codec

PATTERNS, SIZE = 4, 64  # indices above 62 count as one


def draw(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    label, period = int(rng.integers(PATTERNS)), rng.uniform(6, 16)
    y, x = np.mgrid[:64, :64] / period * 2 * np.pi + rng.uniform(0, 6, (2, 1, 1))
    shape = [np.sin(y), np.sin(x), np.sin(x) * np.sin(y), np.sin(x + y)][label] > 0
    return np.where(shape[..., None], *rng.integers(0, 256, (2, 3))).astype(np.uint8), label


class Tokens(Dataset):
    def __init__(self, files: list[tuple[bytes, int]]):
        self.items = [(codec.read_indices(data).indices, label) for data, label in files]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):  # each channel has other codebooks
        indices, label = self.items[index]  # [h, w, C]
        return (indices.clip(-1, SIZE - 2) + 1 + SIZE * np.arange(indices.shape[2])).ravel(), label


codec, rng = Codec.load(), np.random.default_rng(0)
drawn = [draw(rng) for _ in range(int(sys.argv[1]))]
data = Tokens([(codec.encode(rgb), label) for rgb, label in drawn])
train, test = torch.utils.data.random_split(data, [2 / 3, 1 / 3], torch.Generator().manual_seed(0))
net = torch.nn.EmbeddingBag(SIZE * codec.model.config.transform.latents, PATTERNS)
adam = torch.optim.Adam(net.parameters(), 0.3)
for _ in range(30):
    for tokens, labels in DataLoader(train, 20, shuffle=True):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(tokens), labels).backward()
        adam.step()
for name, part in (("training", train), ("test", test)):
    tokens, labels = next(iter(DataLoader(part, len(part))))
    print(f"{name}: {(net(tokens).argmax(1) == labels).float().mean():.2f} of {len(part)} right")
