"""Pages in a real browser: whether everyone can read and use them, in light and dark, on a phone and on a desk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from playwright.sync_api import Locator, Page, sync_playwright

from tests import services
from tests.world import PASSWORD, Person, World

PHONE, DESK = 360, 1280
_HEIGHT = 800
_TABS = 120
_LOOK = """async only => {
  const options = only ? {runOnly: {type: 'rule', values: [only]}} : {};
  const {violations} = await axe.run(document, {resultTypes: ['violations'], ...options});
  return violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.map(n => n.html).slice(0, 3).join(' ')}`);
}"""
_SIDEWAYS = "() => document.documentElement.scrollWidth - innerWidth"
_UNSEEN = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter(e => {
    e.focus();
    const style = getComputedStyle(e);
    return document.activeElement === e && !(style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2);
  }).map(e => e.outerHTML.slice(0, 200))"""
FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return e === document.body ? null
    : {it: e.outerHTML, seen: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2};
}"""


@lru_cache(maxsize=1)
def _axe() -> str:
    """axe-core, out of its Python package."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@dataclass
class Walk:
    """Pages that were looked at, and everything that is wrong with them."""

    origin: str
    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """What the browser complains of is wrong too: a broken policy, a file that is not there."""

        def said(text: str) -> None:
            refused = "responded with a status of 4" in text  # some walks are about being refused
            if page.url.startswith(self.origin) and not refused:
                self.wrong.append(f"{page.url}: {text}")

        page.on("console", lambda message: said(message.text))
        page.on("pageerror", lambda error: said(str(error)))

    def look(self, page: Page, name: str) -> None:
        """Hold the page to all of it: what axe calls serious, one heading, no wider than its window, a focus to see."""
        page.wait_for_load_state()
        assert page.url.startswith(self.origin), f"{name} is at {page.url}"
        self.seen.append(name)
        found = [f"{page.locator('h1').count()} first headings"] if page.locator("h1").count() != 1 else []
        page.evaluate(_axe())
        for scheme, rules in (("dark", None), ("light", "color-contrast")):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            found += [f"{scheme}: {each}" for each in page.evaluate(_LOOK, rules)]
        for width in (DESK, PHONE):
            page.set_viewport_size({"width": width, "height": _HEIGHT})
            if (over := page.evaluate(_SIDEWAYS)) > 0:
                found.append(f"{over} px wider than {width}")
        page.keyboard.press("Tab")  # from now on whatever takes the focus takes it as if by keyboard
        found += [f"focus is not seen: {each}" for each in page.evaluate(_UNSEEN)]
        self.wrong += [f"{name}: {each}" for each in found]


@contextmanager
def browser(*, scheme: Literal["light", "dark"] = "light", width: int = DESK, scripts: bool = True) -> Iterator[Page]:
    """A page of a fresh browser. While it is open, this thread runs no other event loop."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=services.chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        size = {"width": width, "height": _HEIGHT}
        yield chromium.new_page(color_scheme=scheme, viewport=size, java_script_enabled=scripts)  # type: ignore[arg-type]  # a TypedDict
        chromium.close()


def reach(page: Page, target: Locator) -> None:
    """Go there by the Tab key alone, as who has no mouse does; the focus has to be seen on arriving."""
    for _ in range(_TABS):
        page.keyboard.press("Tab")
        if target.evaluate("e => e === document.activeElement"):
            assert page.evaluate(FOCUSED)["seen"], f"the focus is not seen on {target}"
            return
    raise AssertionError(f"Tab does not lead to {target} at {page.url}")


def log_in(page: Page, world: World, password: str = PASSWORD, person: Person | None = None) -> None:
    """On the log-in page."""
    page.get_by_label("E-mail").fill((person or world.me).user.email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
