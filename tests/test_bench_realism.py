"""The benchmarks of the realism dial, on a few made-up pictures with a tiny model."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench import kid, ours, peers, pictures, rd, realism, results
from bench.__main__ import main
from bench.ours import Encoder
from bench.realism import Row
from conftest import smooth_picture
from test_bench import run_without_processes
from vqcodec import metrics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "waves"
    path.mkdir()
    for seed in range(2):
        Image.fromarray(smooth_picture(144, 208, seed)).save(path / f"{seed}.png")
    return path


# KID


def test_patches_are_cut_from_the_top_left():
    rgb = smooth_picture(150, 200)
    found = kid.patches(rgb)

    assert found.shape == (6, 64, 64, 3)
    np.testing.assert_array_equal(found[4], rgb[64:128, 64:128])
    assert kid.patches(rgb[:50]).shape == (0, 64, 64, 3)


def test_kid_is_the_mean_of_the_kernel_over_different_places(monkeypatch):
    monkeypatch.setattr(metrics, "KERNEL_ROWS", 3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 5))
    y += 0.5
    square = np.square(x).mean()

    def kernel(a, b):
        return (a @ b / square / 5 + 1) ** 3

    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    terms = [
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
        for i, j in pairs
    ]
    assert metrics.kid(x, y) == pytest.approx(np.mean(terms))
    assert metrics.kid(x, x) == pytest.approx(0, abs=1e-12)
    assert metrics.kid(9 * x, 9 * y) == pytest.approx(metrics.kid(x, y))
    assert math.isnan(metrics.kid(x[:1], y[:1]))


def test_kid_of_files_is_kept(folder, tmp_path, lpips_weights, model_folder, monkeypatch):
    found, encoder = pictures.find([folder]), Encoder(str(model_folder))
    originals = [pictures.load(picture) for picture in found]
    flat = [np.full_like(rgb, 128) for rgb in originals]
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(
        ours, "decode", lambda _, files: flat if "/9/" in files[0].as_posix() else originals
    )
    asked = encoder, found, [5.0, 9.0], tmp_path, str(lpips_weights)
    same, other = kid.of_files(*asked)
    monkeypatch.setattr(ours, "decode", None)

    assert same == pytest.approx(0, abs=1e-9)
    assert other > 0.001
    assert kid.of_files(*asked) == [same, other]


# rd


def test_each_realism_is_a_curve_of_the_same_files(tmp_path):
    options = rd.Options((tmp_path,), tmp_path, efforts=(4, 1), realisms=(1, 0, 0.5))
    first, half, full, other = options.encoders

    assert [e.name for e in options.encoders] == ["vqc-e4", "vqc-e4-r0.5", "vqc-e4-r1", "vqc-e1"]
    assert half.label == "vqcodec effort 4 realism 0.5"
    assert half.writer == full.writer == first != other.writer
    assert half.arguments == first.arguments
    picture = pictures.Picture(tmp_path, "a", "0")
    assert ours.files(full, 5, [picture], tmp_path) == ours.files(first, 5, [picture], tmp_path)
    with pytest.raises(ValueError, match="realisms are"):
        rd.Options((tmp_path,), tmp_path, realisms=(2.0,))


@pytest.mark.slow
def test_rd_shows_realism_by_its_figures_and_crops(
    folder, two_folder, lpips_weights, tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib")
    pytest.importorskip("bjontegaard")
    run_without_processes(monkeypatch)
    monkeypatch.setenv("VQCODEC_REALISM", "0.3")  # of the user; the benchmark says its own
    line = ["rd", "--images", folder, "--model", two_folder, "--codecs", "vqc", "--out", tmp_path]
    line += ["--qualities", "30", "--realism", "0,1", "--lpips", lpips_weights]
    line += ["--measures", "lpips", "-j", 1]

    result = CliRunner().invoke(main, list(map(str, line)))

    assert result.exit_code == 0, result.output
    first, full = results.read(tmp_path / "results.json").curves
    assert (first.codec, full.codec) == ("vqc", "vqc-r1")
    assert first.bpp == full.bpp
    assert first.psnr > full.psnr
    assert first.has("kid")
    assert full.has("kid")
    content = json.loads((tmp_path / "results.json").read_text("utf-8"))
    labels = [version["label"] for version in content["crops"][0]["versions"]]
    assert labels[:3] == ["original", "vqcodec -q 30", "vqcodec realism 1 -q 30"]
    assert "KID" in (tmp_path / "report.html").read_text("utf-8")


# The table of the dial


def row(label, lpips, psnr, kid_, shift=0.5):
    # Realism 1 is better by the judge as it is by its teacher, and repeats as much as it is worse.
    figures = {"lpips": lpips, "st_lpips": 2 * lpips, "butteraugli_3": 32 - psnr / 15}
    figures |= {"repeats_8": 1 + (30 - psnr) / 15, "repeats_16": 1}
    return Row(label, 0.2, psnr, lpips, kid_, shift, shift, figures)


def rows_of(lpips, psnr, kid_, shift=0.5):
    """A dial from 0.3, 30 dB and 1 to the given figures, in even steps, and peers at 0.25."""
    found = {}
    for step in realism.STEPS:
        for blend in ("weights", "pixels"):
            label = realism.label(step, blend)
            part = (0.3 + step * (lpips - 0.3), 30 + step * (psnr - 30), 1 + step * (kid_ - 1))
            found[label] = row(label, *part, shift)
    for name in realism.PEERS:
        label = peers.PEERS[name].label
        found[label] = row(label, 0.25, 30, 1)
    return found


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        ((0.2, 29, 0.5), ""),
        ((0.24, 29, 0.5), "LPIPS, the teacher's, at least 25% below realism 0: 20.0%"),
        ((0.2, 29, 0.8), "KID at least 30% below realism 0: 20.0%"),
        ((0.2, 28, 0.5), "PSNR at most 1.5 dB below realism 0: 2.00"),
        ((0.2, 31, 0.5), "PSNR falls along the dial"),
        ((0.2, 28, 0.5), "repeats each 8 pixels within 10% of the original: 1.133"),
        ((0.31, 29, 0.5), "LPIPS falls along the dial"),
        ((0.26, 29, 0.5), "ST-LPIPS, the judge's, below AVIF: 0.5200, 0.5000"),
        ((0.2, 29, 0.5, 1.2), "colours within 1 of the original: 1.20"),
    ],
)
def test_what_is_missed_is_said(figures, missed):
    if not all(peers.available([name]) for name in realism.PEERS):
        pytest.skip("not in this Pillow")
    found = [text for text, is_met in realism._checks(rows_of(*figures)) if not is_met]

    assert any(text.startswith(missed) for text in found) if missed else not found


def test_peers_get_their_largest_file_that_fits(picture, tmp_path):
    entry = pictures.Picture(tmp_path, "a", "a")
    sizes = [len(peers.encode("webp", picture, quality)) for quality in range(101)]

    found = realism._peer("webp", entry, picture, sizes[60], tmp_path)
    assert sizes[60] - 40 <= len(found) <= sizes[60]
    assert len(realism._peer("webp", entry, picture, 10, tmp_path)) == sizes[0]


def test_the_table_is_printed_and_files_are_kept(
    folder, two_folder, lpips_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr(realism, "PEERS", ("webp",))
    line = ["realism", "--images", folder, "--model", two_folder, "--lpips", lpips_weights]
    line += ["--out", tmp_path, "--rates", "2,0.0001", "--effort", "1", "--measures", "squares"]
    line += ["-j", 1]

    result = CliRunner().invoke(main, list(map(str, line)))

    assert result.exit_code == 0, result.output
    lines = [text.split("  ")[0] for text in result.output.splitlines()]
    ways = ["0", "0.25, weights", "0.5, weights", "0.75, weights", "1"]
    ways += ["0.25, pixels", "0.5, pixels", "0.75, pixels", "WebP"]
    assert [text for text in lines if text in ways] == 2 * ways
    assert "2 pictures at 2 bpp" in result.output
    assert "smallest file fits: vqcodec on 2" in result.output
    assert "squares of colour" in result.output
    assert "ratio" in result.output
    for module, name in ((peers, "encode"), (realism, "targets")):
        monkeypatch.setattr(module, name, None)  # now nothing is encoded
    assert CliRunner().invoke(main, list(map(str, line))).exit_code == 0


def test_realism_needs_a_model_with_two_decoders(folder, model_folder, lpips_weights, tmp_path):
    line = ["realism", "--images", folder, "--model", model_folder, "--lpips", lpips_weights]

    result = CliRunner().invoke(main, list(map(str, [*line, "--out", tmp_path])))

    assert result.exit_code == 1
    assert "no realism decoder" in result.output
