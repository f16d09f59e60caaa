"""Writing whole or not at all."""

import os
import stat

import pytest

from vqcodec.errors import OutputError
from vqcodec.image import atomic_write
from vqcodec.image.atomic_write import write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_functions_are_written(tmp_path):
    write_atomically(tmp_path / "a", b"bytes")
    write_atomically(str(tmp_path / "b"), lambda file: file.write(b"function"))

    assert (tmp_path / "a").read_bytes() == b"bytes"
    assert (tmp_path / "b").read_bytes() == b"function"
    assert names(tmp_path) == ["a", "b"]


def test_an_existing_file_is_kept_unless_overwrite_is_given(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="a exists already"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"

    write_atomically(target, b"new", overwrite=True)

    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_the_content_of_an_existing_target_is_not_even_computed(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OutputError):
        write_atomically(tmp_path / "a", lambda file: pytest.fail("called"))


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_lost(tmp_path, monkeypatch, links):
    target = tmp_path / "a"
    if not links:
        monkeypatch.setattr(atomic_write.os, "link", no_links)

    def content(file):
        target.write_bytes(b"theirs")
        file.write(b"ours")

    with pytest.raises(OutputError, match="exists already"):
        write_atomically(target, content)
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a"]


def no_links(source, target, **options):
    raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_write.os, "link", no_links)
    write_atomically(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("overwrite", [True, False])
def test_an_exception_leaves_the_folder_as_it_was(tmp_path, error, overwrite):
    target = tmp_path / "a"
    if overwrite:
        target.write_bytes(b"old")

    def content(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_atomically(target, content, overwrite)
    assert names(tmp_path) == (["a"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"old"


def test_a_full_disk_is_an_output_error(tmp_path):
    def content(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write .*a: No space left on device"):
        write_atomically(tmp_path / "a", content)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no/folder", "No such file or directory"), (".", "is a directory")],
)
def test_a_target_that_cannot_be_written_is_named_in_one_line(tmp_path, name, reason):
    with pytest.raises(OutputError, match=reason) as caught:
        write_atomically(tmp_path / name, b"", overwrite=True)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_the_users_default_or_the_targets(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    write_atomically(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode

    (tmp_path / "a").chmod(0o640)
    write_atomically(tmp_path / "a", b"new", overwrite=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="POSIX links and devices")
def test_links_stay_links_and_devices_stay_devices(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", b"new", overwrite=True)
    write_atomically(os.devnull, b"gone")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
