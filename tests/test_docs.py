"""What README, docs/ and FORMAT.md show is what happens."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image

import vqcodec
from conftest import smooth_picture
from vqcodec import errors
from vqcodec.bitstream import container
from vqcodec.cli import main
from vqcodec.config import ModelConfig
from vqcodec.nn.quantizer import table_sizes
from vqcodec.zoo import shipped

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMAT = (ROOT / "vqcodec" / "FORMAT.md").read_text(encoding="utf-8")
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))}
REPOSITORY = "https://github.com/vqcodec/vqcodec"  # the one place of the tests


def blocks(language: str, *texts: str) -> list[str]:
    """The code of a language in these texts; without any, in all, README and tutorial first."""
    texts = texts or (README, DOCS["tutorial"], *DOCS.values())
    found = re.findall(rf"```{language}\n(.*?)```", "\n".join(texts), re.DOTALL)
    return list(dict.fromkeys(found))


def commands(block: str) -> list[str]:
    """The lines of a block without their comments."""
    return [text for line in block.splitlines() if (text := line.split(" #")[0].strip())]


@pytest.fixture
def folder_with_a_photo(tmp_path, monkeypatch):
    Image.fromarray(smooth_picture(64, 96)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small pictures: threads only wait
    monkeypatch.delenv("VQCODEC_DEVICE")  # each command starts as it does for users
    return tmp_path


def test_the_shell_lines_run(folder_with_a_photo):
    """Those of the tutorial, which has README's."""
    own, block = [b for b in blocks("shell") if "vqcodec encode photo.jpg  " in b]
    lines = block.strip().splitlines()
    assert len(lines) == 5
    assert set(commands(own)) < set(commands(block))
    for line in lines:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (line, done.stderr)


def test_the_lines_for_many_files_run(folder_with_a_photo, monkeypatch):
    monkeypatch.setenv("VQCODEC_ENCODE_EFFORT", "1")  # the search is another test's
    Path("photos/deep").mkdir(parents=True)
    for name in ("photos/a.jpg", "photos/deep/b.png"):
        with Image.open("photo.jpg") as photo:
            photo.save(name)
    (block,) = [block for block in blocks("shell") if "--output-dir" in block]

    done = subprocess.run(["bash", "-e", "-c", block], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    assert "0 of 2 files, " in done.stdout.splitlines()[-1]
    found = sorted(path.as_posix() for path in Path("decoded").rglob("*.*"))
    assert found == ["decoded/a.png", "decoded/deep/b.png"]
    (loader,) = [block for block in blocks("shell") if "data_loader" in block]
    command = ["bash", "-e", "-c", loader.replace("examples/", f"{ROOT}/examples/")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("(2, 3, 64, 64) mean "), done.stderr


def test_the_lines_that_generate_and_repair_run(folder_with_a_photo, monkeypatch):
    monkeypatch.setenv("VQCODEC_ENCODE_EFFORT", "1")
    mask = Image.new("L", (96, 64))
    mask.paste(255, (40, 20, 60, 40))
    mask.save("mask.png")
    subprocess.run(["vqcodec", "encode", "photo.jpg"], check=True, timeout=300)
    (block,) = [block for block in blocks("shell") if "inpaint" in block]

    done = subprocess.run(["bash", "-e", "-c", block], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    names = {"sample-1.png", "sample-2.png", "variation.png", "whole.png"}
    assert names <= {path.name for path in Path().iterdir()}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a file that is left to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_python_lines_run(folder_with_a_photo):
    names: dict = {}
    Path("coded").mkdir()
    Path("coded/photo.vqc").write_bytes(vqcodec.encode("photo.jpg"))
    first, *others = blocks("python")
    assert set(commands(first)) < set(commands(others[0]))  # README's are the tutorial's
    for block in others:
        exec(block, names)

    assert names["image"].size == (96, 64)
    assert names["tokens"].shape == (4, 6, 640)
    assert [names[n][0].shape for n in ("crops", "small")] == [(3, 64, 64), (3, 8, 12)]
    assert Image.open("photo.png").size == (96, 64)


def test_ci_runs_the_set_up_command_of_the_tests_step_by_step_and_other_checks_before_them():
    command = next(block for block in blocks("shell", README) if "pytest" in block).strip()
    *set_up, tests = command.split(" && ")
    lines = (ROOT / ".ci" / "run").read_text().splitlines()

    assert lines[lines.index(set_up[0]) :] == [
        *set_up,
        "ruff check .",
        "ruff format --check .",
        "pip install -q -c constraints.txt -e '.[docs,release]'",
        "mkdocs build -q --strict",
        "tools/check_wheel",
        tests,
    ]


def test_the_example_of_the_format_is_a_real_file():
    """The hex of FORMAT.md is the golden file of its name, byte for byte."""
    name = re.search(r"`(\S+-grey\.vqc)`", FORMAT)[1]
    rows = re.findall(r"^    ((?:[0-9a-f]{2} )*[0-9a-f]{2})\b", FORMAT, re.MULTILINE)
    data = bytes.fromhex(" ".join(rows))

    path = ROOT / "archive" / "golden" / "valid" / name
    assert not path.parent.is_dir() or data == path.read_bytes()  # no part of an sdist
    header, tiles, *_ = container.unpack(data)
    assert (header.width, header.height) == (16, 16)
    assert len(tiles) == 1


def test_every_shipped_model_has_a_card():
    assert shipped.entries()
    for entry in shipped.entries():
        assert (shipped.folder_of(entry.name) / "CARD.md").is_file()


def table_of_options() -> dict[str, str]:
    """Our column of the table beside other codecs, by the names of its rows."""
    table = DOCS["cli"].split("## Beside other codecs")[1].split("\n\n")[2]
    rows = [row.split("|")[1:3] for row in table.splitlines()[2:]]
    return {name.strip(): ours.strip() for name, ours in rows}


def test_our_options_in_the_table_exist_and_have_its_ranges():
    options = {
        f"{name} {text}": option
        for name, command in main.commands.items()
        for option in command.params
        for text in option.opts
    }
    rows = table_of_options()
    assert len(rows) >= 22
    for cell in rows.values():
        for text, ends in re.findall(r"`([^`]+)`(?: (\d+\.\.\d+))?", cell):
            if text in ("-", "VQCODEC_ENCODE_QUALITY"):
                continue  # tested in test_cli.py and test_cli_info.py
            name = f"encode {text}" if text.startswith("--") else text.removesuffix(" FOLDER")
            assert name in options or name in main.commands
            if ends:
                assert ends == f"{options[name].type.min}..{options[name].type.max}"


def test_the_exit_codes_in_the_table_are_those_of_the_errors():
    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    codes |= {0, click.UsageError.exit_code}

    assert table_of_options()["exit codes"] == f"{min(codes)}..{max(codes)} by cause"
    assert codes == set(range(max(codes) + 1))


def test_the_figures_of_the_tokens_are_those_of_the_default_model():
    folder = shipped.folder_of(shipped.default_name())
    config = ModelConfig.from_json((folder / "config.json").read_text())
    sizes = [size - 1 for size in table_sizes(config.quantizer)]  # without the escape
    scalars, pairs = sizes[: config.quantizer.classes], sizes[config.quantizer.classes :]
    passes = config.prior.passes
    text = DOCS["tokens"]

    assert f"int32 [h, w, {config.transform.latents}]" in text
    assert f"{len(scalars)} scalar codebooks of {min(scalars)} to {max(scalars)} codewords" in text
    assert f"{len(pairs)} of {max(pairs)} codewords" in text
    assert f"`level` 0..{config.transform.levels - 1}" in text
    groups = sorted({(p.start, p.stop) for p in passes})
    assert "channels 0-7, 8-39, 40-103, 104-255, 256-511 and 512-639" in text
    assert groups == [(0, 8), (8, 40), (40, 104), (104, 256), (256, 512), (512, 640)]
    assert f"from level {passes[-2].min_level} and {passes[-1].min_level} on" in text
    assert [(p.start, p.stop) for p in passes].count((0, 8)) == 4


def test_links_to_files_of_the_repository_are_right():
    """README's are absolute, for the package index shows it as well."""
    ours = re.compile(rf"{REPOSITORY}/(?:blob|tree|raw)/main/")
    links = []
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")):
        found = re.findall(r"\]\(([^)#]+)[)#]", path.read_text("utf-8"))
        assert path.name != "README.md" or all(map(ours.match, found))
        links += [ROOT / ours.sub("", link) for link in found if ours.match(link)]
        links += [path.parent / link for link in found if "://" not in link]

    assert len(links) >= 60
    lost = [link for link in links if not link.exists()]
    if not (ROOT / "archive").is_dir():  # a source distribution
        lost = [link for link in lost if "archive" not in link.parts]
    assert lost == []


def test_the_version_and_the_address_of_the_repository_are_the_same_everywhere():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert re.search(r"^## (\d\S+)$", changes, re.MULTILINE)[1] == vqcodec.__version__
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["project"]["urls"]["Repository"] == REPOSITORY
    for name in ("mkdocs.yml", "CITATION.cff"):
        assert f": {REPOSITORY}\n" in (ROOT / name).read_text("utf-8")


def test_the_commands_of_the_docs_are_understood():
    lines = [line for block in blocks("shell") for line in commands(block)]
    pieces = [shlex.split(piece) for line in lines for piece in line.split(" | ")]
    ours = [words[1:] for words in pieces if words[0] == "vqcodec"]

    assert len(ours) >= 20
    parent = click.Context(main, info_name="vqcodec", **main.context_settings)
    for command, *options in ours:
        main.commands[command].make_context(command, options, parent)


def test_the_figures_of_models_md_are_those_of_the_cards():
    if not (ROOT / "archive").is_dir():
        pytest.skip("a source distribution is without the archive's cards")
    paths = [*ROOT.glob("models/*/CARD.md"), *ROOT.glob("archive/*/*/CARD.md")]
    cards = "".join(path.read_text(encoding="utf-8") for path in paths)
    text = (ROOT / "models" / "MODELS.md").read_text(encoding="utf-8")
    measured = [part for part in text.split("\n\n") if "Measured" in part]
    figures = re.findall(r"[\d.]+ %|0\.\d{3}", "".join(measured))

    assert len(figures) >= 8
    assert [figure for figure in figures if figure not in cards] == []


def test_the_modules_and_links_of_models_md_exist():
    text = (ROOT / "models" / "MODELS.md").read_text(encoding="utf-8")
    modules = re.findall(r"\[(\S+\.py)\](?!\()", text)
    links = re.findall(r"\]\(([^)]+)\)", text)

    assert len(modules) >= 6
    assert all((ROOT / "vqcodec" / name).is_file() for name in modules)
    if not (ROOT / "archive").is_dir():  # a source distribution
        links = [link for link in links if "archive" not in link]
    assert all((ROOT / "models" / link).exists() for link in links)
