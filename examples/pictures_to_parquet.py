"""A folder of pictures -> Parquet files of .vqc bytes, on all cores of a Ray cluster.

    python examples/pictures_to_parquet.py photos/ coded/ [MODEL]

Each row has the `path` of a picture and its file, `vqc`. What is no picture is left out.
"""

import sys

import ray

from vqcodec.image import formats
from vqcodec.integrations.ray import Encode


def main(pictures: str, out: str, model: str | None = None) -> None:
    endings = [suffix.removeprefix(".") for suffix in formats.PICTURES]
    dataset = ray.data.read_binary_files(pictures, include_paths=True, file_extensions=endings)
    encode = Encode("bytes", quality=50, model=model, drop_bad=True)
    dataset.map_batches(encode, batch_size=16).write_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
