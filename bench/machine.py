"""What a measurement ran on: the `meta` of results.json."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from PIL import features

import vqcodec

METRICS = "pytorch-msssim", "ssimulacra2", "cvvdp", "stlpips-pytorch"
PACKAGES = "torch", "numpy", "pillow", "constriction", "bjontegaard", *METRICS
LIBRARIES = "libjpeg_turbo", "webp", "avif", "jpg_2000"


def describe() -> dict:
    """Machine, threads and versions, for JSON."""
    versions = {"vqcodec": vqcodec.__version__, "python": platform.python_version()}
    versions |= {name: _version(name) for name in PACKAGES}
    versions |= {name: features.version(name) or "missing" for name in LIBRARIES}
    return {
        "machine": f"{_processor()}, {platform.system()}",
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "versions": versions,
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
