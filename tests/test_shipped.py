"""The index of the models that come with the package."""

import json
import os
from importlib import metadata
from pathlib import Path, PurePath

import pytest

from vqcodec.errors import ModelError, UnknownModelError
from vqcodec.zoo import shipped

ROWS = [
    {"name": "old", "id": "00" * 8, "sha256": {"prior": "aa"}},
    {"name": "new", "id": "01" * 8, "sha256": {"prior": "bb"}},
]


ELSEWHERE = [{"name": "older", "id": "02" * 8, "distribution": "vqcodec-archive"}]


@pytest.fixture(autouse=True)
def fresh_cache():
    forget()
    yield
    forget()


def forget() -> None:
    shipped.own.cache_clear()
    shipped.entries.cache_clear()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of models with an index of two, and no other distribution."""
    monkeypatch.setattr(shipped, "_package", lambda package: tmp_path)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [])
    found = {"default": "new", "models": ROWS, "elsewhere": ELSEWHERE}
    (tmp_path / "index.json").write_text(json.dumps(found))
    return tmp_path


@pytest.fixture
def other(index, tmp_path, monkeypatch):
    """Another distribution, with the older model and one that takes the name and id of ours."""
    folder = tmp_path / "other"
    folder.mkdir()
    rows = [{"name": "older", "id": "02" * 8, "sha256": {}}, ROWS[0] | {"sha256": {"prior": "x"}}]
    (folder / "index.json").write_text(json.dumps({"models": rows}))
    point = metadata.EntryPoint("archive", "some_package", "vqcodec.models")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] * (group == point.group))
    folders = {"vqcodec.models": index, "some_package": folder}
    monkeypatch.setattr(shipped, "_package", folders.__getitem__)
    return folder


def test_models_are_found_by_name_and_by_id(index):
    assert shipped.default_name() == "new"
    assert shipped.find("old") == shipped.Entry("old", bytes(8), {"prior": "aa"})
    assert shipped.name_of(b"\1" * 8) == "new"
    assert shipped.folder_of("old") == index / "old"


def test_a_model_takes_the_second_decoder_that_was_trained_last(index):
    """What shipped before stays in the index, and in its folder."""
    path = index / "index.json"
    found = json.loads(path.read_text())
    found["models"][0]["sha256"]["realism"] = "cc"
    path.write_text(json.dumps(found))
    first = shipped.Realism("old", "cc")
    assert [entry.realism for entry in shipped.entries()] == [first, None]
    assert shipped.realism_file("old") == index / "old" / "realism.safetensors"
    assert shipped.realism_file("new") is None

    rows = [("old", "old-realism-2", "dd"), ("new", "new-realism-2", "ee"), ("old", "third", "ff")]
    found["realism"] = [dict(zip(("model", "folder", "sha256"), row, strict=True)) for row in rows]
    path.write_text(json.dumps(found))
    forget()
    expected = [shipped.Realism("third", "ff"), shipped.Realism("new-realism-2", "ee")]
    assert [entry.realism for entry in shipped.entries()] == expected
    assert all(entry.decoders == ("fidelity", "realism") for entry in shipped.entries())
    assert shipped.realism_file("old") == index / "third" / "realism.safetensors"
    assert shipped.folder_of("old") == index / "old"


def test_an_unknown_name_is_told_with_the_known_ones(index):
    with pytest.raises(UnknownModelError, match="'mine'; installed: old, new"):
        shipped.find("mine")


def test_models_of_another_distribution_are_found_behind_ours(other):
    assert shipped.folder_of("older") == other / "older"
    assert shipped.name_of(b"\2" * 8) == "older"
    assert shipped.find("old").sha256 == {"prior": "aa"}
    assert shipped.entry_of(bytes(8)).package == shipped.OWN
    assert [entry.name for entry in shipped.entries()] == ["old", "new", "older"]


def test_a_model_of_the_archive_is_told_with_the_command_that_installs_it(index):
    with pytest.raises(UnknownModelError, match="model older is not installed: pip install"):
        shipped.find("older")
    with pytest.raises(UnknownModelError, match=r"needs model older, .*: pip install -U vqcodec-a"):
        shipped.entry_of(b"\2" * 8)
    assert shipped.absent(b"\2" * 8) == "older of vqcodec-archive, not installed"
    assert shipped.absent(b"\3" * 8) == "not installed"


def test_our_models_are_found_without_a_look_at_other_distributions(other, monkeypatch):
    monkeypatch.setattr(metadata, "entry_points", None)

    assert shipped.find("new").name == shipped.name_of(b"\1" * 8) == "new"


def test_an_index_that_cannot_be_read_is_told(other):
    (other / "index.json").write_text("{")

    with pytest.raises(ModelError, match="of the models of some_package: "):
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
