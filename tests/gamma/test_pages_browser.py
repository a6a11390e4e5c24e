"""The pages of a Gamma server in a real browser: search while one types, keys, dark and narrow screens, axe."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from tests.gamma.servers import serving
from tests.gamma.test_pages import alias, put
from tests.server.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.engine]

PAGES = {
    "services": "/",
    "search": "/?search=absent",
    "service": "/services/default/Iris",
    "version": "/bundles/default/Iris/2",
    "comparison": "/compare/default/Iris?before=1&after=2",
    "error": "/bundles/default/Iris/9",
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pages")
    registry = GammaService(DirectoryStorage(folder / "team"), sqlite_url(folder / "team.db"))
    code = {"Iris/handlers.py": b"def predict(value):\n    return value\n", "README.md": b"# Iris\n"}
    one = put(registry, "1", day=1, contents=code, metadata={"auc": 0.91, "loss": 0.3})
    code["Iris/handlers.py"] = b"def predict(value):\n    return [value]\n"
    labels = {"team": "growth", "stage": "live"}
    two = put(registry, "2", day=2, contents=code, metadata={"auc": 0.94, "loss": 0.2}, labels=labels, doc="Flowers.")
    alias(registry, one, "production")
    alias(registry, two, "canary")
    alias(registry, two, "production")
    put(registry, "7", day=3, name="Wine", namespace="cellar")
    with serving(registry) as served:
        yield served.http
    registry.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.driver.quit()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core, the rules by which pages are checked for people who do not see them."""
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    subprocess.run([*command, "axe-core@4"], check=True, capture_output=True, timeout=240)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def show(browser: Browser, address: str, *, width: int = 1200, is_dark: bool = False) -> None:
    browser.driver.get_log("browser")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.driver.get(address)


def violations(browser: Browser, axe: str) -> list[tuple[str, Any]]:
    """Return what axe finds that is serious or critical, each with where it is."""
    browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    script = "const done = arguments[arguments.length - 1]; axe.run(document).then((found) => done(found.violations));"
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in browser.driver.execute_async_script(script)
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_nothing_serious_is_in_the_way_of_people_who_do_not_see_the_page(
    browser: Browser, url: str, axe: str, page: str, is_dark: bool
) -> None:
    show(browser, url + PAGES[page], is_dark=is_dark)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(browser, axe) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_telephone(browser: Browser, url: str, page: str) -> None:
    show(browser, url + PAGES[page], width=360)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.run("return document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("page", [page for page in PAGES if page != "error"])
def test_a_page_loads_without_a_problem_and_from_one_place(browser: Browser, url: str, page: str) -> None:
    show(browser, url + PAGES[page])
    origins = "return [...new Set(performance.getEntriesByType('resource').map((one) => new URL(one.name).origin))]"
    assert browser.run(origins) in ([], [url])
    assert browser.problems() == []


def test_services_are_found_while_one_types(browser: Browser, url: str) -> None:
    show(browser, url)
    browser.find("#search").send_keys("wIn")
    browser.wait("document.querySelectorAll('#results tbody tr').length === 1")
    assert "Wine" in browser.text("#results")
    assert browser.run("return location.search") == "?search=wIn"
    browser.find("#search").send_keys("dow")
    browser.wait("document.querySelector('#results').textContent.includes('No service has')")


def test_the_keys_alone_lead_from_the_first_page_to_a_comparison(browser: Browser, url: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, url)

    def press(*keys: str) -> None:
        browser.driver.switch_to.active_element.send_keys(*keys)

    def focus_on(words: str) -> None:
        for _ in range(60):
            press(Keys.TAB)
            focused = "return document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
            if words in browser.run(focused):
                return
        raise AssertionError(f"no Tab leads to `{words}`")

    press(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    focus_on("Iris")
    press(Keys.ENTER)
    browser.wait("document.querySelector('#versions')")
    focus_on("Compare the two")
    press(Keys.ENTER)
    browser.wait("document.querySelector('h1').textContent === 'What changed'")
    assert "+    return [value]" in browser.text("pre.diff")


def test_without_scripts_all_is_there(browser: Browser, url: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, f"{url}/?search=iris")
        assert browser.driver.find_element("css selector", "#results tbody th").text == "Iris"
        show(browser, f"{url}/bundles/default/Iris/2")
        assert browser.driver.find_element("css selector", ".command code").text == "kappa serve-gunicorn Iris:2"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
