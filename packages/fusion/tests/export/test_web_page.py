"""The static page in Debian's Chromium, from a plain file server: it finds what Python finds."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

pytest.importorskip("onnxruntime")
pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from chromium import console_errors, open_chromium, requested_hosts
from edge_glass.encoders.images import decode_image, to_rgb
from edge_glass.fusion.export import web_page
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.search.query import search_folder

pytestmark = pytest.mark.slow
SAMPLE = Path(__file__).parents[4]
NUM_IMAGES, SECONDS = 60, 120
QUERIES = (
    "a red car", "a dog", "two cats on a sofa", "a heart", "a house with a tree", "the sun",
    "a blue circle", "a smiling face", "fruit", "a flag with three stripes", "a clock", "rain",
    "a green leaf", "something to eat", "a train at a station", "music", "a bird in the sky",
    "a yellow square", "hands", "Ein grüner Apfel, für Ágnes & 猫",
)  # fmt: skip
# of levels; each program converts a colour profile with its own rounding
LARGEST_DIFFERENCES = {
    "photo.png": 0, "photo.bmp": 0, "grey.png": 0, "photo.gif": 0, "alpha.png": 1,
    "photo.jpg": 0, "no subsampling.jpg": 0, "turned.jpg": 0, "photo.webp": 0,
    "profile.jpg": 1, "profile.png": 1,
}  # fmt: skip
DECODE = """
const [content, done] = arguments;
const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
import("/image_file.js")
  .then(({decodeImage}) => decodeImage(new Blob([bytes])))
  .then(({width, height, pixels}) => {
    let text = "";
    for (const each of pixels) text += String.fromCharCode(each);
    done([width, height, btoa(text)]);
  }, (error) => done(String(error)));
"""


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    driver = open_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Starts a plain file server for a folder; returns its address."""
    started = []

    def start(folder: Path) -> str:
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        server = subprocess.Popen(
            [*command, "--directory", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(server)
        assert server.stdout is not None
        return server.stdout.readline().split("(")[1].split(")")[0]

    yield start
    for server in started:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def drawn(seed: int) -> Image.Image:
    """A smooth image of random colours, as photos are, of random size."""
    draws = np.random.default_rng(seed)
    small = Image.fromarray(draws.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    width, height = (int(each) for each in draws.integers(20, 300, 2))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def write_images(folder: Path) -> None:
    """Images in subfolders, of three formats, and two copies of one."""
    for seed in range(NUM_IMAGES):
        path = folder / f"part {seed % 3}" / f"{seed:02}.{('png', 'webp', 'bmp')[seed % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(seed).save(path, lossless=True)
    (folder / "part 0" / "a copy.png").write_bytes((folder / "part 0" / "00.png").read_bytes())


def wait_for(browser: webdriver.Chrome, condition: Callable[[], Any]) -> None:
    WebDriverWait(browser, SECONDS, poll_frequency=0.05).until(lambda _: condition())


def shown(browser: webdriver.Chrome, query: str, step: int) -> list[str]:
    """Types a query, moves the slider to a dim and returns the paths of the first five results."""
    field, slider = (browser.find_element(By.ID, each) for each in ("query", "dim"))
    results = browser.find_element(By.ID, "results")
    field.clear()
    field.send_keys(query)
    wait_for(browser, lambda: results.get_attribute("aria-label") == f"Results for {query}")
    slider.send_keys(Keys.HOME, *[Keys.RIGHT] * step)
    found = results.find_elements(By.CSS_SELECTOR, "li:nth-child(-n+5)")
    return [str(each.get_attribute("data-path")) for each in found]


@pytest.mark.parametrize("name", ["tiny", "sample"])
def test_the_page_finds_what_python_finds(
    name: str,
    dual_folder: Path,
    prepared_data: Path,
    browser: webdriver.Chrome,
    serve: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    """Compares int8 graphs in WebAssembly with the same graphs in ONNX Runtime's Python package."""
    out, images = tmp_path / "out", tmp_path / "images"
    model = dual_folder if name == "tiny" else SAMPLE / "models" / "align"
    if not model.is_dir():
        pytest.skip("the pipeline has not run in this checkout")
    data = prepared_data if name == "tiny" else SAMPLE / "artifacts" / "prepared"
    try:
        export_model("web", model, out, data=data)
    except ValueError as error:
        if str(error).startswith("npm "):
            pytest.skip(str(error))
        raise
    write_images(images)
    browser.get(f"{serve(out)}index.html")
    assert not browser.execute_script("return crossOriginIsolated")
    status = browser.find_element(By.ID, "status")
    wait_for(browser, lambda: status.text.startswith("The model is loaded"))
    browser.find_element(By.ID, "folder").send_keys(str(images))
    wait_for(browser, lambda: status.text == f"{NUM_IMAGES + 1} images can be searched.")
    dims = sorted(json.loads((out / "config.json").read_text())["matryoshka_dims"])
    for number, query in enumerate(QUERIES):
        step = number % len(dims)
        result = search_folder(query, images, model_folder=out, runtime="onnx", dim=dims[step])
        assert result.num_images == NUM_IMAGES + 1
        expected = [each.path.relative_to(tmp_path).as_posix() for each in result.found]
        assert shown(browser, query, step) == expected, (query, dims[step])
    assert requested_hosts(browser) == {"127.0.0.1"}
    assert console_errors(browser) == []


def encoded(kind: str) -> bytes:
    """A file of a kind that cameras and editors write."""
    image, file = drawn(3), io.BytesIO()
    options: dict[str, Any] = {"quality": 90}
    if kind == "alpha.png":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    elif kind == "grey.png":
        image = image.convert("L")
    elif kind == "turned.jpg":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    elif kind.startswith("profile"):  # the colours of sRGB with red and green exchanged
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        exchanged = srgb.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ")
        options["icc_profile"] = exchanged.replace(b"none", b"gXYZ")
    elif kind == "no subsampling.jpg":
        options["subsampling"] = 0
    form = kind.split(".")[-1].upper()
    image.save(file, {"JPG": "JPEG"}.get(form, form), **options)
    return file.getvalue()


def test_decoded_levels_are_those_of_python(
    browser: webdriver.Chrome, serve: Callable[[Path], str]
) -> None:
    browser.get(f"{serve(Path(web_page.__file__).parent / web_page.PAGE)}NOTICE.txt")
    for kind, largest in LARGEST_DIFFERENCES.items():
        content = encoded(kind)
        found = browser.execute_async_script(DECODE, base64.b64encode(content).decode())
        assert not isinstance(found, str), (kind, found)
        width, height, pixels = found
        levels = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 3)
        expected = np.asarray(to_rgb(decode_image(content))).astype(int)
        assert levels.shape == expected.shape, kind
        assert np.ptp(expected) > 100, kind  # no blank image
        assert np.abs(levels - expected).max() <= largest, kind
