"""How an encoder searches for better indices of a picture: what `effort` and `tune` say."""

from typing import NamedTuple

from ..config import ModelConfig
from ..rate_control import EFFORTS, default_effort

TUNES = {"psnr": "mse", "eyes": "eyes"}  # names of `config.DISTORTIONS` for users


class Search(NamedTuple):
    """effort: 1, which is none, to 9. distortion: of `config.DISTORTIONS`, what it keeps low."""

    effort: int
    distortion: str


def search_of(
    config: ModelConfig, effort: int | None, tune: str | None, shape: tuple[int, ...]
) -> Search:
    """The search of a model for a picture [H, W, ...]. effort: None is the default one. tune: of
    TUNES; None is what the model was trained for. Raises ValueError for others."""
    effort = default_effort(shape[0] * shape[1]) if effort is None else effort
    if effort not in EFFORTS:
        raise ValueError(f"effort is {effort}, expected {EFFORTS[0]}..{EFFORTS[-1]}")
    if tune not in (None, *TUNES):
        raise ValueError(f"tune is {tune!r}, expected one of {', '.join(TUNES)}")
    if config.task is not None:
        effort = 1  # search would bring back what a network with a task takes away
    return Search(effort, config.distortion or "mse" if tune is None else TUNES[tune])
