"""`vqcodec models`: what is installed."""

import json

import click

from .. import shipped
from ..config import ModelConfig


def _facts(entry: shipped.Entry) -> dict:
    folder = shipped.folder_of(entry.name)
    config = ModelConfig.from_json((folder / "config.json").read_text("utf-8"))
    return {
        "name": entry.name,
        "id": entry.id.hex(),
        "default": entry.name == shipped.default_name(),
        "levels": config.transform.levels,
        "channels": config.transform.latents,
        "bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        "decoders": ["fidelity"],
        "folder": str(folder),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model.")
def models(as_json: bool) -> None:
    """List the models that are installed.

    Licence, training data and figures of each are in CARD.md of its folder.
    """
    for entry in shipped.entries():
        found = _facts(entry)
        if as_json:
            click.echo(json.dumps(found))
            continue
        default = " (default)" if found["default"] else ""
        click.echo(
            f"{found['name']}{default}: id {found['id']}, {found['levels']} levels,"
            f" {found['bytes'] / 1e6:.1f} MB, decoders: {', '.join(found['decoders'])}"
        )
        click.echo(f"  {found['folder']}")
