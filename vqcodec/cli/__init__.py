"""The command line, `vqcodec COMMAND`: the only part of the package that prints.

A command plans and reports; the library does the work. A command is imported when it is called,
and torch inside those that need it: `--help`, `--version` and `info` start without.
"""

import atexit
import gc
import os

import click

from .. import __version__
from . import streams
from .console import Failures, shown
from .lazy import LazyCommands

COMMANDS = {
    "encode": "coding:encode",
    "decode": "coding:decode",
    "info": "info:info",
    "verify": "verify:verify",
    "tokens": "tokens:tokens",
    "train": "train:train",
    "restore": "restore:restore",
    "demo": "demo:demo",
    "compare": "compare:compare",
    "models": "models:models",
    "sample": "generate:sample",
    "inpaint": "generate:inpaint",
    "thumbnail": "thumbnail:thumbnail",
    "desktop": "desktop:desktop",
    "help": "about:show_help",
    "version": "about:version",
    "view": "view:view",
    "web": "view:web",
}

EXIT_CODES = """\b
Exit codes: 0 done, 2 wrong usage, 3 the input is not an image or not a .vqc file,
4 a damaged .vqc file, 5 a model that is missing or refused, 6 a picture above the
size limit, 7 the output cannot be written, 8 a target out of reach, 9 a file that
has no indices, 1 anything else. If several files fail, the rest is still done; the code
is theirs if they agree, else 1. What Ctrl-C stops ends with 130.

\b
Every option can be set in the environment, VQCODEC_COMMAND_OPTION:
VQCODEC_ENCODE_QUALITY=70 is -q 70. VQCODEC_DEVICE is the device of all commands, VQCODEC_REALISM
the realism of all that decode.

\b
Completion of commands and options with Tab, for bash; zsh and fish alike:
eval "$(_VQCODEC_COMPLETE=bash_source vqcodec)"
"""


class Commands(click.Group):
    """A group that ends with one line and an exit code where a command fails."""

    def main(self, *args: object, **options: object) -> object:
        """Run a command, as `click.Group.main` does."""
        # OpenMP reads it when torch is imported: its threads would spin, while they wait, on the
        # cores that other work needs. Worker processes inherit it; the user's word comes first.
        if "GOMP_SPINCOUNT" not in os.environ:
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # That of numpy's threads, which spin when they begin, for 2**4 cycles: 0.1 s of a core.
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
        atexit.register(gc.freeze)  # at the end Python would look through all objects: 30 ms
        with streams.complete():
            return super().main(*args, **options)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """The command of that name. Raises click.UsageError, which says what a file may be meant
        for, or which names are near."""
        name = args[0]
        if name not in self.commands and os.path.isfile(name):
            verb = "decode" if name.lower().endswith(".vqc") else "encode"
            raise click.UsageError(
                f"{shown(name)} is a file and no command: vqcodec {verb} {shown(name)}", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context):
        failures = Failures()
        with failures.of(None):
            return super().invoke(ctx)
        return ctx.exit(failures.exit_code())


@click.group(
    name="vqcodec",
    cls=Commands,
    commands=LazyCommands(COMMANDS),
    epilog=EXIT_CODES,
    context_settings={
        "auto_envvar_prefix": "VQCODEC",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def main() -> None:
    """Code images with a VQ-VAE: pictures to small .vqc files, and back.

    \b
    vqcodec encode photo.jpg               writes photo.vqc beside it
    vqcodec decode photo.vqc -o photo.png
    vqcodec COMMAND -h                     explains a command
    """
