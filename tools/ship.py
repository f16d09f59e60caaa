"""Ship a trained model: `python tools/ship.py RUN/model NAME [--beside]`.

Copies its files to models/NAME, with realism.safetensors if it is there, appends it to
models/index.json, as the default unless it is to be one beside it, and writes its golden files.
Then write models/NAME/CARD.md and the figures of README and docs/. Nothing that shipped earlier
is changed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from vqcodec.train.export import append_to_index, index_entry
from vqcodec.zoo.weights import PARTS, REALISM, load_folder

ROOT = Path(__file__).parents[1]


def ship(source: Path, name: str, default: bool = True) -> None:
    folder = ROOT / "models" / name
    folder.mkdir()
    parts = PARTS if load_folder(source).realism is None else (*PARTS, REALISM)
    for file in ("config.json", *(f"{part}.safetensors" for part in parts)):
        shutil.copyfile(source / file, folder / file)
    entry = index_entry(folder, load_folder(folder))
    append_to_index(ROOT / "models" / "index.json", entry, default)
    make = ROOT / "tests" / "golden" / "make.py"
    subprocess.run([sys.executable, str(make), name], check=True)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), sys.argv[2], default="--beside" not in sys.argv[3:])
