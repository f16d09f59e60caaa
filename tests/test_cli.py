"""The command line: targets, reports, one line and one exit code for every failure."""

import io
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageCms

from conftest import pretend_installed
from vqcodec.bitstream.container import Chunk, pack, unpack
from vqcodec.cli import console, main
from vqcodec.codec import Codec
from vqcodec.compare import captions
from vqcodec.errors import CorruptError, InputError, OutputError
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata
from vqcodec.zoo import shipped

ROOT = Path(__file__).parents[1]
PRECIOUS = b"what was there before"


@pytest.fixture(scope="module")
def coded(codec) -> bytes:
    """A .vqc file of 48x32 pixels."""
    return codec.encode(np.full((32, 48, 3), 90, np.uint8))


@pytest.fixture
def folder(tmp_path, monkeypatch, coded, picture) -> Path:
    """The working folder: pictures, files that are none, and damaged ones."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("a.png")
    Image.fromarray(picture[:40]).save("b.jpg")
    Path("text.png").write_text("not a picture")
    Path("folder").mkdir()
    Path("good.vqc").write_bytes(coded)
    Path("cut.vqc").write_bytes(coded[:-9])
    Path("damaged.vqc").write_bytes(coded[:-1] + bytes([coded[-1] ^ 1]))
    Path("foreign.vqc").write_bytes(Path("a.png").read_bytes())
    Path("kept.vqc").write_bytes(PRECIOUS)
    Path("kept.png").write_bytes(PRECIOUS)
    return tmp_path


@pytest.fixture
def nothing_installed(monkeypatch):
    pretend_installed(monkeypatch)


def call(*args: object, data: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def coding(model_folder):
    """Call a command with the tests' model."""
    return lambda command, *args, data=None: call(
        command, *args, "--model", model_folder, data=data
    )


def image(path: str) -> tuple[str, tuple[int, int]]:
    """Format and size of an image file."""
    with Image.open(path) as opened:
        return opened.format, opened.size


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# Encoding and decoding


def test_encode_puts_the_file_beside_its_source_and_says_so(folder, coding):
    result = coding("encode", "a.png")

    size = len(Path("a.vqc").read_bytes())
    figures = (
        f"{captions.spaced(size)} B, {8 * size / 8960:.3f} bpp, {captions.ratio(8960, size)}, "
    )
    assert result.stdout.startswith(f"a.png 112x80 -> a.vqc {figures}")
    assert result.stdout.endswith(" MP/s\n")
    assert result.stderr == ""


def test_decode_undoes_encode(folder, coding, codec):
    assert coding("encode", "a.png", "-o", "x.vqc", "-q", "70").exit_code == 0
    assert coding("decode", "x.vqc").stdout.count("x.png 112x80") == 1

    expected = np.asarray(codec.decode(codec.encode("a.png", 70)))
    with Image.open("x.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), expected)


def test_several_files_go_to_a_folder(folder, coding):
    assert coding("encode", "a.png", "b.jpg", "-o", "folder").exit_code == 0
    assert coding("decode", "folder/a.vqc", "folder/b.vqc", "-o", "new/").exit_code == 0

    assert image("new/a.png") == ("PNG", (112, 80))
    assert image("new/b.png") == ("PNG", (112, 40))


def test_the_extension_or_format_decides_what_decode_writes(folder, coding):
    coding("decode", "good.vqc", "-o", "x.webp")
    coding("decode", "good.vqc", "--format", "bmp")
    coding("decode", "good.vqc", "-o", "odd.name", "--format", "jpeg")

    assert image("x.webp")[0] == "WEBP"
    assert image("good.bmp")[0] == "BMP"
    assert image("odd.name")[0] == "JPEG"


def test_streams_carry_data_on_stdout_and_the_report_on_stderr(folder, coding):
    result = coding("encode", "-", data=Path("a.png").read_bytes())
    decoded = coding("decode", "-", "-o", "-", data=result.stdout_bytes)
    as_bmp = coding("decode", "-", "--format", "bmp", data=result.stdout_bytes)

    assert unpack(result.stdout_bytes).header.width == 112
    assert result.stderr.startswith("stdin 112x80 -> stdout ")
    assert Image.open(io.BytesIO(decoded.stdout_bytes)).format == "PNG"
    assert Image.open(io.BytesIO(as_bmp.stdout_bytes)).format == "BMP"


def test_notices_are_told_on_stderr(folder, coding, picture):
    Image.fromarray(picture).convert("CMYK").save("print.jpg")

    assert coding("encode", "print.jpg").stderr == "print.jpg: CMYK converted to RGB\n"


@pytest.fixture
def alpha(folder, picture) -> np.ndarray:
    """uint8 [H, W], the alpha of alpha.png."""
    Image.fromarray(np.dstack([picture, picture[..., 0]])).save("alpha.png")
    return picture[..., 0]


def test_alpha_goes_through_files_into_images(folder, coding, alpha):
    encoded = coding("encode", "alpha.png")
    decoded = (
        coding("decode", "alpha.vqc", "-o", "x.png"),
        coding("decode", "alpha.vqc", "-o", "x.webp"),
    )

    assert encoded.stderr == decoded[0].stderr == decoded[1].stderr == ""
    for path in ("x.png", "x.webp"):
        assert np.array_equal(pixels.load(path).alpha, alpha)


def test_decoding_alpha_to_jpeg_drops_it_with_a_notice(folder, coding, alpha):
    coding("encode", "alpha.png")
    result = coding("decode", "alpha.vqc", "-o", "x.jpg")

    assert result.stderr == "alpha.vqc: alpha dropped: JPEG cannot hold it\n"
    assert image("x.jpg") == ("JPEG", (112, 80))


def test_alpha_can_be_dropped_or_blended(folder, coding, alpha, picture):
    ground = Image.new("RGBA", (112, 80), "#336699")
    ground.alpha_composite(Image.open("alpha.png"))
    ground.convert("RGB").save("ground.png")
    for name in ("a.png", "ground.png"):
        coding("encode", name)
    coding("encode", "alpha.png", "--alpha", "drop", "-o", "drop.vqc")
    coding("encode", "alpha.png", "--alpha", "blend:#336699", "-o", "blend.vqc")
    coding("encode", "alpha.png", "--alpha", "blend:white", "-o", "white.vqc")
    coding("encode", "a.png", "--alpha", "blend:white", "-o", "opaque.vqc")

    files = {path.stem: path.read_bytes() for path in folder.glob("*.vqc")}
    assert files["drop"] == files["opaque"] == files["a"]
    assert files["white"] != files["blend"]
    assert not unpack(files["blend"]).chunks
    coding("decode", "blend.vqc", "ground.vqc", "-o", "new/")
    found, expected = (pixels.load(f"new/{name}.png").rgb for name in ("blend", "ground"))
    assert np.abs(found.astype(int) - expected).mean() < 2  # the two round in their own ways


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("target", ["x.png", "x.tif", "x.ppm"])
def test_grey_is_decoded_to_grey_files(folder, coding, codec, picture, target, alpha):
    mode = "LA" if alpha and target != "x.ppm" else "L"
    source = Image.fromarray(picture[..., 0])
    if alpha:
        source.putalpha(Image.fromarray(picture[..., 1]))
    source.save("grey.png")
    coding("encode", "grey.png")
    assert coding("decode", "grey.vqc", "-o", target).exit_code == 0

    expected = codec.decode(Path("grey.vqc").read_bytes())
    with Image.open(target) as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image), np.asarray(expected.convert(mode)))


def test_the_distance_of_a_grey_file_to_its_source_is_measured(folder, coding, picture):
    Image.fromarray(picture[..., 0]).save("grey.png")
    coding("encode", "grey.png")
    found = coding("verify", "grey.vqc", "--against", "grey.png", "--json").stdout

    assert json.loads(call("info", "grey.vqc", "--json").stdout)["mode"] == "L"
    assert json.loads(found)["psnr"] > 20


def test_info_lists_alpha_and_metadata(folder, coding, alpha):
    coding("encode", "alpha.png")

    assert "chunks    ALPH " in call("info", "alpha.vqc").stdout


@pytest.fixture
def metadata() -> Metadata:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Metadata(profile, b"MM\0*\0\0\0\x08\0\0\0\0\0\0", b"<x:xmpmeta/>")


def write_jpeg(path: str, picture: np.ndarray, metadata: Metadata) -> None:
    pixels.save(pixels.Picture(picture, None, metadata), path)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_metadata_goes_through_files_into_images(folder, coding, picture, metadata, format):
    write_jpeg("m.jpg", picture, metadata)
    encoded = coding("encode", "m.jpg")
    decoded = coding("decode", "m.vqc", "--format", format)

    assert (encoded.stderr, decoded.stderr) == ("", "")
    assert pixels.load(f"m.{format}").metadata == metadata


@pytest.mark.parametrize(
    ("strip", "kept"),
    [
        (["exif"], ["icc", "xmp"]),
        (["icc", "xmp"], ["exif"]),
        (["all"], []),
        (["all", "exif"], []),
    ],
)
def test_metadata_can_be_stripped(folder, coding, picture, metadata, strip, kept):
    write_jpeg("m.jpg", picture, metadata)
    coding("encode", "m.jpg", *(word for kind in strip for word in ("--strip", kind)))
    coding("decode", "m.vqc")

    expected = metadata.without(set(Metadata._fields) - set(kept))
    assert pixels.load("m.png").metadata == expected


def test_a_stripped_file_is_the_one_of_the_bare_pixels(folder, coding, picture, metadata):
    write_jpeg("m.jpg", picture, metadata)
    pixels.save(pixels.load("m.jpg").rgb, "bare.png")
    coding("encode", "m.jpg", "--strip", "all")
    coding("encode", "bare.png")

    assert Path("m.vqc").read_bytes() == Path("bare.vqc").read_bytes()


def test_decode_names_the_metadata_that_the_format_does_not_take(folder, coding, picture, metadata):
    write_jpeg("m.jpg", picture, metadata)
    coding("encode", "m.jpg")
    result = coding("decode", "m.vqc", "-o", "m.bmp")

    assert result.stderr == "m.vqc: ICC, EXIF, XMP dropped: BMP cannot hold it\n"


def test_quiet_says_nothing_and_verbose_more(folder, coding):
    quiet = coding("encode", "a.png", "-Q")
    verbose = coding("encode", "a.png", "-f", "-v")

    assert quiet.output == ""
    assert " coarse + " in verbose.stdout.splitlines()[1]


def test_force_overwrites(folder, coding):
    assert coding("encode", "a.png", "-o", "kept.vqc", "-f").exit_code == 0
    assert coding("decode", "good.vqc", "-o", "kept.png", "-f").exit_code == 0

    assert unpack(Path("kept.vqc").read_bytes()).header.width == 112
    assert image("kept.png")[1] == (48, 32)


def test_options_are_read_from_the_environment(folder, coding, monkeypatch):
    coding("encode", "a.png", "-q", "0", "-o", "small.vqc")
    monkeypatch.setenv("VQCODEC_ENCODE_QUALITY", "0")
    coding("encode", "a.png")

    assert Path("a.vqc").read_bytes() == Path("small.vqc").read_bytes()


def test_decode_finds_the_model_that_the_file_names(folder, installed):
    result = call("decode", "good.vqc", "-v")

    assert result.exit_code == 0
    assert "model random, level" in result.stdout


def test_encode_takes_an_installed_model_by_name_and_by_default(folder, installed):
    assert call("encode", "a.png", "--model", "random").exit_code == 0
    assert call("encode", "a.png", "-o", "b.vqc").exit_code == 0

    assert Path("a.vqc").read_bytes() == Path("b.vqc").read_bytes()


# Failures


LONG = "n" * 300
FAILURES = {
    "text": ("encode text.png", 3, "text.png: input is not an image"),
    "directory": ("encode folder", 3, "folder: is a directory"),
    "missing": ("encode none.png", 3, "none.png: cannot be read: No such file"),
    "nothing": ("encode - -o x.vqc", 3, "stdin: input is not an image"),
    "exists": (
        "encode a.png -o kept.vqc",
        7,
        "kept.vqc exists already; -f overwrites it, -o names",
    ),
    "no folder": ("encode a.png -o none/x.vqc", 7, "no folder none"),
    "own input": ("encode a.png -o a.png -f", 7, "own input"),
    "no image": ("decode foreign.vqc", 3, "starts with 89 50 4e 47"),
    "text as vqc": ("decode text.png", 3, "starts with 6e"),
    "cut": ("decode cut.vqc", 4, "file ends"),
    "damaged": ("decode damaged.vqc", 4, "checksum"),
    "missing vqc": ("decode none.vqc", 3, "No such file"),
    "directory as vqc": ("decode folder", 3, "is a directory"),
    "image exists": ("decode good.vqc -o kept.png", 7, "kept.png exists already; -f"),
    "extension": ("decode good.vqc -o x.doc", 7, "format doc cannot be written"),
    "no extension": ("decode good.vqc -o x", 7, "cannot be written"),
    "format": ("decode good.vqc --format doc", 7, "format doc cannot be written"),
    "path as format": ("decode good.vqc --format a/b", 7, "format 'a/b' cannot be written"),
    "no name": (
        "encode .",
        3,
        ".: is a directory, expected a file; encode and decode take",
    ),
    "long name": (f"encode a.png -o {LONG}.vqc", 7, "File name too long"),
    "long source": (f"encode {LONG}.png -o x.vqc", 3, "File name too long"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_and_its_exit_code_and_changes_nothing(folder, coding, name):
    line, code, text = FAILURES[name]
    before = contents(folder)
    result = coding(*line.split())

    assert result.exit_code == code
    assert result.stderr.startswith("vqcodec: ")
    assert result.stderr.count("\n") == 1
    assert text in result.stderr
    assert result.stdout == ""
    assert contents(folder) == before


def test_too_large_a_picture_is_refused(folder, coding, coded):
    header = unpack(coded).header
    Path("huge.vqc").write_bytes(_huge_header(header))
    result = coding("decode", "huge.vqc")

    assert result.exit_code == 6
    assert "the limit is" in result.stderr


@pytest.mark.parametrize(
    ("command", "source", "area"),
    [
        ("encode", "a.png", 112 * 80),
        ("decode", "good.vqc", 48 * 32),
        ("verify", "good.vqc", 48 * 32),
        ("tokens", "good.vqc", 48 * 32),
    ],
)
def test_max_pixels_is_the_limit_of_every_command(folder, coding, command, source, area):
    refused = coding(command, source, "--max-pixels", area - 1)

    assert refused.exit_code == 6
    assert f"= {area} pixels, the limit is {area - 1}" in refused.stderr
    assert coding(command, source, "--max-pixels", area).exit_code == 0


def test_max_pixels_holds_for_targets_and_goes_above_those_of_pillow(folder, coding, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    more = "--max-pixels", 112 * 80

    assert coding("encode", "a.png", "--target-size", 3000, *more).exit_code == 0
    assert coding("decode", "a.vqc", "-o", "again.png", *more).exit_code == 0


def _huge_header(header) -> bytes:
    """The start of a file of 100 000 x 100 000 pixels."""
    from dataclasses import replace

    from vqcodec.bitstream.header import pack_header

    return pack_header(replace(header, width=100_000, height=100_000, tile_log2=8), chunked=False)


@pytest.mark.parametrize("command", ["encode a.png", "demo a.png"])
def test_an_unknown_model_is_told_before_any_work(folder, nothing_installed, command):
    named = call(*command.split(), "--model", "mine")
    default = call(*command.split())

    assert (named.exit_code, default.exit_code) == (5, 5)
    assert named.stderr == "vqcodec: no model or model folder named 'mine'; installed: none\n"
    assert "no model is installed" in default.stderr


def test_decode_of_a_file_of_another_model_fails(folder, nothing_installed):
    result = call("decode", "good.vqc")

    assert result.exit_code == 5
    assert result.stderr.startswith("vqcodec: good.vqc: the file needs model ")


def test_a_folder_that_is_no_model_is_refused(folder):
    result = call("encode", "a.png", "--model", "./folder")

    assert result.exit_code == 5
    assert "cannot read the model in folder" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("encode a.png ./a.jpg", "a.vqc would be written for a.png, ./a.jpg"),
        ("encode a.png a.png -o new/", "would be written for a.png, a.png"),
        ("encode a.png b.jpg -o x.vqc", "several inputs need a folder"),
        ("encode a.png b.jpg -o -", "several inputs need a folder"),
        ("encode a.png -", "stdin can only be the single input"),
        ("encode - -o folder", "stdin has no name"),
        ("decode b.vqc ./b.vqc", "b.png would be written for b.vqc, ./b.vqc"),
        ("encode a.png new.vqc", "new.vqc is taken for an input; to write it: -o new.vqc"),
        ("encode a.png kept.vqc", "kept.vqc is taken for an input; to write it: -o kept.vqc"),
        ("decode good.vqc new.webp", "new.webp is taken for an input; to write it: -o new.webp"),
        ("encode a.png --target-size 40XB", "expected a number of bytes above 0, such as 40000"),
        ("encode a.png --target-size -1kB", "expected a number of bytes above 0, such as 40000"),
        ("encode a.png --target-size nan", "expected a number of bytes above 0, such as 40000"),
        ("encode", "Missing argument"),
        ("encode a.png -q 101", "not in the range"),
        ("encode a.png -q nan", "nan is not a number"),
        ("encode a.png --alpha keep", "expected lossless, drop or blend:COLOR"),
        ("encode a.png --alpha blend:reddish", "expected lossless, drop or blend:COLOR"),
        ("encode a.png --alpha blend:#11223344", "expected lossless, drop or blend:COLOR"),
        ("encode a.png --strip gps", "'gps' is not one of"),
    ],
)
def test_wrong_usage_is_told_before_any_work(folder, coding, line, text):
    before = contents(folder)
    result = coding(*line.split())

    assert result.exit_code == 2
    assert text in result.stderr
    assert contents(folder) == before


def test_the_files_after_a_failure_are_still_done(folder, coding):
    same = coding("encode", "text.png", "a.png", "folder")
    mixed = coding("encode", "text.png", "a.png", "b.jpg")

    assert (same.exit_code, mixed.exit_code) == (3, 1)
    assert same.stderr.splitlines()[-1] == "vqcodec: 2 of 3 files failed"
    assert "a.vqc exists already" in mixed.stderr
    assert unpack(Path("b.vqc").read_bytes()).header.height == 40


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (PermissionError(13, "Permission denied", "x"), "x: Permission denied"),
    ],
)
def test_the_unexpected_is_one_line_too(folder, coding, monkeypatch, error, text):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(Codec, "encode", fail)
    result = coding("encode", "a.png")

    assert result.exit_code == 1
    assert result.stderr == f"vqcodec: a.png: {text}\n"
    assert not Path("a.vqc").exists()


def test_a_bug_keeps_its_traceback(folder, model_folder, monkeypatch):
    monkeypatch.setattr(Codec, "encode", lambda *args, **options: [][0])
    result = CliRunner().invoke(main, ["encode", "a.png", "--model", str(model_folder)])

    assert isinstance(result.exception, IndexError)


def test_one_line_whatever_the_message():
    assert console.explain(InputError("a\n  b")) == ("a b", 3)


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([CorruptError], 4), ([CorruptError, OutputError], 1)]
)
def test_exit_code_is_the_common_one(codes, expected, capsys):
    failures = console.Failures()
    for error in codes:
        with failures.of("x"):
            raise error("found this")

    assert failures.exit_code() == expected


def test_numbers_are_written_for_people():
    assert captions.spaced(1234567) == "1 234 567"
    assert captions.ratio(768 * 512, 9834) == "1:120"
    assert captions.ratio(100, 40) == "1:7.5"
    assert captions.speed(1_900_000, 1) == "1.9 MP/s"
    assert captions.speed(1_900, 1) == "0.002 MP/s"


# Help


def examples() -> list[str]:
    """The lines of all commands' examples that are calls of ours."""
    found = [
        line.strip() for command in main.commands.values() for line in command.help.split("\n")
    ]
    return [
        line[line.index("vqcodec ") :] for line in found if re.match(r"\S*vqcodec |torchrun", line)
    ]


def test_examples_have_options_and_models_that_there_are():
    models = {entry.name for entry in shipped.entries()}
    named = set()
    assert len(examples()) > 30
    for line in examples():
        _, command, *words = line.split("|")[0].split()
        options = main.params if command.startswith("-") else main.commands[command].params
        known = {text for option in options for text in option.opts}
        assert {word for word in words if re.match("-[^0-9]", word)} <= known, line
        named |= {value for word, value in pairwise(words) if word in ("--init", "--model")}
    assert {name for name in named if "/" not in name} <= models


# Info


def test_info_describes_a_file(folder, nothing_installed, coded):
    result = call("info", "good.vqc")

    assert result.stdout.startswith(f"good.vqc: 48x32, {len(coded)} B, ")
    assert "(not installed)" in result.stdout


def test_info_as_json_adds_up(folder, installed, coded):
    header, tiles, *_ = unpack(coded)
    Path("chunk.vqc").write_bytes(pack(header, tiles, [Chunk(b"note", b"hello")]))
    lines = call("info", "good.vqc", "chunk.vqc", "--json").stdout.splitlines()
    first, second = map(json.loads, lines)

    assert first["model"] == "random"
    assert first["bytes"] == sum(first[f"{part}_bytes"] for part in ("coarse", "fine", "overhead"))
    assert first["bits_per_pixel"] == 8 * len(coded) / (48 * 32)
    assert (first["chunks"], second["chunks"]) == ([], [{"kind": "note", "bytes": 5}])


def test_info_goes_on_after_a_failure(folder):
    result = call("info", "cut.vqc", "good.vqc", "-", data=b"PNG")

    assert result.exit_code == 1
    assert "good.vqc: 48x32" in result.stdout
    assert [line.split(": ")[1] for line in result.stderr.splitlines()[:2]] == ["cut.vqc", "stdin"]


# Real processes


def start(*args: object, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vqcodec", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, env=environment, **pipes)


def test_help_version_info_thumbnails_and_early_failures_do_not_import_torch(folder, model_folder):
    code = """if True:
        import sys
        from vqcodec.cli import main
        for args in (["--help"], ["--version"], ["encode", "-h"], ["train", "-h"],
                     ["info", "good.vqc"], ["encode", "none.png", "--model", sys.argv[1]],
                     ["decode", "cut.vqc"], ["help", "train"], ["version"],
                     ["thumbnail", "good.vqc", "t.png", "--model", sys.argv[1]]):
            main(args, standalone_mode=False)
            assert "torch" not in sys.modules, args
        print("done")
    """
    command = [sys.executable, "-c", code, str(model_folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert result.stdout.endswith("done\n"), result.stderr


def test_a_decode_imports_neither_rare_formats_nor_worker_processes(folder, model_folder):
    code = """if True:
        import sys
        from vqcodec.cli import main
        arguments = ["-o", "new.png", "--device", "onnx", "--model", sys.argv[1]]
        main(["decode", "good.vqc", *arguments], standalone_mode=False)
        print({"multiprocessing", "PIL.PdfImagePlugin"} & sys.modules.keys())
    """
    command = [sys.executable, "-c", code, str(model_folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert result.stdout.endswith("set()\n"), result.stderr


def test_pipes_join_the_commands(folder, model_folder):
    with open("a.png", "rb") as source:
        encode = start("encode", "-", "--model", model_folder, stdin=source)
    info = start("info", "-", "--json", stdin=encode.stdout)
    encode.stdout.close()
    out, _ = info.communicate()

    assert json.loads(out)["width"] == 112
    assert b"stdin 112x80 -> stdout" in encode.stderr.read()
    assert (encode.wait(), info.wait()) == (0, 0)
    encode.stderr.close()


def test_a_closed_pipe_ends_quietly(folder):
    with start("info", *["good.vqc"] * 50) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(folder):
    with open("/dev/full", "wb") as full:
        process = start("info", "good.vqc", stdout=full)
    _, errors = process.communicate()

    assert process.returncode == 7
    assert errors == b"vqcodec: good.vqc: cannot write to stdout: No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_binary_data_does_not_go_to_a_terminal(folder, model_folder):
    control, terminal = os.openpty()
    process = start("encode", "a.png", "-o", "-", "--model", model_folder, stdout=terminal)
    _, errors = process.communicate()
    os.close(terminal)
    os.close(control)

    assert process.returncode == 2
    assert b"binary data would go to the terminal" in errors
