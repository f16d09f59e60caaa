"""Parallel calls a few ahead of their use, in a thread pool, with results in order.

What an engine computes with inside a call is divided between the calls by the engine: together
they use as many threads as one would, without waiting for each other inside an operation.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

AT_ONCE = 4  # calls, however many the threads: memory grows with each


class Ahead:
    """A context that makes calls, `count` at a time; leaving it waits for those under way.

    count: 1 makes each in the thread that asks for its result.
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[], None] = lambda: None,
        started: Callable[[], None] = lambda: None,
    ):
        """begin: called in each thread before its first call. started: called in the user's
        thread when all threads have begun."""
        self.count, self._begin, self._started = count, begin, started
        self._ended = threading.Event()
        # At most `count` work: calls, and the user of their results unless it waits for one.
        self._turns, self._working, self._user_is_next = threading.Condition(), 1, False
        self._line: deque[int] = deque()  # threads with a call to begin, in order

    def __enter__(self) -> "Ahead":
        if self.count == 1:
            return self
        started = threading.Barrier(self.count)
        self._pool = ThreadPoolExecutor(self.count, initializer=self._begin)
        try:
            for found in [self._pool.submit(started.wait) for _ in range(self.count)]:
                found.result()
        except BaseException:
            started.abort()
            self.__exit__()
            raise
        self._started()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self.count > 1:
            self._pool.shutdown(cancel_futures=True)

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], depth: int | None = None
    ) -> Iterator[Result]:
        """The results of `work` on each item, in order; what a call raises comes in its place,
        and so does what `items` raises.

        depth: items that are taken before the first result is; None: one more than are worked on.
        """
        if self.count == 1:
            yield from map(work, items)
            return
        calls = self._calls(work, items)
        pending = deque(islice(calls, depth or self.count + 1))
        while pending:
            yield self._take(pending.popleft())
            pending.extend(islice(calls, 1))

    def _calls(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator["Future[Result]"]:
        try:
            for item in items:
                yield self._pool.submit(self._call, work, item)
        except Exception as exc:
            failed = Future()
            failed.set_exception(exc)
            yield failed

    def _call(self, work: Callable[[Item], Result], item: Item) -> Result:
        me = threading.get_ident()
        with self._turns:
            self._line.append(me)
            self._turns.wait_for(
                lambda: self._line[0] == me and self._working + self._user_is_next < self.count
            )
            self._line.popleft()
            self._working += 1
            self._turns.notify_all()
        try:
            if self._ended.is_set():  # it was in line already
                raise CancelledError
            return work(item)
        finally:
            self._rest()

    def _take(self, call: "Future[Result]") -> Result:
        self._rest()
        call.add_done_callback(self._wake_user)
        with self._turns:
            self._turns.wait_for(lambda: self._user_is_next and self._working < self.count)
            self._user_is_next = False
            self._working += 1
        return call.result()

    def _rest(self) -> None:
        with self._turns:
            self._working -= 1
            self._turns.notify_all()

    def _wake_user(self, _: "Future[Result]") -> None:
        """Before another call begins: what the user does next may give work to others."""
        with self._turns:
            self._user_is_next = True
            self._turns.notify_all()
