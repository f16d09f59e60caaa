"""Sessions of ONNX Runtime, and all that it would do to the process."""

import os
from collections.abc import Callable
from threading import RLock

# Before the import: it would write an id of the device under HOME, and look up a host.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

onnxruntime.disable_telemetry_events()

KEPT = 24  # graphs of a model: those of its passes, and of some realisms

Graph = Callable[..., list[np.ndarray]]


class Sessions:
    """The sessions of a model by name, made when they are first needed. Safe in several threads,
    and in a forked child, which makes its own: the threads of its parent's are not there."""

    def __init__(self):
        self._made: dict[tuple[int, str], onnxruntime.InferenceSession] = {}
        self._lock, self._process = RLock(), os.getpid()

    def get(self, name: str, make: Callable[[], bytes]) -> Graph:
        """The graph of this name, which `make` gives as an ONNX model. It takes float32 arrays and
        `level` by name."""
        if self._process != os.getpid():
            self._lock, self._process = RLock(), os.getpid()
        key = os.getpid(), name
        with self._lock:
            if key not in self._made:
                mine = [item for item in self._made if item[0] == key[0]]
                if len(mine) >= KEPT:
                    del self._made[mine[0]]
                self._made[key] = _start(make())
            session = self._made[key]
        return lambda level, **inputs: session.run(None, inputs | {"level": np.array([level])})


def _start(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3  # errors, which are raised as well
    # Threads that wait would spin on the cores that the rest needs, such as other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def thread_count() -> int:
    """Those of --threads, which is given to torch in this way; else one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit():
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # cores that this process may use
    return len(affinity(0)) if affinity else os.cpu_count() or 1
