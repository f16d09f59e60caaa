"""Man pages of the commands, made from what `-h` shows: roff, as man(7) has it."""

import re
from collections.abc import Iterator
from inspect import cleandoc

import click

from .. import __version__

# A paragraph that starts so begins a section.
_HEADINGS = {
    "Examples:": "EXAMPLES",
    "Exit codes:": "EXIT STATUS",
    "Every option can be set in the environment": "ENVIRONMENT",
    "Completion of commands": "COMPLETION",
}
_SETTING = re.compile(r"(?<![\w-])--?\w[\w-]*")  # an option in a text
_SENTENCE_END = re.compile(r"\.(\s|$)")


def pages(group: click.Group, name: str) -> dict[str, str]:
    """The pages of a program and of all its commands, by file name: name.1, name-command.1."""
    ctx = click.Context(group, info_name=name, **group.context_settings)
    return {f"{title}.1": text for title, text in _pages(ctx)}


def _pages(ctx: click.Context) -> Iterator[tuple[str, str]]:
    command = ctx.command
    commands = command.commands if isinstance(command, click.Group) else {}
    title = _title(ctx)
    related = [_title(ctx.parent)] if ctx.parent else []
    related += [f"{title}-{name}" for name in commands]
    lines = [
        f'.TH "{title.upper()}" "1" "" "vqcodec {__version__}" "vqcodec manual"',
        *(".nh", ".ad l"),  # names of options are not to be broken
        *(".SH NAME", f"{_text(title)} \\- {_text(_summary(command))}"),
        *(".SH SYNOPSIS", f".B {_text(ctx.command_path)}"),
        _text(" ".join(command.collect_usage_pieces(ctx))),
        ".SH DESCRIPTION",
        *_paragraphs(command.help),
        ".SH OPTIONS",
        *_options(ctx),
        *_commands(commands),
        *_paragraphs(command.epilog),
        ".SH SEE ALSO",
        ", ".join(f"\\fB{_text(page)}\\fR(1)" for page in related),
    ]
    yield title, "\n".join(lines) + "\n"
    for name, child in commands.items():
        yield from _pages(click.Context(child, info_name=name, parent=ctx))


def _title(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _summary(command: click.Command) -> str:
    """The first sentence of the help, without its end."""
    return _SENTENCE_END.split(" ".join(command.help.split()), maxsplit=1)[0]


def _paragraphs(text: str | None) -> Iterator[str]:
    """Help as click has it: \\b before a paragraph keeps its lines."""
    for paragraph in re.split(r"\n\s*\n", cleandoc(text or "")):
        kept = paragraph.startswith("\b")
        lines = paragraph.removeprefix("\b\n").splitlines()
        heading = next(
            (h for start, h in _HEADINGS.items() if lines and lines[0].startswith(start)), None
        )
        if heading:
            yield f".SH {heading}"
            lines = lines[1:] if heading == "EXAMPLES" else lines
        else:
            yield ".PP"
        if kept:
            yield ".nf"
        yield from map(_text, lines)
        if kept:
            yield ".fi"


def _options(ctx: click.Context) -> Iterator[str]:
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record:
            yield ".TP"
            yield _SETTING.sub(lambda found: f"\\fB{found[0]}\\fR", record[0]).replace("-", "\\-")
            yield _text(record[1])


def _commands(commands: dict[str, click.Command]) -> Iterator[str]:
    if commands:
        yield ".SH COMMANDS"
    for name, command in commands.items():
        yield from (".TP", f"\\fB{_text(name)}\\fR", f"{_text(_summary(command))}.")


def _text(text: str) -> str:
    """A line of text, of which roff takes nothing for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
