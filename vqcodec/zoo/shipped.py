"""The index of shipped models, by name and by id, without loading one: models/index.json.

No torch here: `vqcodec info` names a file's model with this module alone.
"""

import json
import os
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from ..errors import UnknownModelError

REALISM = "realism"  # the part of a model that is its second decoder
_CARD_ROW = re.compile(r"^\| ([a-z][a-z ]*) \| ([^|]*) \|$", re.MULTILINE)


class Entry(NamedTuple):
    """A row of the index. sha256: of each part's file, in hex."""

    name: str
    id: bytes
    sha256: dict[str, str]

    @property
    def decoders(self) -> tuple[str, ...]:
        """Which decoders files of this model can be decoded with."""
        return ("fidelity", REALISM) if REALISM in self.sha256 else ("fidelity",)


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every shipped model, in the order of shipping."""
    return tuple(
        Entry(row["name"], bytes.fromhex(row["id"]), row["sha256"]) for row in _index()["models"]
    )


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
    if not entries():
        raise UnknownModelError("no model is installed; give the folder of one")
    return _index()["default"]


def find(name: str) -> Entry:
    """The shipped model of this name. Raises UnknownModelError."""
    for entry in entries():
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries()) or "none"
    beside = f"; a folder is given as ./{name}" if Path(name).is_dir() else ""
    raise UnknownModelError(f"no model or model folder named {name!r}; installed: {known}{beside}")


def name_of(identity: bytes) -> str:
    """The name of the shipped model with this id. Raises UnknownModelError."""
    return entry_of(identity).name


def entry_of(identity: bytes) -> Entry:
    """The shipped model with this id. Raises UnknownModelError."""
    for entry in entries():
        if entry.id == identity:
            return entry
    raise UnknownModelError(
        f"the file needs model {identity.hex()}, which is not installed: give the folder of it"
        " (--model DIR, or Codec.load), or install a vqcodec that has it (vqcodec models)"
    )


def folder_of(name: str) -> Path:
    """Where the files of a shipped model are."""
    return Path(str(resources.files("vqcodec.models").joinpath(name)))


def card(name: str) -> dict[str, str]:
    """The facts of a shipped model: name and value of the rows of its card's two-column tables,
    such as `licence`, `data` and `decoders`. Empty without a card."""
    path = folder_of(name) / "CARD.md"
    text = path.read_text("utf-8") if path.is_file() else ""
    return dict(_CARD_ROW.findall(text))


def _index() -> dict:
    path = resources.files("vqcodec.models").joinpath("index.json")
    if not path.is_file():
        return {"default": "", "models": []}
    return json.loads(path.read_text("utf-8"))
