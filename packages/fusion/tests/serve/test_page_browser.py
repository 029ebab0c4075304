"""The page in a real browser: asking, searching, the slider, the keyboard alone, the token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("selenium")

from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from chromium import console_errors, emulate, open_chromium, requested_hosts
from edge_glass.fusion.search.query import update_folder
from edge_glass.fusion.vlm import VisionLanguageModel

pytestmark = pytest.mark.slow
TOKEN = "0123456789abcdef"
QUESTION = "how many dogs are there?"
# Ratios of contrast as WCAG 2.2 defines them, of all visible texts and of the borders of controls.
CONTRASTS = """
const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [red, green, blue] = parts(colour).map((each) => channel(each / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ratio = (one, two) => {
  const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if ((parts(colour)[3] ?? 1) === 1) return colour;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (!element.checkVisibility() || element.closest("noscript")) continue;
  const style = getComputedStyle(element);
  const own = [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
  if (own || element.matches("input[type=text], input[type=search]")) {
    found.push([element.outerHTML.slice(0, 90), 4.5, ratio(style.color, ground(element))]);
  }
  if (element.matches(".button:not(.main), .chip, .token, input[type=text], input[type=search]")) {
    const outside = ground(element.parentElement);
    found.push([element.outerHTML.slice(0, 90), 3, ratio(style.borderLeftColor, outside)]);
  }
}
return found;
"""
UNLABELLED = """
const named = (element) => element.labels?.length ? [...element.labels].map((each) =>
  each.textContent).join("") : element.getAttribute("aria-label") ?? element.textContent;
return [...document.querySelectorAll("input, button, a")].filter((each) => !named(each).trim())
  .map((each) => each.outerHTML);
"""
# Gives the page a drawn image as the browser does when a person drops or pastes one.
GIVE = """
const [kind, done] = arguments;
const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
canvas.getContext("2d").fillRect(0, 0, 20, 20);
canvas.toBlob((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], `${kind}.png`, { type: "image/png" }));
  const both = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
  const event = kind === "drop" ? new DragEvent(kind, both) : new ClipboardEvent(kind, both);
  document.getElementById("drop").dispatchEvent(event);
  done(event.defaultPrevented);
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_chromium()
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images, more than the page shows."""
    folder = tmp_path_factory.mktemp("browser") / "images"
    folder.mkdir()
    for number in range(40):
        colour = (6 * number, 255 - 5 * number, 40 * (number % 7))
        Image.new("RGB", (40 + number, 50), colour).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def page(served: Any, folder: Path, start: Any) -> Iterator[Any]:
    index, _ = update_folder(folder, served.embedder)
    with start(replace(served, images=folder, index=index)) as server:
        yield server


class Visitor:
    """What a person does with the page."""

    def __init__(self, browser: Any, server: Any) -> None:
        self.browser, self.server = browser, server
        requested_hosts(browser), console_errors(browser)  # of the page before
        browser.get(f"{server.url}/")

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, 60).until(lambda _browser: condition())

    def ready(self) -> None:
        self.wait(lambda: self.all("[data-ready]"))

    def names(self) -> list[str]:
        return [each.text for each in self.all(".result .name")]

    def focused(self) -> str:
        return str(self.browser.execute_script("return document.activeElement.id"))

    def press(self, *keys: str) -> None:
        """Presses keys, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def tab_to(self, name: str) -> None:
        """Presses the tab key until an element has the focus."""
        for _ in range(60):
            if self.focused() == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"the tab key does not reach {name}")

    def check_quiet(self) -> None:
        """Checks that no request left the host, and that the console has no error."""
        assert requested_hosts(self.browser) == {"127.0.0.1"}
        assert console_errors(self.browser) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_visitor_asks_and_searches(
    browser: Any, page: Any, folder: Path, vlm_folder: Path, dark: bool, phone: bool
) -> None:
    emulate(browser, dark=dark, phone=phone)
    visitor = Visitor(browser, page)
    visitor.ready()
    visitor.find("#choose").send_keys(str(folder / "07.png"))
    visitor.wait(lambda: visitor.all("#maps input"))
    assert [each.text for each in visitor.all("#maps label")] == [
        "Off",
        "Mean",
        "Query 1",
        "Query 2",
    ]
    visitor.find("#question").send_keys(QUESTION, Keys.ENTER)
    visitor.wait(lambda: len(visitor.all("#maps input")) > 4)  # the words of the question
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    with Image.open(folder / "07.png") as image:
        assert visitor.find(".answer").text == model.answer([image], [QUESTION])[0]
    visitor.find(".token").click()
    assert len(visitor.all(".alternatives tr")) == 5

    visitor.find("#text").send_keys("a red square", Keys.ENTER)
    visitor.wait(lambda: len(visitor.all(".result")) == 24)
    order = visitor.names()
    requested_hosts(browser)
    slider = visitor.find("#dim")
    slider.send_keys(Keys.END)
    assert visitor.find("#dim-value").text == "4 of 24"
    assert visitor.names() != order  # at once: nothing is waited for
    slider.send_keys(Keys.HOME)
    assert visitor.names() == order

    loaded = "return [...document.images].every((each) => each.complete && each.naturalWidth)"
    visitor.wait(lambda: browser.execute_script(loaded))
    low = [each for each in browser.execute_script(CONTRASTS) if each[2] < each[1]]
    assert low == []
    assert browser.execute_script(UNLABELLED) == []
    width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]  # no scrolling to the side
    assert browser.execute_script("return performance.getEntriesByType('resource').length") > 24
    assert console_errors(browser) == []


def test_the_keyboard_is_enough(browser: Any, page: Any) -> None:
    emulate(browser)
    visitor = Visitor(browser, page)
    visitor.ready()
    visitor.tab_to("text")
    visitor.press("a blue square", Keys.ENTER)
    visitor.wait(lambda: len(visitor.all(".result")) == 24)
    visitor.tab_to("dim")
    visitor.press(Keys.ARROW_RIGHT)
    assert visitor.find("#dim").get_attribute("aria-valuetext") == "8 numbers"
    visitor.press(Keys.TAB)
    first = browser.switch_to.active_element
    name = visitor.names()[0]
    assert first.accessible_name.startswith(name)
    visitor.press(Keys.ENTER)
    visitor.wait(lambda: visitor.all("#maps input"))
    assert visitor.find("#image-name").text == name
    assert visitor.focused() == "question"
    visitor.press("where is the cat?", Keys.ENTER)
    visitor.wait(lambda: visitor.all(".token") and not visitor.all(".answer.waiting"))
    visitor.tab_to("send")
    visitor.press(Keys.TAB)
    token = browser.switch_to.active_element
    visitor.press(Keys.ENTER)
    assert token.get_attribute("aria-expanded") == "true"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"  # the focus is visible
    visitor.check_quiet()


def test_errors_are_shown_and_can_be_mended(browser: Any, page: Any, tmp_path: Path) -> None:
    emulate(browser)
    visitor = Visitor(browser, page)
    visitor.ready()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    visitor.find("#choose").send_keys(str(tmp_path / "broken.png"))
    visitor.wait(lambda: "the image can't be read" in visitor.find("#problem").text)
    for kind, prevented in (("drop", True), ("paste", False)):  # a drop must not open the file
        assert browser.execute_async_script(GIVE, kind) == prevented
        visitor.wait(lambda: visitor.all("#maps input"))  # the server has read the image
        assert visitor.find("#image-name").text == f"{kind}.png"
        assert not visitor.find("#problem").is_displayed()
        visitor.find("#choose").send_keys(str(tmp_path / "broken.png"))
        visitor.wait(lambda: "the image can't be read" in visitor.find("#problem").text)
    visitor.find("#text").send_keys("a", Keys.ENTER)
    visitor.wait(lambda: visitor.all(".result"))
    assert not visitor.find("#problem").is_displayed()


def test_the_token_is_asked_for_once(browser: Any, served: Any, folder: Path, start: Any) -> None:
    emulate(browser)
    index, _ = update_folder(folder, served.embedder)
    with start(replace(served, vlm=None, images=folder, index=index), token=TOKEN) as server:
        visitor = Visitor(browser, server)
        visitor.wait(lambda: visitor.find("#token").is_displayed())
        visitor.find("#token").send_keys("wrong", Keys.ENTER)
        visitor.wait(lambda: "refused this token" in visitor.find("#token-problem").text)
        visitor.find("#token").send_keys(TOKEN, Keys.ENTER)
        visitor.ready()
        visitor.find("#text").send_keys("a", Keys.ENTER)
        visitor.wait(lambda: len(visitor.all(".result")) == 24)
        browser.refresh()
        visitor.ready()
        assert not visitor.find("#token-dialog").is_displayed()
        assert not visitor.find("#question-form").is_displayed()  # no model that answers
