"""Which optional packages are installed, found without importing them."""

import sys
from importlib.util import find_spec

DEVICES = "auto", "cpu", "cuda", "mps", "onnx"


def has_torch() -> bool:
    """Whether torch is installed."""
    if "torch" in sys.modules:  # None there keeps it from being imported
        return sys.modules["torch"] is not None
    return find_spec("torch") is not None
