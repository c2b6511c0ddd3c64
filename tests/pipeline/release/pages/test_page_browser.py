"""The page in a real browser, on a phone and on a desk: it fits, it fetches nothing, it is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from page_helpers import fact, inputs
from worlds import VERSIONS, job

from infra.storage.workspace import Workspace
from pipeline.flow import run_editions
from pipeline.gate.output import PAGE
from pipeline.release.pages.page import render_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.unwanted(), reason=f"{browser.VARIABLE}=none"),
]
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as running:
        yield running


@pytest.fixture()
def released(world: Callable[..., Path], tmp_path: Path) -> Path:
    """The second release of a small world, with a parent and a curve."""
    root = tmp_path / "workspace"
    run_editions(job(world(), root))
    release = Workspace.at(str(root)).find("release", VERSIONS[1])
    assert release is not None
    return release.path / PAGE


@pytest.fixture()
def crowded(tmp_path: Path) -> Path:
    """A page with everything on it, some of it long without a space, some right to left."""
    long = {
        "answer": "x" * 300,
        "target": "y" * 90,
        "base_answer": "\u0645\u062d\u0645\u062f " * 40,
    }
    facts = [fact(0, **long), *(fact(number) for number in range(1, 72))]
    path = tmp_path / PAGE
    path.write_text(render_page(inputs(facts=facts)), encoding="utf-8")
    return path


@pytest.mark.parametrize("which", ["released", "crowded"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_seen(
    chromium: Any,
    request: pytest.FixtureRequest,
    which: str,
    size: str,
    scheme: str,
    tmp_path: Path,
) -> None:
    """Folded and unfolded, nothing is wider than the window; one request, that of the page itself;
    no word on the console; verdict, tables and charts are on the screen."""
    width, height = SIZES[size]
    view = {"width": width, "height": height}
    context = chromium.new_context(viewport=view, color_scheme=scheme)
    page = context.new_page()
    heard: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda made: asked.append(made.url))
    address = request.getfixturevalue(which).as_uri()
    page.goto(address)
    assert page.locator("#verdict").is_visible() and "Passed" in page.inner_text("#verdict")
    box = page.locator("#verdict").bounding_box()
    assert box and box["y"] + box["height"] < height, "the verdict is below the fold"
    assert page.locator("table:visible").count() >= 3
    assert page.locator("svg.chart:visible").count() >= 4
    for unfolded in (False, True):
        if unfolded:
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        wide, window = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= window == width
    sizes = page.eval_on_selector_all("p, td", "es => es.map(e => getComputedStyle(e).fontSize)")
    assert min(float(text.removesuffix("px")) for text in sizes) >= 14
    picture = tmp_path / "page.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000
    assert not heard and asked == [address]
    context.close()
