"""The index of the models that come with the package."""

import json
import os
from pathlib import Path, PurePath

import pytest

from vqcodec.errors import UnknownModelError
from vqcodec.zoo import shipped

ROWS = [
    {"name": "old", "id": "00" * 8, "sha256": {"prior": "aa"}},
    {"name": "new", "id": "01" * 8, "sha256": {"prior": "bb"}},
]


@pytest.fixture(autouse=True)
def fresh_cache():
    shipped.entries.cache_clear()
    yield
    shipped.entries.cache_clear()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of models with an index of two."""
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"default": "new", "models": ROWS}))
    return tmp_path


def test_models_are_found_by_name_and_by_id(index):
    assert shipped.default_name() == "new"
    assert shipped.find("old") == shipped.Entry("old", bytes(8), {"prior": "aa"})
    assert shipped.name_of(b"\1" * 8) == "new"
    assert shipped.folder_of("old") == index / "old"


def test_an_unknown_name_is_told_with_the_known_ones(index):
    with pytest.raises(UnknownModelError, match="'mine'; installed: old, new"):
        shipped.find("mine")


def test_an_unknown_id_is_told(index):
    with pytest.raises(UnknownModelError, match=r"needs model ffffffffffffffff.*--model DIR"):
        shipped.name_of(b"\xff" * 8)


def test_the_facts_of_a_card_are_its_rows_of_two(index):
    (index / "old").mkdir()
    rows = ["| | |", "|---|---|", "| licence | MIT |", "| data | 2, from | a | b |", "| a b | c |"]
    (index / "old" / "CARD.md").write_text("\n".join(rows))

    assert shipped.card("old") == {"licence": "MIT", "a b": "c"}
    assert shipped.card("new") == {}


def test_without_an_index_no_model_is_installed(index):
    (index / "index.json").unlink()

    assert shipped.entries() == ()
    with pytest.raises(UnknownModelError, match="no model is installed"):
        shipped.default_name()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("old", False),
        ("", False),
        ("./old", True),
        (f"old{os.sep}", True),
        (".", True),
        ("..", True),
        (Path("old"), True),
        (PurePath("old"), True),
    ],
)
def test_a_path_has_a_separator_or_is_one_by_its_type(given, expected):
    assert shipped.is_path(given) == expected


def test_a_folder_that_is_named_without_a_separator_is_told_how_to(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UnknownModelError, match=r"old, new; a folder is given as \./mine"):
        shipped.find("mine")
