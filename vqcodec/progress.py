"""How much of a call is done, told while it is under way."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Part = TypeVar("Part")
Progress = Callable[[float], object] | bool | None  # called with 0..1; True: a bar on stderr


def followed(
    parts: Iterable[Part], total: int, progress: Progress, size: Callable[[Part], int] = lambda _: 1
) -> Iterator[Part]:
    """The parts of a whole of `total`, each `size` of it; what is done is told as they come."""
    tell = listener(progress)
    tell(0.0)
    done = 0
    for part in parts:
        done += size(part)
        tell(done / total)
        yield part


def listener(progress: Progress) -> Callable[[float], object]:
    """What to tell the share done to."""
    return _Bar() if progress is True else progress or (lambda share: None)


def stage(tell: Callable[[float], object], start: float, stop: float) -> Callable[[float], object]:
    """Tell the share done of a part of the work, from `start` to `stop` of all of it."""
    return lambda share: tell(start + (stop - start) * share)


class _Bar:
    """A bar on stderr, which goes when all is done or nobody works any more."""

    def __init__(self):
        from tqdm import tqdm

        self._bar = tqdm(total=1, leave=False, bar_format="{l_bar}{bar}| {elapsed}<{remaining}")

    def __call__(self, share: float) -> None:
        self._bar.update(share - self._bar.n)
        if share >= 1:
            self._bar.close()

    def __del__(self):
        self._bar.close()
