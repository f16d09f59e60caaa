"""The desktop: media type, thumbnails, man pages, and `vqcodec desktop` in the user's folders."""

import configparser
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import smooth_picture
from vqcodec import pillow_plugin
from vqcodec.bitstream import container
from vqcodec.cli import main, man
from vqcodec.cli.desktop import DATA, _quoted
from vqcodec.image import colour_profile
from vqcodec.metrics import psnr

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "valid"
P3 = colour_profile.of_codes(12, 13)  # Display P3
SPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"


def call(*args: object, data: bytes | None = None):
    result = CliRunner().invoke(main, [str(arg) for arg in args], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The user's folder of data, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def files_of_ours(folder: Path) -> set[str]:
    """What is there, without what update-mime-database makes of the packages."""
    return {p for p in contents(folder) if not p.startswith("mime/") or "/packages/" in p}


# vqcodec desktop


def test_install_twice_writes_the_same_and_uninstall_takes_it_all_away(home):
    first = call("desktop", "install")
    before = contents(home)
    again = call("desktop", "install")

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert contents(home).keys() == before.keys()
    written = {line.removeprefix("wrote ") for line in first.stdout.splitlines() if "wrote" in line}
    assert written == {str(home / path) for path in files_of_ours(home)}
    assert {"mime/packages/vqcodec.xml", "man/man1/vqcodec-encode.1"} <= before.keys()
    (home / "thumbnailers" / "another.thumbnailer").write_text("[Thumbnailer Entry]")

    removed = call("desktop", "uninstall")

    assert removed.exit_code == 0
    assert files_of_ours(home) == {"thumbnailers/another.thumbnailer"}
    assert not (home / "mime" / "image").exists() or not any((home / "mime" / "image").iterdir())
    assert "nothing to remove" in call("desktop", "uninstall").stdout


def test_what_others_wrote_is_neither_overwritten_nor_removed(home):
    theirs = home / "thumbnailers" / "vqcodec.thumbnailer"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Thumbnailer Entry]\nExec=another %i %o\n")
    refused = call("desktop", "install")

    assert refused.exit_code == 7
    assert f"{theirs} is not of vqcodec: move it away" in refused.stderr
    assert set(contents(home)) == {"thumbnailers/vqcodec.thumbnailer"}

    theirs.unlink()
    assert call("desktop", "install").exit_code == 0
    theirs.write_text("[Thumbnailer Entry]\nExec=nice vqcodec thumbnail %i %o\n")
    removed = call("desktop", "uninstall")

    assert f"kept {theirs}: it was changed since" in removed.stdout
    assert files_of_ours(home) == {"thumbnailers/vqcodec.thumbnailer"}


def test_install_removes_what_an_older_version_wrote_and_this_one_does_not(home, monkeypatch):
    monkeypatch.setitem(main.commands, "former", main.commands["version"])
    call("desktop", "install")
    assert (home / "man/man1/vqcodec-former.1").is_file()
    monkeypatch.delitem(main.commands, "former")

    assert "removed" in call("desktop", "install").stdout
    assert not (home / "man/man1/vqcodec-former.1").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"../photo.vqc": "0"}', '{"/etc/passwd": "0"}'])
def test_a_list_of_files_that_is_none_removes_nothing(home, text):
    (home / "vqcodec").mkdir(parents=True)
    (home / "vqcodec" / "installed.json").write_text(text)
    (home.parent / "photo.vqc").write_bytes(b"")
    found = call("desktop", "uninstall")

    assert found.exit_code == 1
    assert found.stderr.count("\n") == 1
    assert (home.parent / "photo.vqc").exists()


def test_elsewhere_than_on_freedesktop_it_says_so_in_a_line(home, monkeypatch):
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        found = call("desktop", "install")
        assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
        assert "Linux and BSD" in found.stderr


def test_a_relative_folder_of_data_is_ignored_as_the_specification_wants(home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", str(home.parent / "me"))
    call("desktop", "install")

    assert (home.parent / "me/.local/share/mime/packages/vqcodec.xml").is_file()


# The media type


def test_xml_magic_thumbnailer_and_plugin_agree_on_type_and_bytes():
    root = ElementTree.parse(DATA / "vqcodec.xml").getroot()
    magic = (DATA / "vqcodec.magic").read_text("utf-8")
    lines = [line for line in magic.splitlines() if not line.startswith("#")]
    (match,) = root.iter(f"{SPACE}match")
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(DATA / "vqcodec.thumbnailer")

    assert root.find(f"{SPACE}mime-type").get("type") == pillow_plugin.MIME
    assert root.find(f".//{SPACE}glob").get("pattern") == f"*{pillow_plugin.EXTENSION}"
    written = match.get("value").encode("latin1").decode("unicode_escape").encode("latin1")
    assert written == container.MAGIC
    assert len(lines) == 4
    assert lines[0].split("\t")[2] == match.get("value")
    assert lines[1] == f"!:mime\t{pillow_plugin.MIME}"
    assert entry["Thumbnailer Entry"]["MimeType"] == f"{pillow_plugin.MIME};"


def test_python_knows_the_type_once_the_plugin_is_imported():
    code = (
        "import mimetypes, vqcodec.pillow_plugin as p;"
        "assert mimetypes.guess_type('a/photo.vqc') == (p.MIME, None);"
        "assert mimetypes.guess_extension(p.MIME) == '.vqc'"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_xdg_mime_and_file_know_the_type(home):
    for program in ("xdg-mime", "mimetype", "file", "update-mime-database"):
        needs(program)
    call("desktop", "install")
    source = next(GOLDEN.glob("*.vqc"))
    for name in ("photo.vqc", "without"):
        shutil.copy(source, name)
    ask = ["xdg-mime", "query", "filetype", "photo.vqc"]
    magic = ["file", "--mime-type", "-b", "-m", home / "vqcodec" / "vqcodec.magic", "without"]

    for command in (ask, magic):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout.strip() == pillow_plugin.MIME, done


# Thumbnails


@pytest.fixture
def photo(tmp_path, monkeypatch, codec) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my photo.vqc"
    path.write_bytes(codec.encode(smooth_picture(300, 420)))
    return path


@pytest.fixture
def thumbnail(model_folder):
    return lambda *args, **how: call("thumbnail", *args, "--model", model_folder, **how)


def test_a_thumbnail_is_the_picture_in_its_size_and_names_its_file(photo, thumbnail, codec):
    whole = codec.decode(photo)
    for size, expected in ((128, (128, 91)), (32, (32, 23)), (52, (52, 37)), (1024, (420, 300))):
        done = thumbnail(photo.name, "out.png", "--size", size)
        assert (done.exit_code, done.output) == (0, "")
        with Image.open("out.png") as image:
            reference = whole.resize(image.size, Image.Resampling.LANCZOS)
            assert (image.format, image.size) == ("PNG", expected)
            # The tests' model is untrained: its quick decode is only near the whole one.
            assert psnr(np.asarray(image), np.asarray(reference)) > (20 if size < 64 else 35)
            assert image.text["Thumb::URI"] == photo.as_uri()
            assert image.text["Thumb::MTime"] == str(int(photo.stat().st_mtime))
            assert image.text["Thumb::Image::Width"] == "420"


def test_alpha_stays_and_colours_become_srgb(tmp_path, monkeypatch, codec, thumbnail):
    monkeypatch.chdir(tmp_path)
    grey_and_red = np.full((64, 64, 4), (128, 128, 128, 90), np.uint8)
    grey_and_red[32:, :, :3] = 180, 90, 90
    image = Image.fromarray(grey_and_red)
    image.info["icc_profile"] = colour_profile.profile_of(P3, grey=False)
    Path("a.vqc").write_bytes(codec.encode(image))
    before = np.asarray(codec.decode("a.vqc")).astype(int)
    thumbnail("a.vqc", "a.png")

    with Image.open("a.png") as image:
        found = np.asarray(image).astype(int)
        assert "icc_profile" not in image.info
    assert np.unique(found[..., 3]).tolist() == [90]
    grey, red = (slice(8, 24), slice(8, 56)), (slice(40, 56), slice(8, 56))
    assert abs((found[grey] - before[grey]).mean((0, 1))).max() <= 2
    # The red of P3 is further out than that of sRGB: the same light takes more red, less green.
    change = (found[red] - before[red]).mean((0, 1))
    assert change[0] > 5
    assert change[1] < -2


def test_a_file_that_the_caller_holds_open_gets_the_thumbnail(photo, thumbnail):
    """Xfce's thumbnailer reads its temporary file by the descriptor that made it."""
    with open("waiting.png", "w+b") as waiting:
        thumbnail(photo.name, "waiting.png")
        with Image.open(waiting) as image:
            assert image.size == (256, 183)


def test_stdin_and_stdout_may_be_the_ends(photo, thumbnail):
    done = thumbnail("-", "-", data=photo.read_bytes())

    with Image.open(io.BytesIO(done.stdout_bytes)) as image:
        assert image.size == (256, 183)
        assert "Thumb::URI" not in image.text


def test_a_thumbnail_of_what_is_none_fails_in_a_line_and_leaves_no_file(photo, thumbnail):
    data = photo.read_bytes()
    Path("cut.vqc").write_bytes(data[:-9])
    Path("text.vqc").write_text("not a picture")
    Path("kept.png").write_bytes(b"kept")
    for name, code in (("cut.vqc", 4), ("text.vqc", 3), ("missing.vqc", 3)):
        for out in ("new.png", "kept.png"):
            done = thumbnail(name, out)
            assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert thumbnail(photo.name, "none/new.png").exit_code == 7
    assert not Path("new.png").exists()
    assert Path("kept.png").read_bytes() == b"kept"


def test_the_installed_entry_runs_as_a_file_manager_runs_it(home, tmp_path):
    call("desktop", "install")
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(home / "thumbnailers" / "vqcodec.thumbnailer")
    entry = entry["Thumbnailer Entry"]
    source, out = next(GOLDEN.glob("*.vqc")), tmp_path / "out file.png"
    values = {"%i": str(source), "%o": str(out), "%s": "128"}
    command = [values.get(word, word.replace("%%", "%")) for word in shlex.split(entry["Exec"])]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, env=environment, cwd="/")

    assert Path(entry["TryExec"]).is_absolute()
    assert os.access(entry["TryExec"], os.X_OK)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with Image.open(out) as image:
        assert max(image.size) <= 128


def test_words_of_exec_come_back_from_their_quotes():
    """First a reader of the key file takes backslashes away, then one of the line does."""
    for word in ("/opt/my env/bin/vqcodec", '/a"b$c`d\\e', "/usr/bin/python3.11"):
        line = re.sub(r"\\(.)", r"\1", _quoted(word))
        quoted = re.fullmatch('"(.*)"', line)
        assert (re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else line) == word
    assert _quoted("100%") == '"100%%"'


# Man pages, help and version


def test_every_command_has_a_man_page_with_its_options_and_examples():
    pages = man.pages(main, "vqcodec")
    names = {f"vqcodec-{name}.1" for name in main.commands}

    assert names | {"vqcodec.1", "vqcodec-desktop-install.1"} <= pages.keys()
    assert "\\fB\\-\\-quality\\fR" in pages["vqcodec-encode.1"]
    assert "EXIT STATUS" in pages["vqcodec.1"]
    assert all(".SH EXAMPLES" in pages[name] for name in names)
    for page in pages.values():
        assert not [line for line in page.splitlines() if line.startswith("'") or "\b" in line]


def test_man_pages_are_roff_without_a_warning():
    needs("groff")
    for name, page in man.pages(main, "vqcodec").items():
        command = ["groff", "-man", "-Tascii", "-ww"]
        done = subprocess.run(command, input=page, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name
        assert name.removesuffix(".1") in done.stdout


def test_help_says_what_the_commands_help_option_says():
    for words in ([], ["encode"], ["desktop", "install"]):
        assert call("help", *words).stdout == call(*words, "-h").stdout
    wrong = call("help", "encod")
    assert wrong.exit_code == 2
    assert "encode" in wrong.stderr
    assert call("help", "encode", "more").exit_code == 2


def test_version_is_that_of_the_option_and_names_the_engines():
    found = call("version").stdout

    assert found.startswith(call("--version").stdout)
    assert "onnxruntime " in found


def test_a_file_in_the_place_of_a_command_is_told_what_to_do(photo):
    Path("a.png").write_bytes(b"")
    for name, verb in (("a.png", "encode"), (photo.name, "decode")):
        found = call(name)
        assert found.exit_code == 2
        assert f"vqcodec {verb} {name}\n" in found.stderr


def test_a_misspelt_command_or_option_is_told_the_near_ones():
    for words, meant in ((["encod", "a"], "encode"), (["decode", "a", "--scal", "1"], "--scale")):
        found = call(*words)
        assert found.exit_code == 2
        assert meant in found.stderr.split("Did you mean")[1]


def test_commands_are_imported_when_they_are_called():
    code = "import sys; from vqcodec.cli import main; main(['--version'], standalone_mode=False);"
    code += "sys.exit(bool({'numpy', 'PIL', 'tqdm'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert all(command.name == name for name, command in main.commands.items())
    assert call("-h").exit_code == 0
