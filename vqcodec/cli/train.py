"""`vqcodec train`: a thin wrapper of the training loop."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import DISTORTIONS, FACTORS, SIGMA_MAX, ModelConfig, TaskConfig
from ..errors import InputError, OutputError, VqcodecError
from . import options
from .console import say

if TYPE_CHECKING:
    from ..nn.model import Network
    from ..train.loop import Trainer
    from ..train.presets import TrainConfig
    from ..train.realism import RealismTrainer

STOPPED = 130  # exit code of a run that Ctrl-C ended: 128 + SIGINT, as shells have it


@click.command()
@click.option("--data", multiple=True, required=True, help="Folder or .tar of images; repeatable.")
@click.option("--out", required=True, help="Folder of the run: checkpoint, log, curves, model.")
@click.option(
    "--preset",
    type=click.Choice(["base", "fast", "small", "tiny", "control"]),
    default="base",
    show_default=True,
    help="base: the default model; fast: a quarter of its work; small: ten minutes, for --task;"
    " tiny: a minute's trial; control: fast with a scalar quantiser.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=options.finite,
    help="Length of the schedule, instead of the preset's.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Crops a step and process, instead of the preset's: fewer where a GPU's memory is short.",
)
@click.option("--init", metavar="NAME|DIR", help="Start from the networks of this model.")
@click.option(
    "--resize",
    "--grow",
    "resize",
    is_flag=True,
    help="With --init: train the preset's network, larger or smaller, from what fits of the model.",
)
@click.option(
    "--stage",
    type=click.Choice(["codec", "realism"]),
    default="codec",
    show_default=True,
    help="codec: all networks; realism: a second decoder for the files of the --init model.",
)
@click.option(
    "--perceptual",
    metavar="FILE",
    help="With --stage realism: weights of SqueezeNet 1.1, VGG16 or AlexNet, for LPIPS.",
)
@click.option(
    "--distortion",
    type=click.Choice(DISTORTIONS),
    help="mse: the squared error; eyes: that and structural similarity, for what looks alike at"
    " lower PSNR.  [default: what the --init model was trained for, else mse]",
)
@click.option(
    "--task",
    type=click.Choice(["denoise", "superres"]),
    help="Train a model for vqcodec restore: degraded crops in, clean ones out.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0, SIGMA_MAX, min_open=True),
    callback=options.finite,
    help="Of --task denoise: standard deviation of the noise, in 255 units.  [default: 25]",
)
@click.option(
    "--factor",
    type=click.Choice([str(factor) for factor in FACTORS]),
    help="Of --task superres: how much larger.  [default: 2]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT.")
@click.option("--export", metavar="DIR", help="Folder of the finished model.  [default: OUT/model]")
def train(
    data: tuple[str, ...],
    out: str,
    preset: str,
    minutes: float | None,
    batch: int | None,
    init: str | None,
    resize: bool,
    stage: str,
    perceptual: str | None,
    distortion: str | None,
    task: str | None,
    sigma: float | None,
    factor: str | None,
    resume: bool,
    export: str | None,
) -> None:
    """Train a model on your pictures.

    Writes a checkpoint every few minutes and the model, ready for --model, at the end. Ctrl-C
    stops after the current step and saves; --resume, with the same preset and minutes, goes on.
    A GPU is used where there is one, with larger steps.

    \b
    Examples:
      vqcodec train --data photos/ --out runs/a --preset tiny
      vqcodec train --data photos/ --out runs/b --init base-7 --minutes 60
      vqcodec train --data photos/ --out runs/b --resume --minutes 60
      vqcodec train --data photos/ --out runs/e --init base-7 --preset fast --resize
      vqcodec train --data photos/ --out runs/f --distortion eyes --minutes 60
      vqcodec train --data photos/ --out runs/d --preset small --task denoise --sigma 25
      torchrun --nproc-per-node 2 -m vqcodec train --data photos/ --out runs/c
      vqcodec train --data photos/ --out runs/f --stage realism --init base-7 --perceptual lpips.pth
    """
    _check_usage(stage, init, preset, resize, resume, perceptual)
    if init is not None:
        options.check_model(init)
    chosen = _task(task, sigma, factor)
    for option, value in (("task", chosen), ("distortion", distortion)):
        if value is not None and (resume or stage == "realism"):
            raise click.UsageError(
                f"--{option} starts a run of --stage codec, and --resume keeps its {option}"
            )
    folder = Path(export) if export else Path(out) / "model"
    _check_paths(data, folder, may_exist=export is None)
    from ..train.runner import finish_processes

    sources = [Path(path) for path in data]
    changes = {"minutes": minutes, "batch": batch}
    if stage == "realism":
        trainer = _realism_trainer(preset, changes, sources, Path(out), init, perceptual, resume)
    else:
        config = _config(preset, changes, chosen)
        trainer = _trainer(config, distortion, sources, Path(out), init, resize, resume)
    trainer.run()
    finish_processes()
    if trainer.stopping:
        if trainer.rank == 0:
            say(f"stopped and saved at {trainer.elapsed / 60:.1f} minutes; --resume goes on", True)
        click.get_current_context().exit(STOPPED)
    if trainer.rank == 0:
        model = trainer.export(folder)
        say(f"model {model.id.hex()} written to {folder}")


def _check_usage(
    stage: str, init: str | None, preset: str, resize: bool, resume: bool, perceptual: str | None
) -> None:
    if stage == "realism":
        if init is None:
            raise click.UsageError("--stage realism needs --init, the model that gets a decoder")
        if resize or preset in ("control", "fast", "small"):
            raise click.UsageError(
                "--stage realism trains a decoder alone: no --resize, base or tiny"
            )
        return
    if perceptual is not None:
        raise click.UsageError("--perceptual is of --stage realism")
    if init is not None and resume:
        raise click.UsageError("--init starts a run and --resume goes on with one: give either")
    if resize and init is None:
        raise click.UsageError("--resize needs --init, the model to start from")


def _check_paths(data: tuple[str, ...], folder: Path, may_exist: bool) -> None:
    """Find out before the training what would fail after it."""
    if find_spec("matplotlib") is None:
        raise VqcodecError("training needs matplotlib: pip install 'vqcodec[train]'")
    for path in data:
        if not Path(path).exists():
            raise InputError(f"there is no {path} to train on")
    if folder.exists() and (not folder.is_dir() or (not may_exist and any(folder.iterdir()))):
        raise OutputError(f"the folder {folder} exists already and is not empty")


def _task(task: str | None, sigma: float | None, factor: str | None) -> TaskConfig | None:
    """Raises click.UsageError for an option of another task."""
    if sigma is not None and task != "denoise":
        raise click.UsageError("--sigma needs --task denoise")
    if factor is not None and task != "superres":
        raise click.UsageError("--factor needs --task superres")
    if task == "denoise":
        return TaskConfig(sigma=25.0 if sigma is None else sigma)
    return TaskConfig(factor=int(factor or 2)) if task == "superres" else None


def _config(preset: str, changes: dict[str, Any], task: TaskConfig | None) -> "TrainConfig":
    from ..train import cuda
    from ..train.presets import PRESETS, for_gpu

    config = for_gpu(PRESETS[preset]()) if cuda.is_there() else PRESETS[preset]()
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, task=task))
    return _changed(config, changes)


def _changed(config: Any, changes: dict[str, Any]) -> Any:
    """A config with the changes that are not None."""
    return dataclasses.replace(config, **{k: v for k, v in changes.items() if v is not None})


def _trainer(
    config: "TrainConfig",
    distortion: str | None,
    data: list[Path],
    out: Path,
    init: str | None,
    resize: bool,
    resume: bool,
) -> "Trainer":
    from ..train import cuda, graph_trainer, loop
    from ..train.runner import CHECKPOINT, read_checkpoint

    network, before = None, None  # before: the config of the model that goes on
    if init is not None:
        network = _initial_network(init)
        before = network.config
    if network is not None and not resize:
        task = config.model.task or network.config.task
        network.config = dataclasses.replace(network.config, task=task)
        config = dataclasses.replace(config, model=network.config)
    if resume:
        before = ModelConfig.from_json(read_checkpoint(out / CHECKPOINT, "codec")["model"])
        config = dataclasses.replace(config, model=before)
    distortion = distortion or (before and before.distortion) or config.distortion
    config = dataclasses.replace(config, distortion=distortion)
    kind = graph_trainer.GraphTrainer if cuda.is_there() else loop.Trainer
    trainer = kind(config, data, out, network)
    if resume:
        trainer.resume(out / CHECKPOINT)
    return trainer


def _realism_trainer(
    preset: str,
    changes: dict[str, Any],
    data: list[Path],
    out: Path,
    init: str,
    perceptual: str | None,
    resume: bool,
) -> "RealismTrainer":
    from ..train import cuda, graph_realism, realism
    from ..train.presets import REALISM_PRESETS
    from ..train.runner import CHECKPOINT
    from ..zoo import shipped

    config = _changed(REALISM_PRESETS[preset], changes)
    source = Path(init) if shipped.is_path(init) else shipped.folder_of(init)
    weights = None if perceptual is None else Path(perceptual)
    on_gpu = cuda.is_there()
    kind = graph_realism.GraphRealismTrainer if on_gpu else realism.RealismTrainer
    trainer = kind(config, data, out, source, weights)
    if resume:
        trainer.resume(out / CHECKPOINT)
    return trainer


def _initial_network(model: str) -> "Network":
    """A trainable network of a model. Raises UnknownModelError, ModelError."""
    from ..engine.torch.network import build
    from ..zoo import shipped, weights

    load = weights.load_folder if shipped.is_path(model) else weights.load_shipped
    network = build(load(Path(model) if shipped.is_path(model) else model))
    network.fixed_tables = None  # they follow from the gains, which are trained on
    network.prior.freeze(False)
    network.codebooks.freeze(False)
    return network.train().requires_grad_(True)
