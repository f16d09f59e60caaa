"""What was measured before: points by codec, picture and quality, and figures by pixels, so that a
run goes on where it was, and pixels that were seen before are not measured again."""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from .figures import Figures
from .pictures import Picture, Point

PIXELS = "figures.jsonl"


class Cache:
    """The points of one codec, in a JSON file.

    description: all that decides about its files; what was measured with another is forgotten.
    """

    def __init__(self, path: Path, description: str):
        self._path, self._description = path, description
        # rows: by the digest of the picture, then by quality
        self._rows: dict[str, dict[str, dict]] = {}
        if path.exists():
            content = json.loads(path.read_text("utf-8"))
            if content.get("description") == description:
                self._rows = content.get("rows", {})

    def find(self, picture: Picture, quality: float, figures: Figures) -> Point | None:
        """The point, if all its figures are known."""
        row = self._rows.get(picture.digest, {}).get(_key(quality))
        if row is None or not row.keys() >= set(figures.keys.values()):
            return None
        values = {name: row[key] for name, key in figures.keys.items()}
        return Point(picture.name, quality, row["size"], row["pixels"], **values)

    def add(self, picture: Picture, points: list[Point], figures: Figures) -> None:
        """Keep points of a picture, in the file as well."""
        rows = self._rows.setdefault(picture.digest, {})
        for point in points:
            known = {key: getattr(point, name) for name, key in figures.keys.items()}
            row = {"size": point.size, "pixels": point.pixels, **known}
            rows[_key(point.quality)] = rows.get(_key(point.quality), {}) | row
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"description": self._description, "rows": self._rows})
        new = self._path.with_suffix(".new")
        new.write_text(text, "utf-8")
        os.replace(new, self._path)


class Measured:
    """Figures by the pixels of both pictures, in a file to which several processes add lines.

    Each process knows what was there when it first read the file, and what it added itself.
    """

    def __init__(self, path: Path):
        self._path = path
        self._known: dict[str, dict[str, float]] = {}
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                entry = json.loads(line)
                self._known.setdefault(entry.pop("pixels"), {}).update(entry)

    def measure(
        self, picture: Picture, before: np.ndarray, after: np.ndarray, figures: Figures
    ) -> dict[str, float]:
        """The figures by name. picture: the one whose pixels `before` are."""
        pixels = f"{picture.digest} {hashlib.sha256(after.tobytes()).hexdigest()[:16]}"
        known = self._known.setdefault(pixels, {})
        left = figures.without(known)
        if left.measures:
            found = left.measure(before, after)
            known |= {key: found[name] for name, key in left.keys.items()}
            self._append({"pixels": pixels, **known})
        return {name: known[key] for name, key in figures.keys.items()}

    def _append(self, entry: dict) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(entry) + "\n").encode()
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line)  # as a whole: short lines of several processes do not mix
        finally:
            os.close(file)


@lru_cache
def measured_in(folder: Path) -> Measured:
    """The process's record of the figures of a folder of caches."""
    return Measured(folder / PIXELS)


def _key(quality: float) -> str:
    return f"{quality:g}"
