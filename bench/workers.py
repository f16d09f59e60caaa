"""Processes over the cores, each with one thread: `map` that calls in several of them."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from unittest import mock

# One thread of torch and BLAS. glibc keeps the memory of large maps (mallopt(3)): without that
# ColorVideoVDP takes 2.5 times as long, and ST-LPIPS 1.7 times, for pages that come anew each time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_TOP_PAD_": str(2**28),
}
Each = Callable[..., Iterator]  # as `map`


def cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def workers(jobs: int) -> Iterator[Each]:
    """`map` in so many processes while the block lasts; in this one if it is 1."""
    if jobs == 1:
        yield map
        return
    # A forked child would have the record of torch's threads without the threads.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        list(pool.map(abs, range(jobs)))  # they start here
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
