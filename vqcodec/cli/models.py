"""`vqcodec models`: what is installed."""

import json

import click

from ..config import ModelConfig
from ..errors import ModelError
from ..zoo import shipped
from .streams import say


def _facts(entry: shipped.Entry) -> dict:
    folder = shipped.folder_of(entry.name)
    config = ModelConfig.from_json((folder / "config.json").read_text("utf-8"))
    card = shipped.card(entry.name)
    _check_decoders(entry, card.get("decoders", "none"))
    return {
        "name": entry.name,
        "id": entry.id.hex(),
        "default": entry.name == shipped.default_name(),
        "levels": config.transform.levels,
        "channels": config.transform.latents,
        "bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        "decoders": list(entry.decoders),
        "licence": card.get("licence", "unknown"),
        "data": card.get("data", "unknown"),
        "folder": str(folder),
    }


def _check_decoders(entry: shipped.Entry, card: str) -> None:
    """Raise ModelError unless the card and the folder have the decoders of the index."""
    path = shipped.realism_file(entry.name)
    is_there = path is not None and path.is_file()
    if card.split(", ") != list(entry.decoders) or is_there != (shipped.REALISM in entry.decoders):
        files = f"{shipped.REALISM}.safetensors is {'there' if is_there else 'not there'}"
        raise ModelError(
            f"model {entry.name}: decoders are {', '.join(entry.decoders)} in the index,"
            f" {card} in its card, and {files}"
        )


def _text(found: dict) -> str:
    default = " (default)" if found["default"] else ""
    return "\n".join(
        [
            f"{found['name']}{default}",
            f"  id        {found['id']}",
            f"  size      {found['bytes'] / 1e6:.1f} MB, {found['levels']} levels",
            f"  decoders  {', '.join(found['decoders'])}",
            f"  licence   {found['licence']}",
            f"  trained   on {found['data']}",
            f"  folder    {found['folder']}",
        ]
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model.")
def models(as_json: bool) -> None:
    """List the models that are installed.

    A file names its model by id, the first 8 bytes of a SHA-256 of the decoder. Licence and
    training data are as CARD.md in the model's folder has them; the card has figures, too.

    \b
    Examples:
      vqcodec models
      vqcodec models --json | jq .id
    """
    for entry in shipped.entries():
        found = _facts(entry)
        say(json.dumps(found) if as_json else _text(found))
