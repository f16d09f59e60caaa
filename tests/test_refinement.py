"""What effort buys: indices that cost less, and the same format."""

import dataclasses

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vqcodec.pillow_plugin  # noqa: F401 - registers itself
from conftest import smooth_picture
from vqcodec import targets
from vqcodec.cli import main
from vqcodec.codec import Codec
from vqcodec.config import DISTORTIONS
from vqcodec.engine import tiling
from vqcodec.engine.base import REFINEMENT_HALO, Maps
from vqcodec.engine.search import TUNES, search_of
from vqcodec.engine.search_steps import BENDS, Bends
from vqcodec.engine.torch import refinement
from vqcodec.engine.torch.distortion import judge
from vqcodec.engine.torch.refinement import Refinement
from vqcodec.engine.torch.tensors import to_array, to_map
from vqcodec.geometry import Rectangle, pixels_of, widened, within
from vqcodec.image.pixels import load
from vqcodec.nn.eye_distance import eye_distance
from vqcodec.rate_control import operating_point

GRID = Rectangle(0, 0, 12, 10)


def begin(codec, quality, tile=GRID, distortion="mse"):
    rgb = smooth_picture(160, 192)
    best = operating_point(quality, codec.model.config.transform.levels)
    around = widened(tile, REFINEMENT_HALO, GRID)
    y = Maps(tiling.analyse(codec.engine, rgb, best.level, around), around)
    engine, part = codec.engine, rgb[within(pixels_of(tile))]
    return Refinement(engine.tiles, engine.network.decoder, part, y, tile, best, distortion)


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("quality", [10, 47, 90])
def test_more_rounds_are_never_worse(codec, quality, distortion):
    rounds = 0, 1, 2, 4, 8
    costs = [begin(codec, quality, GRID, distortion).run(count).cost for count in rounds]

    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.995 * costs[0]


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_the_cost_is_that_of_the_file(codec, distortion):
    """Bits of the indices that the tile coder writes, and the distortion of the decoded picture,
    weighed as in training."""
    search = begin(codec, 60, GRID, distortion)
    choice = search.run(3)
    coded = codec.engine.tiles.packed(choice.coded)
    shape = coded.latents.shape[:2]
    assert np.array_equal(
        codec.engine.tiles.decode(coded.segments, *shape, search.level).latents, coded.latents
    )
    decoded = codec.engine.synthesise(coded.latents, search.level).clip(0, 1)
    error = float(((decoded - to_array(search.x)) ** 2).sum()) * 255**2 / 3
    if distortion == "eyes":
        unlike = float(eye_distance(to_map(decoded, search.x.device), search.x))
        error = 0.5 * error + 1000 * unlike * decoded.shape[0] * decoded.shape[1]

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

    assert choice.coded.latents.shape[:2] == (4, 5)
    assert choice.cost < begin(codec, 60, tile).run(0).cost


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("tile", [GRID, Rectangle(4, 3, 5, 4)])
def test_gradients_in_windows_are_those_of_the_whole_tile(codec, monkeypatch, tile, distortion):
    """Window after window through the decoder, and pass after pass through the prior."""
    found = []
    for side in (64, 3):
        monkeypatch.setattr(refinement, "SIDE", side)
        search = begin(codec, 60, tile, distortion)
        assigned = search._assigned(search._target(search.start), differentiate=True)
        latents = assigned.coded.latents
        judged = search._judged(latents, differentiate=True)
        found.append((latents, assigned.bits, assigned.slope, *judged))
    whole, parts = found

    assert np.abs(whole[2]).max() > 0
    assert all(np.array_equal(a, b) for a, b in zip(whole[:3], parts[:3], strict=True))
    assert parts[3] == pytest.approx(whole[3], rel=1e-5)
    tolerance = 1e-5 * np.abs(whole[4]).max()
    assert np.allclose(parts[4], whole[4], rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_a_search_in_windows_chooses_as_one_of_the_whole_tile(codec, monkeypatch, distortion):
    whole = begin(codec, 60, GRID, distortion).run(3)
    monkeypatch.setattr(refinement, "SIDE", 5)
    parts = begin(codec, 60, GRID, distortion).run(3)

    assert parts.cost == pytest.approx(whole.cost, rel=1e-4)
    assert np.abs(parts.coded.latents - whole.coded.latents).mean() < 1e-3


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_a_slope_is_that_of_the_error(codec, distortion):
    """Along a direction, of a picture inside the range; outside it leads back."""
    x = to_map(smooth_picture(32, 48), torch.device("cpu")).float() / 255
    x = 0.1 + 0.8 * x
    way = 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    out = (x + 20 * way).clamp(0.05, 0.95)
    judged = judge(distortion, out, x)
    rise = judge(distortion, out + way, x).error - judge(distortion, out - way, x).error

    assert float((judged.slope * way).sum()) == pytest.approx(rise / 2, rel=0.02)
    assert bool((judge(distortion, x + 1, x).slope > 0).all())


def test_bends_are_found_where_something_moved():
    """They are the curvature over the nominal one, within bounds; 1 where nothing moved."""
    nominal = np.float32([2.0, 2.0, 0.5, 3.0, 0.0])
    way = np.random.default_rng(0).standard_normal((6, 7, 5), np.float32)
    way[..., 3:] = 0
    factors = np.float32([1.0, 4.0, 0.1, 5.0, 5.0])
    bends = Bends(nominal)
    for _ in range(3):
        bends.update(factors * nominal * way, way)

    assert bends.values == pytest.approx([1.0, 4.0, BENDS[0], 1.0, 1.0], rel=0.02)


def test_a_tune_is_what_the_search_keeps_low(codec):
    """By itself the search keeps low what the model was trained for."""
    rgb = smooth_picture(90, 112)
    files = {tune: codec.encode(rgb, 60, effort=5, tune=tune) for tune in TUNES}
    config = dataclasses.replace(codec.model.config, distortion="eyes")
    trained = Codec(codec.model._replace(config=config))

    def unlike(data):
        pictures = (np.asarray(codec.decode(data)), rgb)
        maps = (to_map(picture, torch.device("cpu")) / 255 for picture in pictures)
        return float(eye_distance(*maps))

    assert unlike(files["eyes"]) < unlike(files["psnr"])
    assert codec.encode(rgb, 60, effort=5) == files["psnr"]
    assert trained.encode(rgb, 60, effort=5) == files["eyes"]
    found = codec.encode_indices(rgb, 60, effort=5, tune="eyes")
    assert np.array_equal(found.indices, codec.read_indices(files["eyes"]).indices)
    assert len({codec.encode(rgb, 60, effort=1, tune=tune) for tune in TUNES}) == 1
    with pytest.raises(ValueError, match="tune is 'ears', expected one of psnr, eyes"):
        codec.encode(rgb, tune="ears")


def test_targets_of_size_take_a_tune_and_one_of_psnr_is_searched_by_it(codec):
    picture = load(smooth_picture(48, 64))
    by_eyes = targets.to_bpp(codec, picture, 0.5, effort=2, tune="eyes")

    assert by_eyes.data != targets.to_bpp(codec, picture, 0.5, effort=2).data
    assert by_eyes.value <= 0.5
    config = dataclasses.replace(codec.model.config, distortion="eyes")
    trained = Codec(codec.model._replace(config=config))
    found = [targets.to_psnr(each, picture, 20, effort=2).data for each in (codec, trained)]
    assert found[0] == found[1]


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


def test_small_pictures_are_searched_more_by_default(codec):
    sizes = (1, 1), (600, 750), (601, 750), (1000, 750), (1024, 768), (1440, 900), (4000, 3000)
    efforts = [search_of(codec.model.config, None, None, (*size, 3)).effort for size in sizes]

    assert efforts == [4, 4, 3, 3, 2, 2, 1]
    rgb = smooth_picture(48, 64)
    assert codec.encode(rgb) == codec.encode(rgb, effort=4) != codec.encode(rgb, effort=1)
    found = codec.encode_indices(rgb).indices
    assert np.array_equal(found, codec.encode_indices(rgb, effort=4).indices)


@pytest.mark.parametrize("effort", [0, 10, 2.5])
def test_an_effort_out_of_range_is_refused(codec, picture, effort):
    with pytest.raises(ValueError, match=r"effort is .*, expected 1\.\.9"):
        codec.encode(picture, effort=effort)


def test_the_command_line_and_pillow_take_an_effort_and_a_tune(
    codec, model_folder, installed, tmp_path
):
    rgb = smooth_picture(48, 64)
    source, target = tmp_path / "a.png", tmp_path / "a.vqc"
    Image.fromarray(rgb).save(source)
    args = ["encode", str(source), "--model", str(model_folder), "-q", "60", "--effort"]
    assert CliRunner().invoke(main, [*args, "1"]).exit_code == 0
    assert target.read_bytes() == codec.encode(rgb, 60, effort=1)
    Image.fromarray(rgb).save(target, quality=60, effort=5)
    assert target.read_bytes() == codec.encode(rgb, 60, effort=5)
    Image.fromarray(rgb).save(target, quality=60, effort=5, tune="eyes")
    by_eyes = codec.encode(rgb, 60, effort=5, tune="eyes")
    assert target.read_bytes() == by_eyes
    assert CliRunner().invoke(main, [*args, "5", "--tune", "eyes", "-f"]).exit_code == 0
    assert target.read_bytes() == by_eyes
    both = CliRunner().invoke(main, [*args, "5", "--tune", "eyes", "--target-psnr", "20"])
    assert both.exit_code == 2
    assert "--target-psnr does not go with --tune eyes" in both.output
    assert CliRunner().invoke(main, [*args, "10"]).exit_code == 2
