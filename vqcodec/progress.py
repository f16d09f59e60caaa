"""How much of a call is done, told while it is under way."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Part = TypeVar("Part")
Progress = Callable[[float], object] | bool | None  # called with 0..1; True: a bar on stderr


def followed(
    parts: Iterable[Part], total: int, progress: Progress, size: Callable[[Part], int] = lambda _: 1
) -> Iterator[Part]:
    """The parts of a whole of `total`, each `size` of it; what is done is told as they come."""
    if progress is True:
        yield from _with_bar(parts, total, size)
        return
    tell = progress or (lambda share: None)
    tell(0.0)
    done = 0
    for part in parts:
        done += size(part)
        tell(done / total)
        yield part


def _with_bar(parts: Iterable[Part], total: int, size: Callable[[Part], int]) -> Iterator[Part]:
    from tqdm import tqdm

    with tqdm(total=total, leave=False, bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        for part in parts:
            bar.update(size(part))
            yield part
