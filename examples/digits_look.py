"""What a VQ-VAE of digits has learnt, after digits.py: python examples/digits_look.py out 90

Prints bits, error and codewords at that quality. Draws out/look.png: ten digits that it has not
seen, what they become, and two rows that are drawn from its prior, index by index.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import Codec, read_header
from vqcodec.compare import bit_allocation
from vqcodec.generative import generate

out, quality = Path(sys.argv[1]), float(sys.argv[2])
codec, sheet = Codec.load(out / "model", "cpu"), np.array(Image.open(out / "test.png"))
test = sheet.reshape(-1, 28, 10, 28).swapaxes(1, 2).reshape(-1, 28, 28)
# Drawn digits would be coded without loss, by no network: exact=False.
files, png = [codec.encode(digit, quality, exact=False) for digit in test], io.BytesIO()
decoded = np.stack([np.asarray(codec.decode(data)) for data in files])
found = [bit_allocation.measure(codec, data) for data in files]
for digit in test:
    Image.fromarray(digit).save(png, "PNG", optimize=True)
bits, total = np.sum([use.bits.sum() for use in found]), 8 * sum(map(len, files))
error = 10 * np.log10(255**2 / np.mean((decoded - test.astype(float)) ** 2))
print(f"a digit: {total / len(test):.0f} bits, {bits / len(test):.0f} of indices, {error:.2f} dB")
print(f"as PNG, without loss: {8 * len(png.getvalue()) / len(test):.0f} bits")
counts = np.concatenate([sum(rows) for rows in zip(*(use.counts for use in found), strict=True)])
p = counts[counts > 0] / counts.sum()
print(f"{len(p)} of {len(counts)} codewords occur, perplexity {2 ** -(p * np.log2(p)).sum():.1f}")

level = read_header(files[0]).level
tokens = (generate.sample(codec, 28, 28, level=level, seed=seed) for seed in range(20))
drawn = np.stack([np.asarray(codec.decode_indices(each).convert("L")) for each in tokens])
rows = [test[:10], decoded[:10], *drawn.reshape(2, 10, 28, 28)]
Image.fromarray(np.block([list(row) for row in rows])).save(out / "look.png")
