"""The page in a headless Chromium with ONNX Runtime Web: as a user has it.

Skipped where Chromium or ONNX Runtime Web (`vqcodec view --fetch`, or `npm install` in
vqcodec/web/page) are not there.
"""

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest

import chromium
from conftest import smooth_picture
from test_web import DEFAULT, GOLDEN, MODELS, VALID, golden, pixels_of
from vqcodec.codec import Codec
from vqcodec.errors import MissingExtraError
from vqcodec.web import runtime, server, site
from vqcodec.zoo import shipped, weights

INDICES = """(async () => {
  const [{openPicture}, {Library}, {runtimeOf}, {Site, download}, ort] = await Promise.all(
    ['decoder', 'model', 'onnxruntime', 'source', 'ort/ort.wasm.min'].map(
      (name) => import(`./${name}.${name.startsWith('ort') ? 'mjs' : 'js'}`)));
  ort.env.wasm.wasmPaths = new URL('ort/', location).href;
  ort.env.wasm.numThreads = 1;
  const library = new Library(new Site(location, () => {}), runtimeOf(ort));
  const found = {};
  for (const name of FILES) {
    const picture = await openPicture(await download(new URL(`file/${name}`, location)), library);
    const {data} = await picture.indices();
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    found[name] = Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
  return found;
})()"""
PIXELS = """(() => {
  const canvas = document.getElementById('picture');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let text = '';
  for (let i = 0; i < data.length; i += 32768) {
    text += String.fromCharCode(...data.subarray(i, i + 32768));
  }
  return btoa(text);
})()"""
EXACT = smooth_picture(48, 40)
STATE = "document.documentElement.dataset.state"


def _runtime() -> Path | None:
    try:
        return runtime.find()
    except MissingExtraError:
        return None


pytestmark = [
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium"),
    pytest.mark.skipif(_runtime() is None, reason="there is no ONNX Runtime Web"),
]


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The paths that the server was asked for."""
    return []


@pytest.fixture(scope="module")
def address(asked):
    """Of a server of the page with all models and golden files."""
    given = {f"file/{path.name}": path.read_bytes() for path in GOLDEN.rglob("*.vqc")}
    given["file/exact.vqc"] = Codec.load(device="onnx").encode(EXACT, lossless=True)
    given |= {f"original/{path.name}": path.read_bytes() for path in GOLDEN.rglob("*.png")}
    makers = {
        site.manifest_path(entry.id): lambda name=entry.name: site.model_files(
            weights.load_shipped(name), name, site.FAST
        )
        for entry in shipped.own()
    }
    index = site.index_file((entry.name, entry.id) for entry in shipped.own())
    files = server.files_of(_runtime(), makers, index, given)

    def listen(path: str) -> bytes | None:
        asked.append(path)
        return files(path)

    with server.Server(listen) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served.address
        served.shutdown()


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as found:
        yield found


def finish(browser, state: str) -> None:
    browser.wait(f"['done', 'error'].includes({STATE})")
    assert browser.evaluate(STATE) == state, browser.evaluate("document.body.innerText")


def facts_of(browser) -> str:
    return browser.evaluate("document.getElementById('facts').innerText")


def shown(browser, shape: tuple[int, ...]) -> np.ndarray:
    data = base64.b64decode(browser.evaluate(PIXELS))
    return np.frombuffer(data, np.uint8).reshape(shape)


def test_indices_of_the_browser_are_those_of_the_package(browser, address):
    names = [f for f in VALID if f.startswith(f"{DEFAULT}-") and "-tiled" not in f]
    names += [f"{name}-waves.vqc" for name in MODELS]
    browser.open(address)
    found = browser.evaluate(INDICES.replace("FILES", json.dumps(names)))

    assert found == {name: VALID[name]["words"] for name in names}


def test_the_page_shows_the_pixels_of_the_package_within_one_level(browser, address):
    for kind in ("waves", "one-channel", "tiles"):
        file = golden(DEFAULT, kind)
        browser.open(f"{address}?file=file/{file.name}")
        finish(browser, "done")
        expected = pixels_of(file)

        assert np.abs(shown(browser, expected.shape) - expected).max() <= 1, kind
    alpha = pixels_of(golden(DEFAULT, "dressed"))[..., 3]
    browser.open(f"{address}?file=file/{DEFAULT}-dressed.vqc")
    finish(browser, "done")
    assert np.array_equal(shown(browser, (*alpha.shape, 4))[..., 3], alpha)
    facts = facts_of(browser)
    for word in (f"{DEFAULT}-dressed.vqc", "56 × 40, RGB, alpha", DEFAULT, "EXIF", "XMP"):
        assert word in facts


def test_exact_pixels_take_neither_a_model_nor_a_runtime(browser, address, asked):
    asked.clear()
    browser.open(f"{address}?file=file/exact.vqc")
    finish(browser, "done")

    assert np.array_equal(shown(browser, (48, 40, 4))[..., :3], EXACT)
    assert "all pixels" in facts_of(browser)
    assert "worker.js" in asked
    assert not [path for path in asked if path.startswith(("ort/", "models/"))]


def test_the_dial_paints_the_same_file_with_another_realism(browser, address):
    file = golden(DEFAULT, "waves")
    browser.open(f"{address}?file=file/{file.name}")
    finish(browser, "done")
    browser.evaluate(
        "(() => { const dial = document.getElementById('realism'); dial.value = 0.5;"
        " dial.dispatchEvent(new Event('input')); })()"
    )
    browser.wait(f"{STATE} === 'busy'")
    finish(browser, "done")
    expected = pixels_of(file, 0.5)

    assert np.abs(shown(browser, expected.shape) - expected).max() <= 1
    assert np.abs(expected - pixels_of(file)).max() > 1


def test_an_original_is_compared_and_lies_left_of_the_line(browser, address):
    name = f"{DEFAULT}-waves"
    browser.open(f"{address}?file=file/{name}.vqc&original=original/{name}.png")
    finish(browser, "done")
    browser.wait("document.getElementById('facts').innerText.includes('PSNR')")

    assert not browser.evaluate("document.getElementById('split').hidden")
    browser.evaluate(
        "(() => { const line = document.getElementById('split'); line.value = 25;"
        " line.dispatchEvent(new Event('input')); })()"
    )
    style = "getComputedStyle(document.getElementById('original')).clipPath"
    assert browser.evaluate(style) == "inset(0px 75% 0px 0px)"


def test_what_cannot_be_shown_is_one_line_of_error_and_the_next_file_is_shown(browser, address):
    cases = {
        f"{DEFAULT}-flipped-word.CorruptError.vqc": "coarse segment has checksum",
        f"{DEFAULT}-foreign-model.UnknownModelError.vqc": "which this page lacks",
        "nothing.vqc": "HTTP status 404",
    }
    for name, text in cases.items():
        browser.open(f"{address}?file=file/{name}")
        finish(browser, "error")
        line = browser.evaluate("document.getElementById('error').innerText")

        assert name in line
        assert text in line
        assert "\n" not in line
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    picker = browser.call("DOM.querySelector", nodeId=root, selector="#picker")["nodeId"]
    files = [str(golden(DEFAULT, "waves")), str(golden(DEFAULT, "waves").with_suffix(".png"))]
    browser.call("DOM.setFileInputFiles", nodeId=picker, files=files)
    browser.wait("document.getElementById('facts').innerText.includes('PSNR')")
    assert browser.evaluate(STATE) == "done"
