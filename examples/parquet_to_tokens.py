"""Parquet files of .vqc bytes -> tokens, without computing a pixel.

    python examples/parquet_to_tokens.py coded/ [MODEL]

Prints the shape of each picture's words and how many of them are indices of the codebooks.
"""

import sys
from collections.abc import Iterator

import ray

from vqcodec.integrations.ray import ReadIndices


def tokens(coded: str, model: str | None = None) -> Iterator[dict]:
    """Rows with path, model_id, level, width, height and words, int32 [h, w, C]."""
    dataset = ray.data.read_parquet(coded)
    yield from dataset.map_batches(ReadIndices(model), batch_size=16).iter_rows()


if __name__ == "__main__":
    for row in tokens(*sys.argv[1:]):
        words = row["words"]
        print(f"{row['path']} level {row['level']} words {words.shape}, {(words >= 0).sum()} used")
