"""The training loop that both stages share: schedule by the clock, log, checkpoints, resuming.

With several processes each computes its own crops; the first one measures and writes.
"""

import json
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ..errors import InputError, ModelError
from ..image.atomic_write import write_atomically
from ..zoo.weights import Model
from . import cuda
from .data import build_cache
from .presets import RealismConfig, TrainConfig

LOG_STEPS = 50
CHECKPOINT = "checkpoint.pt"


class Runner(ABC):
    """One process of a run. What a step, a measurement and a model are, a subclass says."""

    stage: str  # of training, as `vqcodec train --stage` names it

    def __init__(self, config: TrainConfig | RealismConfig, data: list[Path], out: Path):
        """Join the other processes; make `out` and the cache of pictures in it."""
        self.config, self.out = config, out
        self.device = cuda.own_device()
        self.rank, self.world = _join_processes()
        out.mkdir(parents=True, exist_ok=True)
        if self.rank == 0:
            build_cache(data, out / "cache")
        if self.world > 1:
            dist.barrier()
        self.step, self.elapsed = 0, 0.0  # seconds, without those of saving
        self.mark = time.monotonic()  # up to when `elapsed` counts
        self.log: list[dict] = []
        self.stopping = False  # `run` ends after the step, in every process

    @abstractmethod
    def train_step(self) -> Any:
        """One step; calls `synchronise` or `share_clock` at least once. Returns what `log_row`
        takes a list of."""

    @abstractmethod
    def log_row(self, results: list[Any]) -> dict:
        """What to log of some steps."""

    @abstractmethod
    def measure(self) -> dict:
        """What to log of held-out pictures. Called by the first process alone."""

    @abstractmethod
    def state(self) -> dict:
        """All that a run needs to go on, of every process the same; step, time and log apart."""

    @abstractmethod
    def load_state(self, state: dict, process_state: dict | None) -> None:
        """Go on from what `state` and `process_state` gave. The latter is None if the number of
        processes has changed."""

    @abstractmethod
    def export(self, folder: Path) -> Model:
        """Write the model folder."""

    def process_state(self) -> dict:
        """What a run needs to go on that differs between the processes."""
        return {}

    def progress(self) -> float:
        """The part of the schedule that is over, 0..1."""
        return min(1.0, self.elapsed / (60 * self.config.minutes))

    def run(self) -> None:
        """Train to the end of the schedule, or until `stopping`, which Ctrl-C sets. Saves every
        few minutes and at the end."""
        with self._stopping_on_interrupt():
            saved, self.mark = self.elapsed, time.monotonic()
            results: list[Any] = []
            while self.progress() < 1 and not self.stopping:
                if self.elapsed - saved > 60 * self.config.save_minutes:
                    self.save()
                    saved, self.mark = self.elapsed, time.monotonic()
                results.append(self.train_step())
                self.step += 1
                if self.step % LOG_STEPS == 0:
                    if self.rank == 0:
                        self._record(self.log_row(results))
                    results = []
            self.save()

    @contextmanager
    def _stopping_on_interrupt(self) -> Iterator[None]:
        """Let the first Ctrl-C end the run after its step; the second one kills it."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears signals
            return

        def stop(number: int, frame: object) -> None:
            self.stopping = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def synchronise(self, params: list[Tensor], extra: list[Tensor]) -> list[Tensor]:
        """Average gradients over the processes; returns the sums of `extra`, float32 tensors.
        Moves the clock on."""
        self.share_clock()
        if self.world == 1 or not (params or extra):
            return extra
        return _average_gradients(params, extra)

    def share_clock(self) -> None:
        """Move the clock on, here alone, so that all processes have one time and stop at one step:
        one that went on would wait for the others for ever. Waits for no GPU."""
        now = time.monotonic()
        self.elapsed, self.mark = self.elapsed + now - self.mark, now
        if self.world > 1:
            clock = torch.tensor([self.elapsed, float(self.stopping)])
            dist.all_reduce(clock)
            self.elapsed, self.stopping = float(clock[0]) / self.world, bool(clock[1] > 0)

    def save(self) -> None:
        """Measure, then write the checkpoint and the log."""
        if state := self.process_state():
            _store(state, self.out / self._process_file())
        if self.rank:
            return
        self._record(self.measure())
        state = {"stage": self.stage, "step": self.step, "elapsed": self.elapsed, "log": self.log}
        _store(state | self.state(), self.out / CHECKPOINT)
        lines = "".join(json.dumps(row) + "\n" for row in self.log)
        write_atomically(self.out / "log.jsonl", lines.encode(), overwrite=True)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint. Raises what `read_checkpoint` does."""
        state = read_checkpoint(path, self.stage, self.device)
        state_path = path.with_name(self._process_file())
        process_state = _load(state_path, self.device) if state_path.exists() else None
        self.load_state(state, process_state)
        self.step, self.elapsed, self.log = state["step"], state["elapsed"], state["log"]

    def _process_file(self) -> str:
        return f"process-{self.rank}-of-{self.world}.pt"

    def _record(self, row: dict) -> None:
        row = {"step": self.step, "minutes": round(self.elapsed / 60, 2)} | row
        self.log.append(row)
        print(" ".join(f"{k} {_short(v)}" for k, v in row.items()), flush=True)


def _join_processes() -> tuple[int, int]:
    """(rank, world size); joins the others when started by torchrun."""
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda.is_there() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def finish_processes() -> None:
    """Wait for the others and leave them: one that just exits breaks what they still receive."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _average_gradients(params: list[Tensor], extra: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([t.flatten() for t in (*(p.grad for p in params), *extra)])
    dist.all_reduce(flat)
    parts = flat.split([t.numel() for t in (*params, *extra)])
    for p, part in zip(params, parts, strict=False):
        p.grad.copy_(part.view_as(p) / dist.get_world_size())
    return [part.view_as(t) for part, t in zip(parts[len(params) :], extra, strict=True)]


def _store(state: dict, path: Path) -> None:
    write_atomically(path, lambda file: torch.save(state, file), overwrite=True)


def read_checkpoint(path: Path, stage: str, device: torch.device | str = "cpu") -> dict:
    """What `Runner.save` wrote. Raises InputError if it cannot be read, ModelError if it is
    something else or of another stage."""
    if not path.is_file():
        raise InputError(f"there is no {path} to resume from")
    state = _load(path, device)
    if state.get("stage") != stage:
        raise ModelError(f"{path} is not a checkpoint of --stage {stage}")
    return state


def _load(path: Path, device: torch.device | str) -> dict:
    try:
        return dict(torch.load(path, device, weights_only=True))
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except Exception as exc:  # whatever torch.load meets in a damaged file
        raise ModelError(f"{path} is not a checkpoint of this program") from exc


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(_short(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
