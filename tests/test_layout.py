"""The import rules and the sizes of the modules, checked on the source text."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vqcodec"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40  # without the docstring

# Lowest layer first: a module may import only from layers below its own.
LAYERS = [
    {"errors"},
    {"config", "metadata"},
    {"cursor", "files", "formats", "geometry"},
    {"ahead", "container", "freqs", "metrics", "nn", "pixels", "rans", "shipped"},
    {"chunks", "drawing", "model_files", "places", "salvage", "strips", "symbols"},
    {"weights"},
    {"rate_control", "realism", "tile_coder", "tiling"},
    {"concealment", "preview", "search"},
    {"codec", "onnx"},
    {"generate", "integrations", "pillow_plugin", "restoration", "targets", "train", "usage"},
    {"cli"},
    {"__init__", "__main__"},
]
# What a unit may import besides the standard library; the others may import nothing.
ALLOWED = {
    "ahead": {"torch"},
    "chunks": {"numpy", "PIL"},
    "formats": {"PIL"},
    "strips": {"numpy", "PIL"},
    "pixels": {"numpy", "PIL"},
    "freqs": {"numpy"},
    "rans": {"numpy", "constriction"},
    "metrics": {"bjontegaard", "numpy", "pytorch_msssim", "scipy", "torch"},
    "model_files": {"numpy"},
    "nn": {"numpy", "torch"},
    "onnx": {"numpy", "onnxruntime", "safetensors"},
    "weights": {"numpy", "torch", "safetensors"},
    "symbols": {"numpy"},
    "drawing": {"numpy"},
    "codec": {"numpy", "torch", "PIL"},
    "concealment": {"torch"},
    "preview": {"numpy", "torch"},
    "generate": {"numpy", "torch"},
    "tile_coder": {"numpy", "torch"},
    "tiling": {"numpy", "torch"},
    "rate_control": {"numpy", "torch"},
    "realism": {"torch"},
    "search": {"numpy", "torch"},
    "usage": {"numpy"},
    "integrations": {"numpy", "PIL"},
    "restoration": {"numpy", "PIL"},
    "pillow_plugin": {"numpy", "PIL"},
    "train": {"numpy", "torch", "PIL", "safetensors", "tqdm", "matplotlib"},
    "cli": {"PIL", "click", "numpy", "skimage", "torch", "tqdm"},
    "__init__": {"PIL"},  # for annotations
}
# Importing these must not cost the seconds that torch takes.
LIGHT = [
    *("errors", "config", "cursor", "files", "geometry", "container", "freqs", "pixels", "rans"),
    *("symbols", "metadata", "formats", "chunks", "strips", "pillow_plugin", "cli", "__init__"),
    *("model_files", "nn.units", "onnx.tile_coder", "places"),
]


def unit(path: Path) -> str:
    """The layer unit of a module: 'nn/prior.py' -> 'nn', 'rans.py' -> 'rans'."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path):
    """Yield (is_local, first name) for every import statement that leaves the unit."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield False, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not node.module.startswith("vqcodec"), "use relative imports"
            yield False, node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                if name != "__version__":
                    yield True, name.split(".")[0]


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def each_module(test):
    return pytest.mark.parametrize(
        "path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
    )(test)


def test_every_module_is_found():
    assert PACKAGE / "errors.py" in MODULES


@each_module
def test_imports_only_from_lower_layers(path):
    mine = layer(unit(path))
    above = [name for local, name in imports(path) if local and layer(name) >= mine]

    assert above == []


@each_module
def test_imports_only_allowed_third_party(path):
    others = {name for local, name in imports(path) if not local} - sys.stdlib_module_names

    assert others <= ALLOWED.get(unit(path), set())


@each_module
def test_module_is_short_and_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")

    assert text.count("\n") <= MAX_MODULE_LINES
    assert ast.get_docstring(ast.parse(text))


@each_module
def test_functions_are_short(path):
    long = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            has_docstring = ast.get_docstring(node) is not None
            first = node.body[0].end_lineno if has_docstring else node.lineno
            if node.end_lineno - first > MAX_FUNCTION_LINES:
                long.append(node.name)

    assert long == []


def test_light_modules_do_not_import_torch():
    found = {unit(path) for path in MODULES}
    names = [
        f"vqcodec.{name}" if name != "__init__" else "vqcodec"
        for name in LIGHT
        if name.split(".")[0] in found
    ]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_models_is_data_with_a_docstring():
    body = ast.parse((ROOT / "models" / "__init__.py").read_text(encoding="utf-8")).body

    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_pyproject_lists_every_package():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent.relative_to(ROOT) for path in MODULES}
    packages = {".".join(folder.parts) for folder in folders} | {"vqcodec.models"}

    assert set(pyproject["tool"]["setuptools"]["packages"]) == packages
