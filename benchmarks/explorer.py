"""How fast the explorer answers a slider: in the kernel, and until the picture is in the browser.

Medians of 50 moves on the embedded model. In the browser the clock runs in the page, from the key
that moves the slider until the new picture is decoded; it needs a Chromium.
"""

from __future__ import annotations

import statistics
import time

from tests.browser.conftest import QUIET, chromium
from tests.browser.servers import app
from xaiutils import explore

MOVES = 50
WATCH = """
() => {
  window.took = [];
  let started = 0;
  document.addEventListener('keydown', () => { started = performance.now(); }, true);
  const tile = document.querySelector('figure[data-key="hybrid"]').closest('.widget-html-content');
  new MutationObserver(async () => {
    await tile.querySelector('img').decode();
    window.took.push(performance.now() - started);
  }).observe(tile, { childList: true, subtree: true });
}
"""


def main() -> None:
    explorer = explore()
    for name, values in (("threshold", 0.02), ("sigma", 0.25)):
        slider = getattr(explorer.controls, name)
        took = []
        for move in range(MOVES):
            started = time.perf_counter()
            slider.value = round((move % 30 + 1) * values, 2)
            took.append((time.perf_counter() - started) * 1000)
        print(
            f"kernel, {name}: median {statistics.median(took):.1f} ms, longest {max(took):.1f} ms"
        )
    if chromium() is None:
        print("browser: no Chromium")
        return
    took = in_browser()
    print(f"to the picture: median {statistics.median(took):.0f} ms, longest {max(took):.0f} ms")


def in_browser() -> list[float]:
    from playwright.sync_api import sync_playwright

    with app() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=[*QUIET, "--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector('figure[data-key="hybrid"] img')
        row = page.locator(".widget-slider", has=page.locator('label:text-is("threshold")'))
        row.locator(".noUi-handle").first.focus()
        page.wait_for_timeout(1000)
        page.evaluate(WATCH)
        for move in range(MOVES):
            page.keyboard.press("ArrowRight")
            page.wait_for_function(f"() => window.took.length > {move}")
        found: list[float] = page.evaluate("() => window.took")
        browser.close()
    return found[:MOVES]


if __name__ == "__main__":
    main()
