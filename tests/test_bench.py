"""The benchmark, on a few made-up pictures and with JPEG as the only peer."""

import csv
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench import curves, identity, ours, peers, pictures, rd, speed
from bench.__main__ import main
from bench.pictures import Point
from conftest import smooth_picture

OUTPUTS = {"results.json", "details.csv", "rd.svg", "rd.png", "report.html"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "waves"
    path.mkdir()
    for seed in range(2):
        Image.fromarray(smooth_picture(176, 208, seed)).save(path / f"{seed}.png")
    (path / "notes.txt").write_text("not a picture")
    return path


@pytest.fixture
def plotting():
    pytest.importorskip("matplotlib")
    pytest.importorskip("bjontegaard")


def curve(codec, factor=1.0, points=5):
    """A curve of `points` qualities, on one picture of 1000 pixels."""
    rows = [(q, round(factor * 20 * 2**q), 26.0 + 2 * q) for q in range(points)]
    own = [Point("a", float(q), size, 1000, dB, math.nan) for q, size, dB in rows]
    return curves.average(codec, "made up", own)


def test_find_names_pictures_by_folder_and_file(folder):
    found = pictures.find([folder])

    assert [picture.name for picture in found] == ["waves/0.png", "waves/1.png"]
    assert found[0].digest != found[1].digest


def test_find_refuses_folders_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        pictures.find([tmp_path])


def test_the_sample_picture_is_always_the_same():
    assert pictures.sample().shape == (512, 768, 3)
    np.testing.assert_array_equal(pictures.sample(), pictures.sample())


def test_peers_points_are_of_whole_files_and_come_from_the_cache_next_time(
    folder, tmp_path, monkeypatch
):
    found = pictures.find([folder])
    first = peers.points("jpeg", found, tmp_path)
    monkeypatch.setattr(peers, "encode", None)  # the second time nothing is encoded

    assert len(first) == 2 * len(peers.PEERS["jpeg"].qualities)
    assert first[0].pixels == 176 * 208
    assert repr(peers.points("jpeg", found, tmp_path)) == repr(first)  # nan is not equal to nan


def test_the_cache_is_not_used_for_other_settings(folder, tmp_path, monkeypatch):
    found = pictures.find([folder])[:1]
    peers.points("jpeg", found, tmp_path)
    other = peers.PEERS["jpeg"]._replace(settings={}, qualities=(50,))
    monkeypatch.setitem(peers.PEERS, "jpeg", other)

    assert len(peers.points("jpeg", found, tmp_path)) == 1
    assert "JPEG ()" in (tmp_path / "jpeg.json").read_text()


def test_nearest_finds_the_quality_whose_file_has_nearly_the_size(picture):
    sizes = [len(peers.encode("jpeg", picture, quality)) for quality in range(101)]

    quality, data = peers.nearest("jpeg", picture, sizes[60] + 3)

    assert abs(len(data) - sizes[60]) <= 40
    assert len(data) == sizes[quality]


def test_a_point_of_a_curve_is_the_mean_over_the_pictures():
    own = [Point("a", 5.0, 100, 800, 30.0, 0.9), Point("b", 5.0, 100, 200, 32.0, 0.7)]

    found = curves.average("x", "made up", own)

    assert found.bpp == pytest.approx([2.5])
    assert found.bpp_total == pytest.approx([1.6])
    assert found.psnr == pytest.approx([31.0])
    assert found.ms_ssim == pytest.approx([0.8])


def test_compare_says_how_much_smaller_ours_is(plotting):
    own, peer = curve("vqc", 0.5), curve("jpeg")

    rows = curves.compare([own, peer], own, peer, (26, 33))

    assert rows[1].ours == pytest.approx((-50.0, 26.0, 33.0), abs=0.1)
    assert rows[1].ratios == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
    assert rows[0].anchor.percent == pytest.approx(-50.0, abs=0.1)
    assert rows[1].anchor.percent == pytest.approx(0.0, abs=0.1)


def test_compare_leaves_out_what_too_few_points_do_not_tell(plotting):
    own, peer = curve("vqc", points=3), curve("jpeg")

    rows = curves.compare([peer], own, peer, (26, 33))

    assert math.isnan(rows[0].ours.percent)
    assert curves.table(rows, "jpeg")[1][3] == "-"


def test_points_that_cost_more_for_less_are_left_out(plotting):
    own, peer = curve("vqc"), curve("jpeg")
    bent = own._replace(psnr=np.array([26.0, 28.0, 30.0, 32.0, 31.5]))

    assert not math.isnan(curves.compare([peer], bent, peer, (26, 33))[0].ours.percent)


def test_published_curves_keep_apart_from_measured_ones(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"jpeg": {"bpp": [0.1, 0.2], "psnr_rgb": [25, 27]}}))

    (found,) = curves.published(path)

    assert found.codec == "jpeg (published)"
    assert found.psnr.tolist() == [25, 27]


def test_rd_of_a_peer_alone_writes_everything(folder, tmp_path, plotting):
    published = tmp_path / "curves.json"
    published.write_text(json.dumps({"x": {"bpp": [0.1, 1, 2, 3], "psnr_rgb": [25, 27, 30, 35]}}))
    options = ["--codecs", "jpeg", "--out", tmp_path / "out", "--published", published]

    result = CliRunner().invoke(main, ["rd", str(folder), *map(str, options)])

    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == OUTPUTS | {"cache"}
    assert "jpeg" in result.output
    assert "x (published)" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_rd_refuses_unknown_codecs(folder):
    result = CliRunner().invoke(main, ["rd", str(folder), "--codecs", "jpg"])

    assert result.exit_code == 1
    assert "jpg" in result.output


@pytest.mark.slow
def test_rd_of_ours_goes_through_files_of_the_command_line(
    folder, model_folder, tmp_path, plotting, monkeypatch
):
    pytest.importorskip("vqcodec.cli")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small pictures: threads only wait
    options = rd.Options(
        (folder, folder), tmp_path, str(model_folder), ("vqc", "jpeg"), qualities=(40.0,)
    )

    rd.run(options)

    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    with (tmp_path / "details.csv").open(encoding="utf-8") as file:
        details = [row for row in csv.DictReader(file) if row["codec"] == "vqc"]
    files = ours.files(tmp_path / "vqc", 40.0, 4)
    assert [entry["name"] for entry in results["codecs"]] == ["vqc", "jpeg"]
    assert results["meta"]["model_id"] == ours.model_id(files[0])
    assert [int(row["bytes"]) for row in details] == [file.stat().st_size for file in files]
    assert results["codecs"][0]["results"].keys() == {"bpp", "bpp-total", "psnr-rgb", "quality"}
    assert "vqcodec -q 40" in (tmp_path / "report.html").read_text("utf-8")


def test_identity_finds_no_difference_in_any_way(model_folder, tmp_path, capsys):
    Image.fromarray(smooth_picture(60, 70)).save(tmp_path / "small.png")

    assert identity.run(tmp_path, str(model_folder), [30.0]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(identity.ways())


def test_identity_counts_a_file_with_another_index(folder, codec):
    files = identity.encode_all(codec, folder, [30.0])
    files[1].indices.words[0, 0, 0] += 1

    assert identity.differing(codec, identity.ways()[0], files) == files[1:]


def test_overhead_is_a_few_bytes_and_a_fraction_of_a_percent(folder, model_folder, codec, capsys):
    identity.overhead(folder, str(model_folder), [80.0])
    costs = identity._costs(codec, folder / "0.png", 80.0)

    assert "over entropy" in capsys.readouterr().out
    assert costs.size == costs.others + costs.words
    assert costs.others <= 32
    assert costs.entropy <= 8 * costs.words <= costs.entropy + 2 * 64


def test_the_split_of_the_time_adds_up_and_leaves_the_codec_as_it_was(codec, picture):
    before = codec.encode(picture, 50)

    found = speed.split(codec, lambda: codec.encode(picture, 50), runs=1)

    assert found.keys() == set(speed.PARTS)
    assert sum(found[part] for part in speed.PARTS[1:]) == pytest.approx(found["total"])
    assert min(found.values()) > 0
    assert "analyse" not in vars(codec.network)
    assert codec.encode(picture, 50) == before
