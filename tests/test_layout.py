"""The layers of the package and the sizes of its modules, checked on the source text."""

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
MAX_TOP_MODULES = 12

# Lowest layer first: a unit may import only from layers below its own. A unit is a module beside
# the packages, or a package; of `engine` each engine is a unit itself, and so are what picks one
# and the private ways of torch, which the networks take as well.
LAYERS = [
    {"errors", "progress", "tokens"},
    {"config", "engine.torch.runtime"},
    {"geometry"},
    {"entropy", "image", "metrics", "rate_control"},
    {"bitstream", "nn", "zoo"},
    {"engine"},
    {"engine.onnx", "engine.torch"},
    {"engine.select"},
    {"codec"},
    {"targets"},
    {"pillow_plugin"},
    {"compare", "generative", "integrations", "train", "web"},
    {"moved"},
    {"cli"},
    {"__init__", "__main__"},
]
# What a unit may import besides the standard library; the others may import nothing.
ALLOWED = {
    "bitstream": {"numpy", "PIL"},
    "cli": {"PIL", "click", "numpy", "skimage", "torch", "tqdm"},
    "codec": {"numpy", "PIL"},
    "compare": {"numpy", "PIL"},
    "engine": {"numpy", "PIL"},  # Pillow for annotations
    "engine.onnx": {"numpy", "onnxruntime"},
    "engine.torch": {"numpy", "torch"},
    "engine.torch.runtime": {"torch"},
    "entropy": {"constriction", "numpy"},
    "generative": {"numpy", "PIL"},
    "image": {"numpy", "PIL"},
    "integrations": {"datasets", "numpy", "PIL", "torch"},
    "metrics": {
        *("PIL", "bjontegaard", "numpy", "pycvvdp", "pytorch_msssim", "scipy", "ssimulacra2"),
        "torch",
    },
    "nn": {"numpy", "torch"},
    "pillow_plugin": {"numpy", "PIL"},
    "progress": {"tqdm"},
    "targets": {"numpy"},
    "tokens": {"numpy"},
    "train": {"numpy", "torch", "PIL", "safetensors", "tqdm", "matplotlib"},
    "web": {"numpy", "safetensors"},
    "zoo": {"numpy", "safetensors"},
    "__init__": {"PIL", "numpy"},  # for annotations
}
# Importing these must not cost the seconds that torch takes.
LIGHT = [
    *("errors", "config", "geometry", "bitstream.chunks", "bitstream.salvage", "entropy.symbols"),
    *("image.pixels", "image.strips", "zoo.weights", "engine.select", "engine.onnx.engine"),
    *("codec", "pillow_plugin", "targets", "generative.generate", "cli"),
]


def inner(path: Path) -> tuple[str, ...]:
    """The names of a module below the package: 'nn/prior.py' -> ('nn', 'prior')."""
    return path.relative_to(PACKAGE).with_suffix("").parts


NAMES = {inner(path) for path in MODULES}


def unit(parts: tuple[str, ...]) -> str:
    """The unit of LAYERS that a module is of."""
    names = (".".join(parts[:length]) for length in (3, 2))
    return next((n for n in names if any(n in layer for layer in LAYERS)), parts[0])


def imports(path: Path):
    """Yield the modules of the package that a module imports, and the first names of others."""
    home = inner(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                found = (*base, alias.name)
                yield found if found in NAMES or (*found, "__init__") in NAMES else base


def units_of(path: Path) -> set[str]:
    """The other units that a module imports from."""
    found = {unit(name) for name in imports(path) if isinstance(name, tuple) and name}
    return found - {unit(inner(path))}


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def test_no_module_imports_from_its_own_layer_or_above():
    above = [
        (path.name, other)
        for path in MODULES
        if "moved" not in path.parts  # its modules are at home in `vqcodec` itself
        for other in units_of(path)
        if layer(other) >= layer(unit(inner(path)))
    ]

    assert (PACKAGE / "nn" / "prior.py") in MODULES
    assert "config" in units_of(PACKAGE / "nn" / "prior.py")
    assert above == []


def test_modules_inside_a_unit_do_not_import_in_circles():
    arrows = {
        inner(path): {name for name in imports(path) if isinstance(name, tuple) and name in NAMES}
        for path in MODULES
    }
    reached = {name: set(targets) for name, targets in arrows.items()}
    for middle in arrows:
        for name in arrows:
            if middle in reached[name]:
                reached[name] |= reached[middle]

    assert [name for name in arrows if name in reached[name]] == []


def test_units_import_only_the_third_party_packages_that_are_theirs():
    found = {}
    for path in MODULES:
        names = {name for name in imports(path) if isinstance(name, str)}
        found.setdefault(unit(inner(path)), set()).update(names - sys.stdlib_module_names)

    assert {name: others - ALLOWED.get(name, set()) for name, others in found.items()} == {
        name: set() for name in found
    }


def test_modules_are_short_and_say_what_they_are():
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES}

    assert [p.name for p, text in texts.items() if text.count("\n") > MAX_MODULE_LINES] == []
    assert [p.name for p, text in texts.items() if not ast.get_docstring(ast.parse(text))] == []


def test_functions_are_short():
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
                has_docstring = ast.get_docstring(node) is not None
                first = node.body[0].end_lineno if has_docstring else node.lineno
                if node.end_lineno - first > MAX_FUNCTION_LINES:
                    long.append((path.name, node.name))

    assert long == []


def test_few_modules_stand_beside_the_packages():
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_TOP_MODULES


def test_light_modules_do_not_import_torch():
    names = ["vqcodec", *(f"vqcodec.{name}" for name in LIGHT)]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_old_names_of_modules_are_the_modules_themselves():
    code = (
        "import vqcodec.pixels, vqcodec.formats, vqcodec.usage, vqcodec.generate\n"
        "from vqcodec.image import pixels\n"
        "assert vqcodec.pixels is pixels"
    )

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
