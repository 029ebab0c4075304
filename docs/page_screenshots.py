"""Draws the README's image of the page: python docs/page_screenshots.py, after `dvc repro`.

A real server with the sample's models, in Debian's Chromium (`apt-get install chromium
chromium-driver`). The folder that is searched holds the pictures of `docs/search_sheet.py`. With an
argument, the dark page and the phone's are drawn into that folder.
"""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq
from PIL import Image
from search_sheet import QUERY, ROOT, write_pictures
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

sys.path.append(str(ROOT / "packages" / "fusion" / "tests"))
from chromium import emulate, open_chromium

PICTURE = ROOT / "docs" / "images" / "page.png"
CODE = "from edge_glass.fusion.app.cli import main; main()"
SCENES = ROOT / "artifacts" / "prepared" / "questions" / "val_scene.images.parquet"
SCENE, QUESTION = 34, "what is above the magnifying glass?"
DIM = "64"
SECONDS = 300  # for the index of the folder, when the server starts


def start_server(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Starts `edge-glass serve` and waits until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = ROOT / "models"
    command = ["serve", "--vlm", str(models / "vlm_qa"), "--align", str(models / "align")]
    command += ["--images", str(folder), "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-c", CODE, *command])
    url = f"http://127.0.0.1:{port}/"
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(f"{url}health", timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return process, url
    raise SystemExit("the server does not answer")


def shoot(browser, url: str, image: Path, question: str, path: Path, **screen: bool) -> None:
    """Asks, searches, moves the slider, and writes the page as a PNG of few colours."""
    emulate(browser, **screen)
    browser.get(url)
    wait = WebDriverWait(browser, 30)
    wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, "[data-ready]"))
    browser.find_element(By.ID, "choose").send_keys(str(image))
    wait.until(lambda page: page.find_element(By.ID, "attention").is_displayed())
    browser.find_element(By.ID, "question").send_keys(f"{question}\n")
    wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".token"))
    browser.find_element(By.CSS_SELECTOR, ".token").click()
    browser.find_element(By.ID, "text").send_keys(f"{QUERY}\n")
    wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".result"))
    slider = browser.find_element(By.ID, "dim")
    while browser.find_element(By.ID, "dim-value").text.split()[0] != DIM:
        slider.send_keys("\ue014")  # the right arrow
    loaded = "return [...document.images].every((each) => each.complete && each.naturalWidth)"
    wait.until(lambda page: page.execute_script(loaded))
    time.sleep(0.5)  # the tiles glide to their places
    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    drawn = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    drawn.quantize(256).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def main(extra: list[str]) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, image = Path(name) / "pictures", Path(name) / "scene.webp"
        folder.mkdir()
        write_pictures(folder)
        image.write_bytes(pq.read_table(SCENES)["bytes"][SCENE].as_py())
        server, url = start_server(folder)
        browser = open_chromium()
        try:
            shoot(browser, url, image, QUESTION, PICTURE)
            if extra:
                shoot(browser, url, image, QUESTION, Path(extra[0]) / "dark.png", dark=True)
                shoot(browser, url, image, QUESTION, Path(extra[0]) / "phone.png", phone=True)
        finally:
            browser.quit()
            server.terminate()
            server.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
