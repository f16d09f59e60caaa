"""`vqcodec help` and `vqcodec version`, commands beside the options of these names."""

import platform
from importlib import metadata

import click

from .. import __version__
from .streams import say

PARTS = "numpy", "pillow", "constriction", "onnxruntime", "torch"


@click.command("help")
@click.argument("names", metavar="[COMMAND]", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Explain a command, as its -h does.

    \b
    Examples:
      vqcodec help
      vqcodec help encode
      vqcodec help desktop install
    """
    found = ctx.parent
    for name in names:
        if not isinstance(found.command, click.Group):
            raise click.UsageError(f"{found.command_path} has no commands", found)
        name, command, _ = found.command.resolve_command(found, [name])
        found = click.Context(command, info_name=name, parent=found)
    say(found.get_help())


@click.command()
def version() -> None:
    """Print the version, and those of what it works with.

    \b
    Examples:
      vqcodec version
      vqcodec --version
    """
    say(f"vqcodec {__version__}")
    say(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PARTS:
        try:
            say(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            say(f"{name} is not installed")
