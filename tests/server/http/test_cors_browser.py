"""What a page of another site gets to see of a service, as a real browser decides it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.server.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.engine]

CODE = """
def double(values):
    return [value * 2 for value in values]

def refuse(value):
    from kappa.errors import BadInputError
    raise BadInputError("not that")
"""
ASK = """
const [url, headers, body, done] = arguments;
fetch(url, body === null ? {headers} : {method: "POST", headers, body})
  .then(async (answer) => done({
    status: answer.status, text: await answer.text(), id: answer.headers.get("X-Request-Id"),
  }))
  .catch((error) => done({error: error.name}));
"""


class Page(BaseHTTPRequestHandler):
    """An empty page of some other site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other</title>")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.driver.quit()


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_a_page_reads_the_answers_of_a_service_that_names_it_and_of_no_other(
    browser: Browser, site: str, start: Callable[..., Any], door: str
) -> None:
    def ask(url: str, headers: dict[str, str], body: str | None) -> Any:
        return browser.driver.execute_async_script(ASK, url, headers, body)

    json_body = {"Content-Type": "application/json"}
    wanted = {"batch": ["double"], "single": ["refuse"], "server": door}
    named = start(CODE, **wanted, options={"port": 0, "cors_origins": [site]})
    other = start(CODE, **wanted, options={"port": 0, "cors_origins": ["https://app.example.com"]})
    silent = start(CODE, **wanted, options={"port": 0})
    browser.driver.get(site)

    good = ask(f"http://127.0.0.1:{named.port}/double", json_body, "21")
    assert (good["status"], good["text"]) == (200, "42")
    assert good["id"]
    refused = ask(f"http://127.0.0.1:{named.port}/refuse", json_body, "1")
    assert (refused["status"], "not that" in refused["text"]) == (400, True)
    given = ask(f"http://127.0.0.1:{named.port}/double", {**json_body, "X-Request-Id": "mine"}, "1")
    assert given["id"] == "mine"
    assert ask(f"http://127.0.0.1:{named.port}/healthz", {}, None)["status"] == 200
    assert ask(f"http://127.0.0.1:{named.port}/nothing", json_body, "1")["status"] == 404
    for one in (other, silent):
        assert ask(f"http://127.0.0.1:{one.port}/double", json_body, "21") == {"error": "TypeError"}
