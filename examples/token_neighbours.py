"""Which pictures are alike, by their codewords alone: python examples/token_neighbours.py *.vqc

Counts how often each file uses each codeword, and compares the counts. No pixel is computed.
"""

import sys
from pathlib import Path

import numpy as np

import vqcodec
from vqcodec import Codec
from vqcodec.compare import bit_allocation

paths = [Path(name) for name in sys.argv[1:]]
files = [path.read_bytes() for path in paths]
codec = Codec.shared(vqcodec.read_header(files[0]).model_id)
histograms = np.stack(
    [np.concatenate(bit_allocation.measure(codec, data).counts) for data in files]
)
roots = np.sqrt(histograms / histograms.sum(1, keepdims=True))
likeness = roots @ roots.T  # Bhattacharyya coefficient: 1 for equal histograms, 0 for disjoint
np.fill_diagonal(likeness, -1)
for path, row in zip(paths, likeness, strict=True):
    print(f"{path.name} is most like {paths[row.argmax()].name} ({row.max():.3f})")
