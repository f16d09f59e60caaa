"""Points that were measured before, in a JSON file a codec, so that a run goes on where it was."""

import json
import os
from pathlib import Path

from .figures import Figures
from .pictures import Picture, Point


class Cache:
    """The points of one codec.

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


def _key(quality: float) -> str:
    return f"{quality:g}"
