"""The index of shipped models, by name and by id, without loading one.

It is models/index.json, and the like of each other distribution that brings models: its entry
point of the group `vqcodec.models` names a package of data with an index.json and a folder a model.
No torch here: `vqcodec info` names a file's model with this module alone.
"""

import json
import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelError, UnknownModelError

OWN = "vqcodec.models"  # our package of data, and the group of the entry points of others
REALISM = "realism"  # the part of a model that is its second decoder
_CARD_ROW = re.compile(r"^\| ([a-z][a-z ]*) \| ([^|]*) \|$", re.MULTILINE)


class Realism(NamedTuple):
    """A second decoder: the folder beside those of the models that has its file, and the file's
    SHA-256 in hex."""

    folder: str
    sha256: str


class Entry(NamedTuple):
    """A row of an index. sha256: of each part's file, in hex. package: of data, that has it.
    realism: the second decoder that was trained last, if there is any."""

    name: str
    id: bytes
    sha256: dict[str, str]
    package: str = OWN
    realism: Realism | None = None

    @property
    def decoders(self) -> tuple[str, ...]:
        """Which decoders files of this model can be decoded with."""
        return ("fidelity", REALISM) if self.realism else ("fidelity",)


@lru_cache(maxsize=1)
def own() -> tuple[Entry, ...]:
    """The models of this package, in the order of shipping."""
    return _read(OWN)


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every installed model: ours, then those of other distributions.

    Raises ModelError if one of these cannot be read.
    """
    from importlib.metadata import entry_points  # 30 ms, that files of our own models save

    packages = sorted({point.value for point in entry_points(group=OWN)})
    others = (entry for package in packages for entry in _read(package))
    ours = {entry.id for entry in own()}
    return own() + tuple(entry for entry in others if entry.id not in ours)


def is_path(model: str | os.PathLike) -> bool:
    """Whether this names a model folder, not a shipped model: a Path, or text that has a
    separator, or is "." or "..". A folder in the working directory is ./NAME, so that no folder
    takes the place of a shipped model."""
    if not isinstance(model, str):
        return True
    separators = {os.sep, os.altsep or os.sep}
    return model in (os.curdir, os.pardir) or any(part in model for part in separators)


def default_name() -> str:
    """The name of the default model. Raises UnknownModelError if none is installed."""
    if not own():
        raise UnknownModelError("no model is installed; give the folder of one")
    return _index(OWN)["default"]


def find(name: str) -> Entry:
    """The shipped model of this name. Raises UnknownModelError."""
    if entry := _first("name", name):
        return entry
    if row := _elsewhere("name", name):
        raise UnknownModelError(f"model {row['name']} is not installed: {_how(row)}")
    known = ", ".join(entry.name for entry in entries()) or "none"
    beside = f"; a folder is given as ./{name}" if Path(name).is_dir() else ""
    raise UnknownModelError(f"no model or model folder named {name!r}; installed: {known}{beside}")


def name_of(identity: bytes) -> str:
    """The name of the shipped model with this id. Raises UnknownModelError."""
    return entry_of(identity).name


def entry_of(identity: bytes) -> Entry:
    """The shipped model with this id; for zeros, which a file of exact pixels alone has, the
    default one. Raises UnknownModelError."""
    if not any(identity):
        return find(default_name())
    if entry := _first("id", identity):
        return entry
    if row := _elsewhere("id", identity.hex()):
        raise UnknownModelError(
            f"the file needs model {row['name']}, which is not installed: {_how(row)}"
        )
    raise UnknownModelError(
        f"the file needs model {identity.hex()}, which is not installed: give the folder of it"
        " (--model DIR, or Codec.load), or install a vqcodec that has it (vqcodec models)"
    )


def absent(identity: bytes) -> str:
    """What is known of a model that is not installed, in a few words."""
    row = _elsewhere("id", identity.hex())
    return f"{row['name']} of {row['distribution']}, not installed" if row else "not installed"


def folder_of(name: str) -> Path:
    """Where the files of a shipped model are. Raises UnknownModelError."""
    return _package(find(name).package) / name


def realism_file(name: str) -> Path | None:
    """Where the second decoder of a shipped model is. Raises UnknownModelError."""
    entry = find(name)
    if entry.realism is None:
        return None
    return _package(entry.package) / entry.realism.folder / f"{REALISM}.safetensors"


def card(name: str) -> dict[str, str]:
    """The facts of a shipped model: name and value of the rows of its card's two-column tables,
    such as `licence`, `data` and `decoders`. Empty without a card."""
    path = folder_of(name) / "CARD.md"
    text = path.read_text("utf-8") if path.is_file() else ""
    return dict(_CARD_ROW.findall(text))


def _first(field: str, value: str | bytes) -> Entry | None:
    """The installed model that has this value, ours first: others cannot take its place."""
    return next((e for some in (own, entries) for e in some() if getattr(e, field) == value), None)


def _elsewhere(field: str, value: str) -> dict | None:
    """The row of a model that another distribution of ours has."""
    return next((row for row in _index(OWN).get("elsewhere", []) if row[field] == value), None)


def _how(row: dict) -> str:
    return f"pip install -U {row['distribution']} (in a clone of vqcodec: pip install ./archive)"


def _read(package: str) -> tuple[Entry, ...]:
    """The rows of models, each with the last second decoder that the index has for it."""
    index = _index(package)
    rows = index["models"]
    decoders = {
        row["name"]: Realism(row["name"], row["sha256"][REALISM])
        for row in rows
        if REALISM in row["sha256"]
    }
    for row in index.get(REALISM, []):
        decoders[row["model"]] = Realism(row["folder"], row["sha256"])
    return tuple(
        Entry(
            row["name"], bytes.fromhex(row["id"]), row["sha256"], package, decoders.get(row["name"])
        )
        for row in rows
    )


def _package(name: str) -> Path:
    """The folder of a package of data. Not by `importlib.resources`, whose import takes 5 ms.
    Raises ImportError."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"no package {name}")
    return Path(spec.submodule_search_locations[0])


def _index(package: str) -> dict:
    try:
        path = _package(package) / "index.json"
        if not path.is_file():
            return {"default": "", "models": []}
        return json.loads(path.read_text("utf-8"))
    except (ImportError, OSError, ValueError) as exc:
        raise ModelError(f"cannot read the index of the models of {package}: {exc}") from exc
