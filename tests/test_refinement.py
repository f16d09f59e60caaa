"""What effort buys: indices that cost less, and the same format."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vqcodec.pillow_plugin  # noqa: F401 - registers itself
from conftest import smooth_picture
from vqcodec.cli import main
from vqcodec.engine import tiling
from vqcodec.engine.base import REFINEMENT_HALO, Maps
from vqcodec.engine.torch import refinement
from vqcodec.engine.torch.refinement import Refinement
from vqcodec.engine.torch.tensors import to_array
from vqcodec.geometry import Rectangle, pixels_of, widened, within
from vqcodec.rate_control import operating_point

GRID = Rectangle(0, 0, 12, 10)


def begin(codec, quality, tile=GRID):
    rgb = smooth_picture(160, 192)
    best = operating_point(quality, codec.model.config.transform.levels)
    around = widened(tile, REFINEMENT_HALO, GRID)
    y = Maps(tiling.analyse(codec.engine, rgb, best.level, around), around)
    engine, part = codec.engine, rgb[within(pixels_of(tile))]
    return Refinement(engine.tiles, engine.network.decoder, part, y, tile, best)


@pytest.mark.parametrize("quality", [10, 47, 90])
def test_more_rounds_are_never_worse(codec, quality):
    costs = [begin(codec, quality).run(rounds).cost for rounds in (0, 1, 2, 4, 8)]

    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.995 * costs[0]


def test_the_cost_is_that_of_the_file(codec):
    """Bits of the indices that the tile coder writes, and the error of the decoded picture."""
    search = begin(codec, 60)
    choice = search.run(3)
    level = int(search.levels)
    coded = codec.engine.tiles.encode(to_array(choice.latents), level, search.lambda_scale)
    decoded = codec.engine.synthesise(coded.latents, level).clip(0, 1)
    error = float(((decoded - to_array(search.x)) ** 2).sum()) * 255**2 / 3

    assert choice.cost == pytest.approx(
        codec.engine.tiles.bits(coded) + search.weight * error, rel=1e-4
    )


def test_a_tile_is_judged_by_its_own_pixels(codec):
    """Wrong latents in the halo change what is decoded at the tile's edge, and nothing else."""
    tile = Rectangle(4, 3, 5, 4)
    search = begin(codec, 60, tile)
    assert search.region == Rectangle(0, 0, 12, 10)
    assert search.x.shape[-2:] == (64, 80)
    choice = search.run(2)

    assert choice.latents.shape[-2:] == (4, 5)
    assert choice.cost < begin(codec, 60, tile).run(0).cost


@pytest.mark.parametrize("tile", [GRID, Rectangle(4, 3, 5, 4)])
def test_gradients_in_windows_are_those_of_the_whole_tile(codec, monkeypatch, tile):
    """Window after window through the decoder, and pass after pass through the prior."""
    found = []
    for side in (64, 3):
        monkeypatch.setattr(refinement, "SIDE", side)
        search = begin(codec, 60, tile)
        y = search.best.latents.detach().requires_grad_()
        latents, bits, proxy = search._decoded(y)
        (along_bits,) = torch.autograd.grad(proxy, y)
        error, along_error = search._squared_error(latents.detach(), differentiate=True)
        found.append((latents, bits, along_bits, error, along_error))
    whole, parts = found

    assert float(whole[2].abs().max()) > 0
    assert all(torch.equal(a, b) for a, b in zip(whole[:3], parts[:3], strict=True))
    assert parts[3] == pytest.approx(whole[3], rel=1e-5)
    tolerance = 1e-5 * float(whole[4].abs().max())
    assert torch.allclose(parts[4], whole[4], rtol=1e-4, atol=tolerance)


def test_a_search_in_windows_chooses_as_one_of_the_whole_tile(codec, monkeypatch):
    whole = begin(codec, 60).run(3)
    monkeypatch.setattr(refinement, "SIDE", 5)
    parts = begin(codec, 60).run(3)

    assert parts.cost == pytest.approx(whole.cost, rel=1e-4)
    assert float((parts.latents - whole.latents).abs().mean()) < 1e-3


def test_efforts_write_smaller_or_closer_files_that_decode(codec):
    rgb = smooth_picture(81, 112)
    files = [codec.encode(rgb, 60, effort=effort) for effort in (1, 2, 4, 6)]

    assert len(set(files)) > 2
    for data in files:
        assert codec.decode(data).size == (112, 81)
    for effort, data in zip((1, 2, 4, 6), files, strict=True):
        found = codec.encode_indices(rgb, 60, effort=effort)
        assert np.array_equal(found.indices, codec.read_indices(data).indices)


def test_a_search_is_the_same_every_time(codec, picture):
    picture.setflags(write=False)
    torch.manual_seed(1)
    once = codec.encode(picture, 40, effort=5)
    torch.manual_seed(2)

    assert codec.encode(picture, 40, effort=5) == once


@pytest.mark.parametrize("effort", [0, 10, 2.5])
def test_an_effort_out_of_range_is_refused(codec, picture, effort):
    with pytest.raises(ValueError, match=r"effort is .*, expected 1\.\.9"):
        codec.encode(picture, effort=effort)


def test_the_command_line_and_pillow_take_an_effort(codec, model_folder, installed, tmp_path):
    rgb = smooth_picture(48, 64)
    source, target = tmp_path / "a.png", tmp_path / "a.vqc"
    Image.fromarray(rgb).save(source)
    args = ["encode", str(source), "--model", str(model_folder), "-q", "60", "--effort"]
    assert CliRunner().invoke(main, [*args, "1"]).exit_code == 0
    assert target.read_bytes() == codec.encode(rgb, 60, effort=1)
    Image.fromarray(rgb).save(target, quality=60, effort=5)
    assert target.read_bytes() == codec.encode(rgb, 60, effort=5)
    assert CliRunner().invoke(main, [*args, "10"]).exit_code == 2
