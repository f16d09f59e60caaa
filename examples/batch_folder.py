"""All pictures below a folder, in several processes: python examples/batch_folder.py in/ out/ 2

The command line does the same, and more: vqcodec encode in/ -r --output-dir out -j 2
"""

import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import vqcodec
from vqcodec.errors import InputError
from vqcodec.image import formats


def encode(path: Path, folder: Path, out: Path) -> str:
    try:
        data = vqcodec.encode(path, quality=50)  # the model is loaded once in each process
    except InputError as error:
        return f"{path}: {error}"
    target = (out / path.relative_to(folder)).with_suffix(".vqc")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return f"{path}: {len(data)} bytes"


if __name__ == "__main__":  # the processes import this file
    folder, out, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in formats.PICTURES)
    with get_context("spawn").Pool(jobs) as pool:  # fork is not safe with threads of torch
        for line in pool.imap(partial(encode, folder=folder, out=out), paths):
            print(line)
