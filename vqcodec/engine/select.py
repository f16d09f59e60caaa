"""Selection of the engine for a piece of work.

ONNX Runtime starts at once; torch takes seconds to import, and has GPUs."""

import os
import sys
from threading import RLock

from ..errors import MissingExtraError
from ..zoo.weights import Model
from .base import Engine
from .extras import has_torch

# Pixels from which on torch, where it is installed, is worth the seconds of its import.
LARGE = 2**22


class _Lock:
    """One engine is made at a time. A forked child has a new lock, which nobody holds."""

    def __init__(self):
        self.lock = RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = RLock()


LOADING = _Lock()


class Engines:
    """The engines of a model, each made when it is first needed. Safe to use in several threads."""

    def __init__(self, model: Model, device: str | None = None, precise: bool = False):
        """device: one of `extras.DEVICES`, or as torch names it; None: "auto". precise: as of
        `Codec.load`."""
        self.model, self.device, self.precise = model, device or "auto", precise
        self._made: dict[str, Engine] = {}

    def pick(self, pixels: int = 0, precise: bool = False) -> Engine:
        """The engine for a picture of so many pixels. precise: as of `Codec.load`, for this one.

        Raises MissingExtraError if what it takes is not installed; VqcodecError for a device that
        does not compute exactly.
        """
        if self._takes_torch(pixels):
            if not has_torch():
                raise MissingExtraError(
                    f"device {self.device} takes torch: pip install 'vqcodec[torch]'"
                )
            return self._engine("precise torch" if precise or self.precise else "torch")
        return self._engine("onnx")

    def _takes_torch(self, pixels: int) -> bool:
        if self.device == "onnx":
            return False
        if self.device not in ("auto", "cpu"):
            return True
        if self.device == "cpu" or not _has_onnx():
            return has_torch()
        return sys.modules.get("torch") is not None or (pixels >= LARGE and has_torch())

    def _engine(self, kind: str) -> Engine:
        with LOADING.lock:
            if kind not in self._made:
                self._made[kind] = self._make(kind)
            return self._made[kind]

    def _make(self, kind: str) -> Engine:
        if kind == "onnx":
            from .onnx.engine import OnnxEngine

            return OnnxEngine(self.model)
        from .torch.engine import TorchEngine

        return TorchEngine(self.model, self.device, precise=kind == "precise torch")


def _has_onnx() -> bool:
    """Whether ONNX Runtime is there and runs here: what is installed may still not load."""
    try:
        from .onnx import engine
    except ImportError:
        return False
    return bool(engine)
