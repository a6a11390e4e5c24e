"""Chromium, for tests of what a page does."""

from __future__ import annotations

import json
import shutil
from typing import Any

__all__ = ["Browser"]


class Browser:
    """A browser, with the few gestures that the tests need."""

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = next(
            path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))
        )
        self.driver: Any = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(20)
        still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", still)

    def open(self, url: str, *, width: int = 1200) -> None:
        self.driver.get_log("browser")
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(url)
        self.wait("document.querySelectorAll('section.api').length && document.getElementById('state').textContent")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, *arguments: Any) -> Any:
        """Wait until an expression is true, and return it."""
        script = (
            "const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);"
            f"const look = () => {{ const found = (function () {{ return {condition}; }}).apply(null, given);"
            "if (found) done(found); else requestAnimationFrame(look); }; look();"
        )
        return self.driver.execute_async_script(script, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def send(self, api: str) -> str:
        """Press the button of an API's form, and return the status of the answer."""
        self.run("document.querySelector(arguments[0]).replaceChildren()", f"#{api} .output")
        self.find(f"#{api} button[type=submit]").click()
        return str(self.wait(f"document.querySelector('#{api} .answer .status')?.textContent"))

    def answer(self, api: str) -> Any:
        return json.loads(self.run("return document.querySelector(arguments[0]).textContent", f"#{api} pre.json"))

    def tab(self, scope: str, title: str) -> None:
        tabs = self.driver.find_elements("css selector", f"{scope} [role=tab]")
        next(tab for tab in tabs if tab.text == title).click()

    def problems(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
