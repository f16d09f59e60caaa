"""Ship a trained model: `python tools/ship.py RUN/model NAME [--beside | --archive | --realism]`.

Copies its files to models/NAME, with realism.safetensors if it is there, appends it to
models/index.json, as the default unless it is to be one beside it, and writes its golden files.
With --archive it goes to archive/vqcodec_archive instead, the second distribution, and into the
list of models/index.json that tells users where it is. Then write CARD.md in its folder, and the
figures of README and docs/. Nothing that shipped earlier is changed.

With --realism NAME is a model that shipped, and only the second decoder of RUN/model is new, of the
same id: it goes to models/NAME-realism-2, or the next number that is free, and is taken from then
on. What was shipped with the model stays.

`python tools/ship.py --retire NAME` moves a model of models/ to the archive, golden files and all.
The archive is to be installed: `pip install -e archive`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from vqcodec.train.export import append_to_index, index_entry
from vqcodec.zoo.weights import PARTS, REALISM, load_folder

ROOT = Path(__file__).parents[1]
MODELS, ARCHIVE = "models", "archive/vqcodec_archive"  # the homes of models
GOLDEN = {MODELS: "tests/golden", ARCHIVE: "archive/golden"}


def ship(source: Path, name: str, home: str = MODELS, default: bool = True) -> None:
    folder = ROOT / home / name
    folder.mkdir()
    parts = PARTS if load_folder(source).realism is None else (*PARTS, REALISM)
    for file in ("config.json", *(f"{part}.safetensors" for part in parts)):
        shutil.copyfile(source / file, folder / file)
    entry = index_entry(folder, load_folder(folder))
    append_to_index(ROOT / home / "index.json", entry, default and home == MODELS)
    if home == ARCHIVE:
        _tell_where(entry)
    make = ROOT / "tests" / "golden" / "make.py"
    subprocess.run([sys.executable, str(make), name, str(ROOT / GOLDEN[home])], check=True)


def ship_realism(source: Path, name: str) -> None:
    index = _read(f"{MODELS}/index.json")
    (entry,) = (row for row in index["models"] if row["name"] == name)
    model = load_folder(source)
    if model.realism is None or model.id.hex() != entry["id"]:
        sys.exit(f"{source} has no second decoder of {name}, whose id is {entry['id']}")
    numbers = range(2, 100)
    folder = next(f for n in numbers if not (f := ROOT / MODELS / f"{name}-{REALISM}-{n}").exists())
    folder.mkdir()
    file = f"{REALISM}.safetensors"
    shutil.copyfile(source / file, folder / file)
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    row = {"model": name, "folder": folder.name, "sha256": digest}
    index.setdefault(REALISM, []).append(row)
    _write(f"{MODELS}/index.json", index)


def retire(name: str) -> None:
    """Move a model that is not the default from models/ to the archive, its second decoders too."""
    index = _read(f"{MODELS}/index.json")
    if name == index["default"]:
        sys.exit(f"{name} is the default model: ship the next one first")
    (entry,) = (row for row in index["models"] if row["name"] == name)
    index["models"].remove(entry)
    decoders = [row for row in index.get(REALISM, []) if row["model"] == name]
    if decoders:
        index[REALISM] = [row for row in index[REALISM] if row["model"] != name]
    _write(f"{MODELS}/index.json", index)
    append_to_index(ROOT / ARCHIVE / "index.json", entry, default=False)
    if decoders:
        archive = _read(f"{ARCHIVE}/index.json")
        archive[REALISM] = archive.get(REALISM, []) + decoders
        _write(f"{ARCHIVE}/index.json", archive)
    _tell_where(entry)
    for folder in (name, *(row["folder"] for row in decoders)):
        (ROOT / MODELS / folder).rename(ROOT / ARCHIVE / folder)
    for kind in ("valid", "invalid"):
        for path in (ROOT / GOLDEN[MODELS] / kind).glob(f"{name}-*"):
            path.rename(ROOT / GOLDEN[ARCHIVE] / kind / path.name)
    old, new = (f"{GOLDEN[home]}/valid/index.json" for home in (MODELS, ARCHIVE))
    rows = _read(old)
    moved = {file: row for file, row in rows.items() if file.startswith(f"{name}-")}
    _write(new, _read(new) | moved)
    _write(old, {file: row for file, row in rows.items() if file not in moved})


def _tell_where(entry: dict) -> None:
    index = _read(f"{MODELS}/index.json")
    row = {"name": entry["name"], "id": entry["id"], "distribution": "vqcodec-archive"}
    index.setdefault("elsewhere", []).append(row)
    _write(f"{MODELS}/index.json", index)


def _read(path: str) -> dict:
    return json.loads((ROOT / path).read_text("utf-8"))


def _write(path: str, content: dict) -> None:
    (ROOT / path).write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--retire":
        retire(sys.argv[2])
    else:
        options = sys.argv[3:]
        if "--realism" in options:
            sys.exit(ship_realism(Path(sys.argv[1]), sys.argv[2]))
        home = ARCHIVE if "--archive" in options else MODELS
        ship(Path(sys.argv[1]), sys.argv[2], home, default="--beside" not in options)
