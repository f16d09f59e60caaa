"""A hook of mkdocs: pages outside docs/, links that are right on GitHub as well, and the help.

README.md is the first page. FORMAT.md, CONTRIBUTING.md, the models' texts and their figures are
pages under the paths that they have in the repository. A link may name any file of the repository,
relative to the text that it stands in or by its address: what is a page becomes a link to it, and
all else one to the repository. The help of all commands stands where a page says COMMANDS.
"""

import posixpath
import re
from pathlib import Path

import click
from mkdocs.structure.files import File

from vqcodec.cli import main

ROOT = Path(__file__).parents[1]
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", "models/MODELS.md", "vqcodec/FORMAT.md"]
FOLDERS = ["models", "archive"]
COMMANDS = "<!-- commands -->"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def outside() -> dict[str, str]:
    """Pages and pictures outside docs/: the path in the repository, and that in the site."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    found = [path for path in found if path.name == "CARD.md" or path.suffix == ".png"]
    names = [path.relative_to(ROOT).as_posix() for path in found if "golden" not in path.parts]
    return {"README.md": "index.md", **{name: name for name in [*PAGES, *names]}}


def on_files(files, config):
    for source, target in outside().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    """A section for each command and its own commands."""
    settings = {**main.context_settings, "terminal_width": 88, "max_content_width": 88}
    context = click.Context(command, parent, name, **settings)
    text = f"### {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n\n"
    inner = getattr(command, "commands", {})
    return text + "".join(helps(inner[key], key, context) for key in sorted(inner))


def on_page_markdown(markdown, page, config, files):
    homes = {target: source for source, target in outside().items()}
    here = posixpath.dirname(homes.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    there = posixpath.dirname(page.file.src_uri)
    repository = config.repo_url.rstrip("/")

    def resolve(match: re.Match) -> str:
        target = re.sub(rf"^{re.escape(repository)}/(?:blob|raw|tree)/main/", "/", match[1])
        if re.match(r"[a-z]+:", target):
            return target  # elsewhere
        path = posixpath.normpath(posixpath.join("/", here, target)).strip("/")
        uri = outside().get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(uri):
            return posixpath.relpath(uri, there or ".")
        return f"{repository}/blob/main/{path}"

    text = LINK.sub(resolve, markdown)
    return text.replace(COMMANDS, helps(main, "vqcodec")) if COMMANDS in text else text
