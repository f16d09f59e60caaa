"""The benchmark, on a few made-up pictures and with JPEG as the only peer."""

import csv
import json
import math
import re
import shutil
import sys
import types
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import AvifImagePlugin, Image
from safetensors.torch import load_file, save_file

from bench import (
    coders,
    curves,
    damage,
    hyperprior,
    identity,
    leak,
    ours,
    overhead,
    peak,
    peers,
    pictures,
    precise,
    rd,
    results,
    sizes,
    speed,
    together,
    ways,
    work,
)
from bench.__main__ import main
from bench.cache import Cache
from bench.curves import Intervals
from bench.figures import Figures
from bench.lpips import Lpips
from bench.ours import Encoder
from bench.pictures import Point
from bench.processes import Used
from conftest import smooth_picture
from vqcodec import cli
from vqcodec.bitstream import container
from vqcodec.codec import Codec
from vqcodec.engine.torch import runtime
from vqcodec.nn import blocks
from vqcodec.train.perceptual import Perceptual
from vqcodec.zoo import shipped

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
    own = [Point("a", float(q), size, 1000, dB) for q, size, dB in rows]
    return curves.average(codec, "made up", own)


def run_without_processes(monkeypatch) -> None:
    """What the benchmark asks `vqcodec` for is done in this process.

    test_rd_of_ours_goes_through_files_of_the_command_line_and_on_where_it_was has processes.
    """

    def run(command: str, *arguments: object, each_line=lambda: None) -> None:
        result = CliRunner().invoke(cli.main, [command, *map(str, arguments)])
        assert result.exit_code == 0, result.output
        for _ in result.stdout.splitlines():
            each_line()

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which --threads would change for the next tests
    monkeypatch.setattr(ours, "run", run)


def test_find_names_pictures_by_folder_and_file(folder):
    found = pictures.find([folder])

    assert [picture.name for picture in found] == ["waves/0.png", "waves/1.png"]
    assert found[0].digest != found[1].digest


def test_find_refuses_folders_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        pictures.find([tmp_path])


def test_the_sample_picture_is_always_the_same():
    """The figures of the benchmark are of these pixels: within a level, as sums may round."""
    rgb = pictures.sample()
    expected = [[70, 80, 61], [72, 85, 58], [156, 154, 144], [170, 170, 161], [78, 89, 53]]

    assert (rgb.shape, rgb.dtype) == ((512, 768, 3), np.uint8)
    found = rgb[[0, 0, 170, 170, 510], [0, 765, 0, 765, 765]]
    np.testing.assert_allclose(found, expected, atol=1)


def test_the_content_of_pictures_is_their_pixels(folder, tmp_path):
    for seed in range(2):
        Image.fromarray(smooth_picture(176, 208, seed)).save(tmp_path / f"{9 - seed}.bmp")
    found = pictures.find([folder])

    assert pictures.content(pictures.find([tmp_path])) == pictures.content(found)
    assert pictures.content(found[:1]) != pictures.content(found)


def test_peers_points_are_of_whole_files_and_come_from_the_cache_next_time(
    folder, tmp_path, monkeypatch
):
    found = pictures.find([folder])
    first = peers.points("jpeg", found, tmp_path, Figures())
    monkeypatch.setattr(peers, "encode", None)  # the second time nothing is encoded

    assert len(first) == 2 * len(peers.QUALITIES["jpeg"])
    assert first[0].pixels == 176 * 208
    # nan is not equal to nan
    assert repr(peers.points("jpeg", found, tmp_path, Figures())) == repr(first)


def test_the_cache_is_not_used_for_other_settings(folder, tmp_path, monkeypatch):
    found = pictures.find([folder])[:1]
    monkeypatch.setitem(peers.QUALITIES, "jpeg", (50,))
    first = peers.points("jpeg", found, tmp_path, Figures())
    monkeypatch.setitem(peers.PEERS, "jpeg", peers.PEERS["jpeg"]._replace(settings={}))

    assert peers.points("jpeg", found, tmp_path, Figures())[0].size > first[0].size
    assert "JPEG ()" in (tmp_path / "jpeg.json").read_text()


def test_a_figure_that_is_new_is_measured_and_the_others_are_kept(folder, tmp_path):
    pytest.importorskip("pytorch_msssim")
    picture = pictures.find([folder])[0]
    cache, more = Cache(tmp_path / "a.json", "x"), Figures(("psnr", "ms_ssim"))
    cache.add(picture, [Point(picture.name, 5.0, 10, 100, 30.0)], Figures())

    assert cache.find(picture, 5.0, more) is None
    cache.add(picture, [Point(picture.name, 5.0, 10, 100, 30.0, 0.9)], more)
    read = Cache(tmp_path / "a.json", "x")
    assert read.find(picture, 5.0, more).ms_ssim == 0.9
    assert math.isnan(read.find(picture, 5.0, Figures()).ms_ssim)
    assert Cache(tmp_path / "a.json", "y").find(picture, 5.0, more) is None


@pytest.mark.parametrize("name", [n for n in peers.PEERS if n not in ("jxl", "heic")])
def test_every_peer_of_pillow_spends_bytes_on_quality(name):
    if not peers.available([name]):
        pytest.skip("not in this Pillow")
    rgb = smooth_picture(176, 208)
    found = []
    for quality in (peers.QUALITIES[name][1], peers.QUALITIES[name][-2]):
        data = peers.encode(name, rgb, quality)
        found.append((len(data), Figures().measure(rgb, peers.decode(data))["psnr"]))

    assert found[0] < found[1]
    assert found[0][1] < found[1][1]


def test_peers_of_plugins_are_there_if_the_plugin_is(monkeypatch):
    """A plugin that saves what is asked for as PNG."""
    fake = types.ModuleType("pillow_heif")
    Image.init()
    fake.register_heif_opener = lambda: monkeypatch.setitem(Image.SAVE, "HEIF", Image.SAVE["PNG"])
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    peers._register.cache_clear()
    try:
        assert peers.available(["jpeg", "jxl", "heic"]) == ["jpeg", "heic"]
        rgb = smooth_picture(8, 8)
        np.testing.assert_array_equal(peers.decode(peers.encode("heic", rgb, 50)), rgb)
    finally:
        peers._register.cache_clear()


def test_small_pictures_have_no_ms_ssim():
    pytest.importorskip("pytorch_msssim")
    small, large = smooth_picture(80, 112), smooth_picture(176, 208)

    measure = Figures(("ms_ssim",)).measure
    assert math.isnan(measure(small, small)["ms_ssim"])
    assert measure(large, large)["ms_ssim"] == pytest.approx(1)


def test_ssimulacra2_is_what_the_package_says_of_the_two_files(monkeypatch):
    fake = types.ModuleType("ssimulacra2")

    def compute(before, after):
        return np.mean(Image.open(before)) - np.mean(Image.open(after))

    fake.compute_ssimulacra2 = compute
    monkeypatch.setitem(sys.modules, "ssimulacra2", fake)
    light, dark = np.full((9, 9, 3), 90, np.uint8), np.full((9, 9, 3), 20, np.uint8)

    assert Figures(("ssimulacra2",)).measure(light, dark)["ssimulacra2"] == 70


def test_lpips_is_zero_for_equal_pictures_and_grows_with_noise(lpips_weights):
    rgb = smooth_picture(40, 56)
    rng = np.random.default_rng(0)
    little, much = (
        (rgb + rng.normal(scale=scale, size=rgb.shape)).clip(0, 255).astype(np.uint8)
        for scale in (4, 30)
    )
    measure = Figures(("lpips",), str(lpips_weights)).measure

    assert measure(rgb, rgb)["lpips"] == 0
    assert 0 < measure(rgb, little)["lpips"] < measure(rgb, much)["lpips"]
    assert measure(rgb, much)["lpips"] == pytest.approx(measure(much, rgb)["lpips"])
    assert math.isnan(measure(rgb[:16], rgb[:16])["lpips"])


def test_lpips_compares_unit_vectors(lpips_weights):
    """With all weights 1/7, outputs that share nothing are at distance 2 in each of 7 layers."""
    network = Perceptual(lpips_weights)
    a, b = torch.zeros(2, 1, 64, 3, 3)
    a[:, 0], b[:, 1] = 5, 0.1

    assert float(network.between([a], [b])) == pytest.approx(2 / 7)


@pytest.mark.parametrize("content", [b"nonsense", None])
def test_lpips_refuses_other_files(tmp_path, content):
    path = tmp_path / "other.safetensors"
    save_file({"features.0.bias": torch.zeros(64)}, path)
    if content:
        path.write_bytes(content)

    with pytest.raises(ValueError, match="safetensors"):
        Lpips(path)


def test_lpips_wants_its_own_weights_of_the_channels(lpips_weights, tmp_path):
    bare = {k: w for k, w in load_file(lpips_weights).items() if k.startswith("features.")}
    save_file(bare, tmp_path / "bare.safetensors")

    with pytest.raises(ValueError, match=r"no lpips\.lin0"):
        Lpips(tmp_path / "bare.safetensors")


def test_a_point_of_a_curve_is_the_mean_over_the_pictures():
    own = [Point("a", 5.0, 100, 800, 30, 0.9), Point("b", 5.0, 100, 200, 32, 0.7, lpips=0.5)]

    found = curves.average("x", "made up", own)

    assert found.bpp == pytest.approx([2.5])
    assert found.bpp_total == pytest.approx([1.6])
    assert found.psnr == pytest.approx([31.0])
    assert found.ms_ssim == pytest.approx([0.8])
    assert found.has("ms_ssim")
    assert not found.has("lpips")  # of one picture only


def test_compare_says_how_much_smaller_ours_is(plotting):
    own, peer = curve("vqc", 0.5), curve("jpeg")

    rows = curves.compare([own, peer], own, peer, Intervals((26, 33)))

    assert rows[1].ours == pytest.approx((-50.0, 26.0, 33.0), abs=0.1)
    rates = 26 + 2 * math.log2(0.1 / 0.08), 26 + 2 * math.log2(1 / 0.08)
    assert rows[1].ours_in_rates == pytest.approx((-50.0, *rates), abs=0.1)
    assert rows[1].ratios == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
    assert rows[0].anchor.percent == pytest.approx(-50.0, abs=0.1)
    assert rows[1].anchor.percent == pytest.approx(0.0, abs=0.1)


def test_compare_leaves_out_what_too_few_points_do_not_tell(plotting):
    own, peer = curve("vqc", points=3), curve("jpeg")

    rows = curves.compare([peer], own, peer, Intervals((26, 33)))

    assert math.isnan(rows[0].ours.percent)
    assert curves.table(rows, "jpeg", "vqc", Intervals())[1][3] == "-"


def test_the_rates_of_ours_give_one_interval_in_db(plotting):
    own = curve("vqc")  # 0.16 bpp at 26 dB, twice as much every 2 dB

    assert curves.score_between(own, (0.32, 0.64)) == pytest.approx((28, 30), abs=0.01)
    assert curves.score_between(own, (0.01, 9)) == pytest.approx((26, 34))


def test_points_that_cost_more_for_less_are_left_out(plotting):
    own, peer = curve("vqc"), curve("jpeg")
    bent = own._replace(psnr=np.array([26.0, 28.0, 30.0, 32.0, 31.5]))

    assert not math.isnan(curves.compare([peer], bent, peer, Intervals((26, 33)))[0].ours.percent)


def test_published_curves_keep_apart_from_measured_ones(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"jpeg": {"bpp": [0.1, 0.2], "psnr_rgb": [25, 27]}}))

    (found,) = curves.published(path)

    assert found.codec == "jpeg (published)"
    assert found.psnr.tolist() == [25, 27]


PUBLISHED = {"x": {"bpp": [0.1, 1, 2, 3], "psnr_rgb": [25, 27, 30, 35], "source": "a paper"}}


def call(*args):
    return CliRunner().invoke(main, ["rd", *map(str, args)])


def test_rd_of_a_peer_alone_writes_everything(folder, tmp_path, plotting):
    published = tmp_path / "curves.json"
    published.write_text(json.dumps(PUBLISHED))
    out = tmp_path / "out"

    asked = "--codecs", "jpeg", "--measures", "ms_ssim", "-j", 1, "--published", published
    result = call("--images", folder, "--out", out, *asked)

    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == OUTPUTS | {"cache"}
    assert "jpeg" in result.output
    report = (out / "report.html").read_text("utf-8")
    assert "x (published): a paper" in report
    assert "MS-SSIM" in report


def test_a_report_can_be_drawn_again_elsewhere_and_over_another_range(folder, tmp_path, plotting):
    first, second = tmp_path / "first", tmp_path / "second"
    asked = "--codecs", "jpeg", "--measures", "", "-j", 1, "--range", 26.5, 31
    measured = call("--images", folder, "--out", first, *asked)
    found = results.read(first / "results.json")

    again = call("--from", first / "results.json")
    other = call("--from", first / "results.json", "--out", second, "--range", 27, 32)

    assert again.output == measured.output
    assert "26.5..31 dB" in again.output
    assert "27..32 dB" in other.output
    assert {path.name for path in second.iterdir()} == {"rd.svg", "rd.png", "report.html"}
    assert found.curves[0].has("psnr")
    assert not found.curves[0].has("ms_ssim")


@pytest.mark.parametrize("text", ["", "[]", '{"codecs": [{}]}', '{"codecs": [], "meta": 1}'])
def test_from_what_holds_no_results_is_one_line(tmp_path, text):
    (tmp_path / "results.json").write_text(text)

    result = call("--from", tmp_path / "results.json")

    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "holds no results" in result.output


def test_rd_refuses_a_table_of_curves_that_is_none(folder, tmp_path):
    (tmp_path / "a.json").write_text('{"x": {"bpp": [1, 2], "psnr_rgb": [30]}}')
    (tmp_path / "b.json").write_text('{"x": {"bpp": [1, 2]}}')

    for name, words in (("a.json", "as many of each"), ("b.json", "no table of curves")):
        with pytest.raises(ValueError, match=words):
            curves.published(tmp_path / name)


def test_an_interval_has_two_ends_in_order(folder):
    assert call("--images", folder, "--range", 33, 26).exit_code == 2
    assert call("--images", folder, "--rates", 1, 1).exit_code == 2


def test_the_commands_that_the_docs_show_are_understood(folder):
    root = Path(__file__).parents[1]
    texts = [path.read_text("utf-8") for path in (root / "README.md", *root.glob("docs/*.md"))]
    text = "\n".join(texts)
    lines = re.findall(r"^python -m bench ([^#\n]+)", text, re.MULTILINE)
    lines += re.findall(r"`python -m bench ([^`]+)`", text)
    places = {
        "KODAK_FOLDER": folder,
        "FOLDER": folder,
        "PICTURE": folder / "0.png",
        "FILE": folder / "0.png",
    }
    places["runs/kodak/results.json"] = folder / "notes.txt"

    assert len(lines) >= 20
    for line in lines:
        name, *arguments = [str(places.get(word, word)) for word in line.split()]
        main.commands[name].make_context(name, arguments)


def test_rd_wants_either_images_or_results(folder):
    assert call().exit_code == 2
    assert call("--images", folder, "--from", __file__).exit_code == 2


def test_rd_refuses_unknown_codecs(folder):
    result = call("--images", folder, "--codecs", "jpg")

    assert result.exit_code == 1
    assert "jpg" in result.output


def test_rd_refuses_unknown_models(folder, tmp_path):
    result = call("--images", folder, "--codecs", "vqc", "--model", "none", "--out", tmp_path)

    assert result.exit_code == 1
    assert "'none'" in result.output


def test_the_published_curves_are_shown_with_the_pictures_that_they_are_of(
    folder, tmp_path, monkeypatch
):
    found = pictures.find([folder])
    options = rd.Options((folder,), tmp_path)

    assert rd._published(options, found) == []
    monkeypatch.setattr(rd, "KODAK", pictures.content(found))
    names = [curve.codec.removesuffix(" (published)") for curve in rd._published(options, found)]
    assert names == ["BPG 4:4:4", "hyperprior", "mbt2018-mean", "cheng2020", "VTM"]


def test_published_curves_are_curves_with_sources():
    for found in curves.published(rd.PUBLISHED):
        assert found.is_published
        assert (np.diff(found.bpp) > 0).all()
        assert (np.diff(found.psnr) > 0).all()
        assert (np.diff(found.ms_ssim) > 0).all()
        assert "commit" in found.description


def test_the_first_effort_is_the_one_that_is_compared(tmp_path):
    options = rd.Options((tmp_path,), tmp_path, efforts=(4, 1, 4, 0))

    assert [encoder.name for encoder in options.encoders] == ["vqc-e4", "vqc-e1", "vqc"]
    assert "--effort 1" in " ".join(options.encoders[1].arguments)
    assert [e.name for e in rd.Options((tmp_path,), tmp_path).encoders] == ["vqc"]
    assert "--effort" not in Encoder().arguments


def test_another_model_is_another_description(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    same = Encoder(str(copy)).description
    (copy / "CARD.md").write_text("about it")

    assert Encoder(str(model_folder)).description == same == Encoder(str(copy)).description
    with (copy / "config.json").open("a") as file:
        file.write(" ")
    assert Encoder(str(copy)).description != same


def test_a_later_second_decoder_is_another_description(tmp_path, monkeypatch):
    """Of a shipped model, the default one as well; a folder has its own."""
    models, later = ("", shipped.default_name()), tmp_path / "realism.safetensors"
    before = [Encoder(model).description for model in models]
    later.write_bytes(b"later")
    monkeypatch.setattr(shipped, "realism_file", lambda name: later)
    after = [Encoder(model).description for model in models]

    assert after[0] != before[0]
    assert after[1] != before[1]


@pytest.mark.slow
def test_rd_of_ours_goes_through_files_of_the_command_line_and_on_where_it_was(
    folder, model_folder, tmp_path, plotting, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small pictures: threads only wait
    options = rd.Options(
        (folder, folder), tmp_path, str(model_folder), ("vqc", "jpeg"), qualities=(40.0,), jobs=1
    )

    rd.run(options)

    content = json.loads((tmp_path / "results.json").read_text("utf-8"))
    with (tmp_path / "details.csv").open(encoding="utf-8") as file:
        details = [row for row in csv.DictReader(file) if row["codec"] == "vqc"]
    encoder, found = Encoder(str(model_folder)), pictures.find(options.folders)
    files = ours.files(encoder, 40.0, found, tmp_path)
    assert [entry["name"] for entry in content["codecs"]] == ["vqc", "jpeg"]
    assert content["meta"]["model_id"] == ours.model_id(files[0])
    assert [int(row["bytes"]) for row in details] == [file.stat().st_size for file in files]
    assert content["codecs"][0]["results"].keys() == {"bpp", "bpp-total", "psnr-rgb", "quality"}
    report = (tmp_path / "report.html").read_text("utf-8")
    assert "vqcodec -q 40" in report
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', report) == []  # one file
    assert "<script" not in report
    assert len(content["crops"]) == 2

    rd.redraw(tmp_path / "results.json", tmp_path / "again", {})
    assert report.count("<img") == (tmp_path / "again" / "report.html").read_text().count("<img")

    monkeypatch.setattr(ours, "run", None)  # now nothing is run
    again = ours.points(encoder, found, (40.0,), tmp_path, Figures())
    assert [point.size for point in again] == [int(row["bytes"]) for row in details]


def test_files_of_another_model_are_removed(folder, tmp_path, monkeypatch):
    found = pictures.find([folder])
    monkeypatch.setattr(Encoder, "description", "first")
    ours._stage(Encoder(), found, tmp_path)
    (file,) = ours.files(Encoder(), 40.0, found[:1], tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"coded")

    ours._stage(Encoder(), found, tmp_path)
    assert file.exists()
    monkeypatch.setattr(Encoder, "description", "second")
    ours._stage(Encoder(), found, tmp_path)
    assert not file.exists()


def test_identity_finds_no_difference_in_any_way(model_folder, tmp_path, capsys):
    Image.fromarray(smooth_picture(60, 140)).save(tmp_path / "small.png")

    assert identity.run(tmp_path, str(model_folder), [30.0]) == 0

    lines = capsys.readouterr().out.splitlines()
    onnx = ways.Way(ways.ONNX) in ways.ways()
    assert len(lines) == 2 + len(ways.ways()) + onnx
    assert {line.split()[-1] for line in lines[1:-1]} == {"0"}
    assert lines[-1].startswith("0 tiles differ ")


def test_identity_counts_tiles_that_differ(codec, monkeypatch):
    rgb = smooth_picture(60, 140)
    prior = codec.engine.network.prior
    step = prior.step

    def wrong(index, h, known, levels, tables, checkpointing):
        h, expected = step(index, h, known, levels, tables, checkpointing)
        return h, expected._replace(mean=expected.mean + (len(levels) > 1))

    monkeypatch.setattr(prior, "step", wrong)
    assert identity.differing_in_a_batch(codec, rgb, 50) == identity.BATCH
    monkeypatch.undo()
    assert identity.differing_in_a_batch(codec, rgb, 50) == 0
    monkeypatch.setattr(codec.engine.tiles, "decode", lambda *_: SimpleNamespace(indices=None))
    assert identity.differing_backwards(codec, rgb, 50) == 3


def test_identity_counts_a_file_with_another_index(folder, codec):
    files = identity.encode_all(codec, folder, [30.0])
    files[1].indices.indices[0, 0, 0] += 1

    assert identity.differing(codec.model, ways.ways()[0], files) == files[1:]


@pytest.mark.parametrize("name", ways.SWITCHES)
def test_a_switch_is_on_in_the_block_only(name):
    def precision():
        owners = torch.backends, torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul
        settings = [owner.fp32_precision.replace("ieee", "none") for owner in owners]
        return *settings, torch.backends.mkldnn.enabled, torch.get_default_dtype()

    before = precision()
    with ways.switched(ways.Way("cpu", switch=name)):
        assert precision() != before
    assert precision() == before


def test_overhead_is_a_few_bytes_and_a_fraction_of_a_percent(folder, model_folder, codec, capsys):
    overhead.run(folder, str(model_folder), [80.0])
    costs = overhead._costs(codec, folder / "0.png", 80.0)

    assert "over entropy" in capsys.readouterr().out
    assert costs.size == costs.others + costs.words
    assert costs.others <= 32
    assert costs.entropy <= 8 * costs.words <= costs.entropy + 2 * 64


@pytest.mark.parametrize("device", ["cpu", "onnx"])
def test_the_split_of_the_time_adds_up_and_leaves_the_codec_as_it_was(
    model_folder, picture, device
):
    codec = Codec.load(model_folder, device)
    before = codec.encode(picture, 50, effort=1)

    found = speed.split(codec, lambda: codec.encode(picture, 50, effort=1), runs=1)

    assert found.keys() == set(speed.PARTS)
    assert sum(found[part] for part in speed.PARTS[1:]) == pytest.approx(found["total"])
    assert min(found.values()) > 0
    assert "analyse" not in vars(codec.engine)
    assert codec.encode(picture, 50, effort=1) == before


# Speed


def test_products_are_counted_where_they_are_made():
    network = hyperprior.load().network
    x = torch.rand(1, 3, 64, 128)

    with torch.inference_mode():
        products = work.record(network, lambda: network.g_a(x))

    # 5x5 convolutions of stride 2, and a matrix of N x N for each GDN
    n, m, taps = hyperprior.N, hyperprior.M, 25
    expected = [3 * n * taps / 4, n * n / 4, n * n * taps / 16, n * n / 16]
    expected += [n * n * taps / 64, n * n / 64, n * m * taps / 256]
    assert [product.macs / (64 * 128) for product in products] == expected
    assert [product.module for product in products] == [f"g_a.{n}" for n in range(7)]
    assert work.by_module(products, 64 * 128)["g_a.0"] == pytest.approx(2.4)
    assert not network.g_a._forward_hooks


def test_transposed_convolutions_count_as_much_as_those_that_they_undo():
    layer = torch.nn.ConvTranspose2d(4, 3, 2, stride=2)
    network = torch.nn.Sequential(layer)

    (product,) = work.record(network, lambda: network(torch.rand(1, 4, 5, 6)))

    assert product.macs == 5 * 6 * 4 * 3 * 4


@torch.no_grad()
def test_convolutions_count_as_much_where_they_do_more(monkeypatch):
    """Those with ReLU or addition, which are other functions of torch."""
    network, x = torch.nn.Sequential(blocks.Residual(16)), torch.rand(1, 16, 8, 8)
    counts = []
    for fuses in (True, False):
        monkeypatch.setattr(blocks, "can_fuse", lambda *_, fuses=fuses: fuses)
        counts.append([p.macs for p in work.record(network, lambda: network(x))])

    assert counts[0] == counts[1] == [64 * n for n in (256, 144, 256, 512, 512)]


def test_the_products_of_a_codec_are_those_of_its_transforms(codec, picture):
    network, data = codec.engine.network, codec.encode(picture, effort=1)
    encoder = work.alone(network, "analyse", lambda: codec.encode(picture, effort=1))
    decoder = work.alone(network, "synthesise", lambda: codec.decode(data))

    found = [
        work.by_module(work.record(network, call), picture.shape[0] * picture.shape[1])
        for call in (encoder, decoder, lambda: codec.read_indices(data))
    ]

    config = codec.model.config.transform
    coded = codec.model.config.coded_channels(container.unpack(data).header.level)
    linear = coded * 3 / 1e3  # kMAC: a 16x16 block of RGB for each latent
    assert found[0]["linear"] == found[1]["decoder"] == pytest.approx(linear)
    assert found[0]["encoder.stem"] == pytest.approx(3 * config.fine_width / 1e3)
    assert {name.split(".")[0] for name in found[2]} == {"prior"}
    assert "analyse" not in vars(network)


def test_the_use_of_the_machine_adds_up():
    network = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 1))
    x = torch.rand(1, 64, 64, 64)

    found = work.use(network, lambda: network(x), peak=1, runs=3)
    slow = work.use(network, lambda: network(x), peak=1e30, runs=3)

    assert 0 < found.products <= 1
    assert found.near_peak == found.products
    assert found.rate == pytest.approx(64**4 / (found.products * found.seconds), rel=0.01)
    assert slow.near_peak == 0


@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last"])
def test_the_hyperprior_takes_any_size_and_gives_pixels(memory_format):
    network = hyperprior.load(memory_format)
    rgb = smooth_picture(60, 70)
    coded = network.encode(rgb)

    assert coded["y"].shape == (1, 192, 4, 8)
    assert coded["z"].shape == (1, 128, 1, 2)
    assert network.decode(coded).shape == (64, 128, 3)
    assert network.decode(coded).dtype == np.uint8


def test_the_hyperprior_is_that_of_compressai_where_there_is_one(monkeypatch):
    made = []

    class Model(hyperprior.Layers):
        def update(self, force):
            made.append(force)

    def build(quality, metric, pretrained):
        made.append((quality, pretrained))
        return Model()

    zoo = ModuleType("compressai.zoo")
    zoo.bmshj2018_hyperprior = build
    monkeypatch.setitem(sys.modules, "compressai", ModuleType("compressai"))
    monkeypatch.setitem(sys.modules, "compressai.zoo", zoo)

    found = hyperprior.load.__wrapped__()

    assert found.what.startswith("CompressAI's")
    assert made == [(5, False), True]


def test_pictures_are_resized_by_cutting_and_mirrors(picture):
    small, large = speed.resized(picture, 0.004), speed.resized(picture, 0.02)

    assert small.shape[0] * small.shape[1] == pytest.approx(4000, rel=0.02)
    assert np.array_equal(small, picture[: small.shape[0], : small.shape[1]])
    assert large.shape[0] * large.shape[1] == pytest.approx(20000, rel=0.02)
    assert np.array_equal(large[80], large[79])


def test_the_jpeg_2000_of_a_size_has_nearly_this_size(picture):
    quality = coders.quality_near("jp2", picture, 2000)
    data = coders.load("jp2", quality).encode(picture)

    assert len(data) == pytest.approx(2000, rel=0.2)
    assert coders.load("jp2").decode(data).shape == picture.shape


def test_threads_are_set_for_the_block_only():
    before = torch.get_num_threads(), AvifImagePlugin.DEFAULT_MAX_THREADS
    with coders.threads(3):
        assert torch.get_num_threads() == AvifImagePlugin.DEFAULT_MAX_THREADS == 3
    assert (torch.get_num_threads(), AvifImagePlugin.DEFAULT_MAX_THREADS) == before


def test_encoders_together_are_compared_with_one_alone(model_folder, monkeypatch, capsys):
    started = []

    def measure(commands):
        started.append([command[-1] for command in commands])
        return [Used(2.0 + len(commands), len(commands), 1.0, 0) for _ in commands]

    monkeypatch.setattr(together, "measure_together", measure)
    together.run(smooth_picture(8, 8), str(model_folder), 50, "cpu", 1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert [len(set(own)) for own in started] == [1, 2, 1, 2]
    assert rows[1:3] == [["1", "3.00", "1.00"], ["2", "4.00", "2.00"]]
    assert rows[3][3:] == ["1.33", "x", "2.00", "x"]


def test_slow_work_is_run_less_often(monkeypatch):
    calls = []
    monkeypatch.setattr(speed, "PATIENCE", 0)
    speed.median_seconds(lambda: calls.append(0), 50)

    assert len(calls) == 1 + speed.LEAST_RUNS


@pytest.mark.slow
@pytest.mark.skipif(not peak.is_known(), reason="reads Linux's /proc")
def test_peak_memory_is_that_of_the_work():
    rgb = np.zeros((2000, 3000, 3), np.uint8)

    encode, decode = peak.measure("jpeg", rgb, 50, coders.Ours(), 1)

    assert 2e7 < encode.before < encode.peak < 3e8
    assert decode.peak - decode.before >= rgb.nbytes  # the picture that it makes


@pytest.mark.slow
@pytest.mark.parametrize(("device", "engine"), [("cpu", "torch"), ("onnx", "ONNX Runtime")])
def test_speed_prints_all_its_tables(model_folder, tmp_path, monkeypatch, device, engine):
    run_without_processes(monkeypatch)
    for seed in range(2):
        Image.fromarray(smooth_picture(60, 70, seed)).save(tmp_path / f"{seed}.png")
    monkeypatch.setattr(coders, "PILLOW", {"jpeg": ("jpeg", {}), "avif-s6": ("avif", {})})
    images = [str(tmp_path / f"{seed}.png") for seed in range(2)]
    options = ["--model", model_folder, "--threads", "1,2", "--sizes", "0.01,0.02", "--runs", 1]

    rest = "--processes", "1", "--no-memory"

    result = CliRunner().invoke(
        main,
        ["speed", *images, *map(str, options), "--device", device, *rest],
    )

    assert result.exit_code == 0, result.output
    found = result.output
    assert found.startswith("2 pictures, 0.01 MP, ")
    assert "the published layers in plain torch" in found or "CompressAI's" in found
    assert f"ours computes with {engine}\n" in found
    for title in ("1 thread:", "2 threads:", "scaling with size", "whole proc"):
        assert title in found
    assert ("multiplications" in found) == (device == "cpu")
    rows = [line.split() for line in found.splitlines() if line]
    measured = [row[0] for row in rows if row[1:2] == ["decode"] and row[0] != "vqcodec"]
    assert measured == [ours.CODEC, "hyperprior", "hyperprior-cl", "jpeg", "avif-s6"] * 2


@pytest.mark.slow
def test_sizes_have_a_row_for_each_codec_in_a_process_of_its_own(model_folder, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    devices, peers = ("onnx",), ("webp", "none of ours")
    picture = smooth_picture(60, 70)
    sizes.run(sizes.Options(picture, (0.01, 0.02), (str(model_folder),), devices, peers=peers))

    _, *lines = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == ["0.01", "0.01", "0.02", "0.02"]
    assert [row[1].rstrip(",") for row in rows] == [model_folder.name, "webp"] * 2
    for row in rows:
        seconds = [float(cell) for cell in (row[-6], row[-3])]
        assert all(0 <= own < 30 for own in seconds)
        assert 0.01 < float(row[-7]) < 24  # bits per pixel


def test_precise_tells_what_bfloat16_moves(model_folder, tmp_path, capsys, monkeypatch):
    Image.fromarray(smooth_picture(60, 70)).save(tmp_path / "a.png")
    monkeypatch.setattr(runtime, "fast_type", lambda device: torch.bfloat16)
    precise.run(tmp_path, str(model_folder), [50, 100])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()][1:]
    assert [row[0] for row in rows] == ["50", "100"]
    for _, mean, worst, largest, one, *_ in rows:
        assert abs(float(mean)) == abs(float(worst)) < 0.05
        assert int(largest) in (1, 2)
        assert 0 < float(one) < 0.5


def test_damage_compares_what_a_lost_tile_is_filled_with(model_folder, tmp_path, capsys):
    Image.fromarray(smooth_picture(260, 300)).save(tmp_path / "a.png")
    damage.run(tmp_path, str(model_folder), 50, 1)
    lines = capsys.readouterr().out.splitlines()

    assert [line.split("  ")[0] for line in lines[1:-1]] == list(damage.METHODS)
    assert lines[-1].startswith("1 tiles; the other 15 are ")


@pytest.mark.parametrize("smooth", [False, True])
def test_a_lost_tile_of_a_flat_picture_is_copied_flat(smooth):
    rgb = np.full((64, 64, 3), 77, np.uint8)
    rgb[16:32, 16:32] = 0

    assert (damage.copies(rgb, np.s_[16:32, 16:32], smooth) == 77).all()


def test_damage_needs_a_picture_of_16_tiles():
    with pytest.raises(ValueError, match="expected 256 pixels"):
        damage.crop(np.zeros((100, 300, 3), np.uint8))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux")
def test_leak_prints_memory_at_several_times(model_folder, capsys, monkeypatch):
    monkeypatch.setattr(leak, "WARM_UP", 1)
    leak.run(str(model_folder), 8)
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == leak.MARKS + 2
    assert all(float(line.split()[1]) > 50 for line in lines[1:])
