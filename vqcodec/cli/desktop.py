"""`vqcodec desktop`: what freedesktop.org's desktops and shells need to know of .vqc files."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from shutil import which

import click
from click.shell_completion import get_completion_class

from ..errors import OutputError, VqcodecError
from ..image.atomic_write import write_atomically
from . import man
from .console import shown
from .streams import say

DATA = Path(__file__).parents[1] / "desktop"
LIST = "vqcodec/installed.json"  # of the files: path below the folder -> SHA-256
MAGIC = "vqcodec/vqcodec.magic"
COMPLETIONS = {
    "bash": "bash-completion/completions/vqcodec",
    "fish": "fish/vendor_completions.d/vqcodec.fish",
}
_PLAIN = re.compile(r"[\w@+=:,./-]+")  # what Exec takes without quotes


def _folder() -> Path:
    """The user's folder of data, of the XDG Base Directory specification."""
    if sys.platform in ("win32", "darwin"):
        raise VqcodecError("desktop is for freedesktop.org's desktops, those of Linux and BSD")
    given = os.environ.get("XDG_DATA_HOME", "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share"


def _program() -> list[str]:
    """How this very vqcodec is called, from anywhere."""
    script = Path(sys.executable).with_name("vqcodec")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "vqcodec"]


def _quoted(word: str) -> str:
    """A word of Exec, by the Desktop Entry specification."""
    if not _PLAIN.fullmatch(word):
        word = '"' + re.sub(r'(["`$\\])', r"\\\1", word).replace("\\", "\\\\") + '"'
    return word.replace("%", "%%")


def _thumbnailer() -> str:
    program = _program()
    text = (DATA / "vqcodec.thumbnailer").read_text("utf-8")
    text = text.replace("TryExec=vqcodec\n", f"TryExec={program[0]}\n")
    return text.replace("Exec=vqcodec ", f"Exec={' '.join(map(_quoted, program))} ")


def _completion(main: click.Group, shell: str) -> str:
    return get_completion_class(shell)(main, {}, "vqcodec", "_VQCODEC_COMPLETE").source()


def _files(main: click.Group) -> dict[str, bytes]:
    """All that is to be written, by its path below the folder."""
    texts = {
        "mime/packages/vqcodec.xml": (DATA / "vqcodec.xml").read_text("utf-8"),
        "thumbnailers/vqcodec.thumbnailer": _thumbnailer(),
        MAGIC: (DATA / "vqcodec.magic").read_text("utf-8"),
        **{f"man/man1/{name}": text for name, text in man.pages(main, "vqcodec").items()},
        **{COMPLETIONS[shell]: _completion(main, shell) for shell in filter(which, COMPLETIONS)},
    }
    return {path: os.fsencode(text) for path, text in texts.items()}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _written(folder: Path) -> dict[str, str]:
    """The files that `install` wrote, with their hashes. Raises VqcodecError for a list that is
    none."""
    try:
        found = json.loads((folder / LIST).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise VqcodecError(f"{shown(str(folder / LIST))} cannot be read: {exc}") from exc
    inside = isinstance(found, dict) and all(
        isinstance(value, str) and not PurePosixPath(path).is_absolute() and ".." not in path
        for path, value in found.items()
    )
    if not inside:
        raise VqcodecError(f"{shown(str(folder / LIST))} is not a list of files and their hashes")
    return found


def _content(path: Path) -> bytes | None:
    """What is in a file; None: it is not there. Raises OutputError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise OutputError(f"{shown(str(path))} cannot be read: {exc.strerror}") from exc


def _check_ours(folder: Path, files: dict[str, bytes], before: dict[str, str]) -> None:
    """Raises OutputError for a file in the way that `install` did not write."""
    for path, data in files.items():
        found = _content(folder / path)
        if found not in (None, data) and _hash(found) != before.get(path):
            raise OutputError(f"{shown(str(folder / path))} is not of vqcodec: move it away")


def _remove(folder: Path, files: dict[str, str]) -> None:
    """Remove those that are as `install` wrote them."""
    for path, digest in files.items():
        target = folder / path
        found = _content(target)
        if found is None:
            continue
        if _hash(found) != digest:
            say(f"kept {shown(str(target))}: it was changed since")
            continue
        try:
            target.unlink()
        except OSError as exc:
            raise OutputError(f"{shown(str(target))} cannot be removed: {exc.strerror}") from exc
        say(f"removed {shown(str(target))}")


def _update_types(folder: Path) -> None:
    """Have shared-mime-info read the packages anew."""
    mime = folder / "mime"
    program = which("update-mime-database")
    if program is None:
        say(f"then run update-mime-database {shown(str(mime))}, of the package shared-mime-info")
        return
    done = subprocess.run([program, mime], capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise VqcodecError(f"update-mime-database failed: {reason}")
    say(f"updated {shown(str(mime))}")


@click.group()
def desktop() -> None:
    """Tell the desktop of .vqc files, or undo that.

    For freedesktop.org's desktops (Linux, BSD) and for the user's own folders: below
    $XDG_DATA_HOME, by default ~/.local/share.

    \b
    Examples:
      vqcodec desktop install
      vqcodec desktop uninstall
    """


@desktop.command()
@click.pass_context
def install(ctx: click.Context) -> None:
    """Write media type, thumbnailer, man pages and completion.

    File managers then know .vqc files as pictures, of the type image/x-vqc, and show thumbnails;
    man vqcodec, and Tab in bash and fish, work in new shells. Writes no file that is there already
    and of another origin; a second time renews what it wrote. GNOME runs thumbnailers where only
    /usr is visible: there vqcodec has to be installed below /usr, such as in /usr/local.

    \b
    Examples:
      vqcodec desktop install
      sudo XDG_DATA_HOME=/usr/local/share vqcodec desktop install   # for all users
    """
    folder = _folder()
    files, before = _files(ctx.find_root().command), _written(folder)
    _check_ours(folder, files, before)
    _remove(folder, {path: digest for path, digest in before.items() if path not in files})
    files[LIST] = json.dumps({p: _hash(data) for p, data in files.items()}, indent=1).encode()
    for path, data in files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"cannot make {shown(str(target.parent))}: {exc.strerror}") from exc
        write_atomically(target, data, overwrite=True)
        say(f"wrote {shown(str(target))}")
    _update_types(folder)
    say(f"file(1) knows .vqc files by file -m {shown(str(folder / MAGIC))} FILE")
    if not _program()[0].startswith("/usr/"):
        say(f"GNOME's thumbnails need a vqcodec below /usr, and this is {shown(_program()[0])}")


@desktop.command()
def uninstall() -> None:
    """Remove what vqcodec desktop install wrote.

    Files that were changed since are kept, and named.

    \b
    Examples:
      vqcodec desktop uninstall
    """
    folder = _folder()
    files = _written(folder)
    if not files:
        say(f"nothing to remove in {shown(str(folder))}")
        return
    _remove(folder, files)
    (folder / LIST).unlink()
    if not any((folder / LIST).parent.iterdir()):
        (folder / LIST).parent.rmdir()
    if (folder / "mime" / "packages").is_dir():
        _update_types(folder)
