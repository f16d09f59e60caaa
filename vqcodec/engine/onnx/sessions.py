"""Sessions of ONNX Runtime, and all that it would do to the process."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import Future
from threading import RLock, Thread
from typing import ClassVar
from weakref import WeakSet

# Before the import: it would write an id of the device under HOME, and look up a host.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

onnxruntime.disable_telemetry_events()

KEPT = 64  # graphs of a model: those of its passes, for search as well, and of some realisms

Graph = Callable[..., list[np.ndarray]]


class Sessions:
    """The sessions of a model by name, made when they are first needed. Safe in several threads,
    and in a forked child, which makes its own."""

    every: ClassVar["WeakSet[Sessions]"] = WeakSet()
    shares_memory: ClassVar[bool | None] = None  # None: not known yet

    def __init__(self):
        self._begin()
        self.every.add(self)

    def _begin(self) -> None:
        self._made: dict[str, Future[onnxruntime.InferenceSession]] = {}
        self._lock = RLock()

    def get(self, name: str, make: Callable[[], bytes]) -> Graph:
        """The graph of this name, which `make` gives as an ONNX model. It takes float32 arrays and
        `level` by name."""
        found, is_new = self._entry(name)
        if is_new:
            self._fill(found, name, make)
        session = found.result()
        return lambda level, **inputs: session.run(None, inputs | {"level": np.array([level])})

    def prepare(self, name: str, make: Callable[[], bytes]) -> None:
        """Begin to make a graph that `get` will be asked for, in a thread of its own."""
        found, is_new = self._entry(name)
        if is_new:
            try:
                Thread(target=self._fill, args=(found, name, make)).start()
            except RuntimeError:  # there are too many
                self._fill(found, name, make)

    def _entry(self, name: str) -> tuple[Future, bool]:
        """A session that is made or will be, and whether the caller is to make it."""
        with self._lock:
            if name in self._made:
                return self._made[name], False
            if len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            if self.shares_memory is None:
                Sessions.shares_memory = _share_memory()
            return self._made.setdefault(name, Future()), True

    def _fill(self, found: Future, name: str, make: Callable[[], bytes]) -> None:
        try:
            found.set_result(_start(make(), bool(self.shares_memory)))
        except BaseException as exc:  # who waits for it raises it; the next one tries again
            with self._lock:
                self._made.pop(name, None)
            found.set_exception(exc)

    @classmethod
    def leave(cls) -> None:
        """Leave the parent's sessions alone in a forked child, which lacks their threads: it would
        wait for these for ever, in a call or when the sessions are deleted, at its exit at the
        latest. So they never are. Nor is the memory shared, whose lock may be held for ever."""
        cls.shares_memory = False
        for sessions in cls.every:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(sessions._made))
            sessions._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Sessions.leave)


def _share_memory() -> bool:
    """Give the process a pool of memory for all sessions that ask for it, which else have one each:
    a third less for a large picture. False if there is one already, of whoever."""
    try:
        kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
        memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
        onnxruntime.create_and_register_allocator(memory, None)
    except Exception:  # ORT raises no more special one
        return False
    return True


def _start(model: bytes, shares_memory: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3  # errors, which are raised as well
    # The plan of a second call of one size would be a block of its own beside what the first took:
    # a quarter more for a search in a large picture.
    options.enable_mem_pattern = False
    # Threads that wait would spin on the cores that the rest needs, such as other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if shares_memory:
        options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def thread_count() -> int:
    """Those of --threads, which is given to torch in this way; else one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit():
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # cores that this process may use
    return len(affinity(0)) if affinity else os.cpu_count() or 1
