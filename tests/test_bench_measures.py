"""The measures of the benchmark: what they say, what is left out, and what is kept."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench import curves, figures, measures, workers, worst
from bench.__main__ import main
from bench.cache import Measured, measured_in
from bench.figures import FIGURES, MEASURES, Figures, runnable
from bench.measures import Pair
from bench.pictures import Picture, Point
from conftest import smooth_picture
from vqcodec.metrics import stand_ins


@pytest.fixture
def blurred():
    rgb = smooth_picture(176, 208)
    small = Image.fromarray(rgb).resize((104, 88))
    return Pair(rgb, np.asarray(small.resize((208, 176))))


def test_every_measure_names_its_figures():
    named = [figure for measure in MEASURES.values() for figure in measure.figures]

    assert named == list(figures.NAMES)
    assert set(Point._fields) == {"picture", "quality", "size", "pixels", *named}
    assert set(curves.Curve._fields) >= set(FIGURES)


@pytest.mark.parametrize("name", [n for n in MEASURES if n not in ("lpips", "squares", "repeats")])
def test_a_measure_tells_a_blurred_picture_from_the_same(name, blurred, capsys):
    if name not in (found := runnable([name])).measures:
        pytest.skip(capsys.readouterr().out)
    same = found.measure(blurred.before, blurred.before.copy())
    other = found.measure(blurred.before, blurred.after)

    for figure in MEASURES[name].figures:
        assert FIGURES[figure].sign * (same[figure] - other[figure]) > 0


def test_st_lpips_is_what_the_package_says(blurred):
    if not figures.MEASURES["st_lpips"].version(""):
        pytest.skip("no stlpips-pytorch")
    measure = measures.StLpips()
    x, y = (
        torch.tensor(rgb).permute(2, 0, 1)[None] / 127.5 - 1
        for rgb in (blurred.before, blurred.after)
    )

    with torch.inference_mode():
        expected = float(measure._network(x, y))
    assert measure(blurred) == pytest.approx((expected,), rel=1e-5)
    assert measure(Pair(blurred.before, blurred.before)) == (0,)


def test_small_pictures_are_no_error(capsys):
    """What a measure cannot say of them is nan."""
    small = smooth_picture(9, 12)
    found = runnable(MEASURES).measure(small, small[::-1])

    assert math.isnan(found["ms_ssim"])
    assert math.isnan(found.get("st_lpips", math.nan))
    assert math.isfinite(found["psnr"])


def test_squares_of_colour_are_steps_over_the_borders_of_the_grid():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 96, 3), np.uint8)
    tiles = np.kron(rng.integers(0, 255, (4, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    mixed = (0.5 * tiles + 0.5 * noise).astype(np.uint8)

    assert measures.squares(Pair(noise, noise))[0] == pytest.approx(1, abs=0.05)
    assert measures.squares(Pair(noise, mixed))[0] > 1.3
    assert math.isnan(measures.squares(Pair(noise, tiles))[0])


def test_what_cannot_run_is_left_out_with_one_line(monkeypatch, capsys):
    def broken(_lpips):
        raise OSError("libfoo.so: cannot open\nmore")

    monkeypatch.setitem(MEASURES, "cvvdp", MEASURES["cvvdp"]._replace(version=lambda _: ""))
    broken_one = MEASURES["ssimulacra2"]._replace(make=broken, version=lambda _: "1")
    monkeypatch.setitem(MEASURES, "ssimulacra2", broken_one)
    figures._made.cache_clear()

    assert runnable(["ssimulacra2", "cvvdp", "squares"]).measures == ("psnr", "squares")
    assert capsys.readouterr().out.splitlines() == [
        "SSIMULACRA2 is left out: OSError: libfoo.so: cannot open",
        "ColorVideoVDP is left out: pip install cvvdp, which takes torchvision",
    ]
    figures._made.cache_clear()


def test_unknown_measures_are_refused(tmp_path):
    Image.fromarray(smooth_picture(8, 8)).save(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["rd", "--images", str(tmp_path), "--measures", "vmaf"])

    assert result.exit_code == 1
    assert "unknown vmaf" in result.output


def test_stand_ins_are_there_for_an_import_alone(monkeypatch):
    monkeypatch.setattr(stand_ins, "MODULES", {"no_such.transforms": ("no_such",), "json": ()})
    monkeypatch.setitem(stand_ins.CONTENT, "no_such.transforms", {"Blur": 7})

    with stand_ins.provided():
        from no_such.transforms import Blur
    assert Blur == 7
    assert "no_such" not in sys.modules
    assert "json" in sys.modules


def test_a_stand_in_takes_the_place_of_what_fails_halfway(monkeypatch, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "__init__.py").write_text("from . import part\nraise RuntimeError")
    (tmp_path / "half" / "part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(stand_ins, "MODULES", {"half": ()})

    with stand_ins.provided():
        assert type(sys.modules["half"]) is ModuleType
        assert "half.part" not in sys.modules


def test_the_blur_keeps_what_is_flat_and_sums_to_one():
    blur = stand_ins.GaussianBlur(13, 3)
    dot = torch.zeros(2, 41, 41)
    dot[1, 20, 20] = 1

    assert torch.allclose(blur(torch.ones(1, 30, 40)), torch.ones(1, 30, 40))
    assert float(blur(dot).sum()) == pytest.approx(1)
    assert blur(dot)[1, 20].tolist() == pytest.approx(blur(dot)[1, :, 20].tolist())


def test_pixels_that_were_seen_before_are_not_measured_again(tmp_path, monkeypatch):
    rgb, entry = smooth_picture(20, 20), Picture(tmp_path, "a", "0123")
    first = Measured(tmp_path / "figures.jsonl")
    found = first.measure(entry, rgb, rgb[::-1], Figures(("psnr",)))
    again = Measured(tmp_path / "figures.jsonl")
    both = again.measure(entry, rgb, rgb[::-1], Figures(("psnr", "squares")))
    monkeypatch.setattr(Figures, "measure", None)

    assert both["psnr"] == found["psnr"]
    assert Measured(tmp_path / "figures.jsonl").measure(
        entry, rgb, rgb[::-1], Figures(("psnr", "squares"))
    ) == pytest.approx(both)
    with pytest.raises(TypeError):
        again.measure(entry, rgb, rgb, Figures(("psnr",)))
    assert measured_in(tmp_path) is measured_in(tmp_path)


def test_workers_have_one_thread_and_give_results_in_order():
    with workers.workers(2) as each:
        assert list(each(divmod, (7, 9, 11), (2, 2, 2))) == [(3, 1), (4, 1), (5, 1)]
    with workers.workers(1) as each:
        assert each is map


def points_of(picture, sizes, psnrs):
    return [
        Point(picture, float(q), size, 1000, dB, butteraugli=40 - dB)
        for q, (size, dB) in enumerate(zip(sizes, psnrs, strict=True))
    ]


def test_the_worst_picture_is_where_ours_takes_most_against_the_peer():
    pytest.importorskip("bjontegaard")
    sizes, psnrs = [20, 40, 80, 160, 320], [26, 28, 30, 32, 34]
    half = [size // 2 for size in sizes]
    points = {"vqc": [], "avif": []}
    for name, own in (("a", half), ("b", sizes), ("c", half)):
        points["vqc"] += points_of(name, own, psnrs)
        points["avif"] += points_of(name, sizes, psnrs)

    found = worst.find(points, "vqc", (0.1, 1.0))

    assert [item.figure for item in found] == ["psnr", "butteraugli"]
    assert {item.picture for item in found} == {"b"}
    assert [item.median for item in found] == pytest.approx([-50, -50], abs=0.5)
    assert worst.notes(found) == {"b": "ours is worst here by PSNR, dB; Butteraugli, maximum"}
    assert worst.find({"vqc": points["vqc"]}, "vqc", (0.1, 1.0)) == []


def test_a_distance_that_falls_is_compared_at_equal_distance():
    pytest.importorskip("bjontegaard")
    sizes, psnrs = [20, 40, 80, 160, 320], [26, 28, 30, 32, 34]
    own, peer = (
        curves.average(name, "", points_of("a", [factor * size // 2 for size in sizes], psnrs))
        for name, factor in (("vqc", 1), ("avif", 2))
    )

    (change,) = curves.changes("butteraugli", [peer], own, peer, (0.1, 1.0))
    lines = curves.figure_table("butteraugli", [change], "avif", "vqc", (0.1, 1.0))

    assert change.ours.percent == pytest.approx(-50, abs=0.5)
    assert 14 >= change.ours.low > change.ours.high >= 6
    assert lines[1][2] == "6.00..14.00"
    assert curves.changes("cvvdp", [peer], own, peer, (0.1, 1.0)) == []
    assert curves.summary_table({"butteraugli": [change]}, "vqc")[1][0] == "avif"
