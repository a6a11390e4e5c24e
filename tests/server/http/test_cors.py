"""What pages of other sites may ask in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from kappa.server.http.cors import CrossOrigin
from kappa.server.http.exchange import RequestIds

PAGE = "https://app.example.com"
OTHER = "https://evil.example.com"
STATIC_HEADERS = "Content-Type, Content-Encoding, X-Request-Id, X-Request-Timeout-Seconds"


async def _app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"Access-Control-Allow-Origin", b"mine")]
    await send({"type": "http.response.start", "status": 418, "headers": headers})
    await send({"type": "http.response.body", "body": scope["method"].encode()})


def ask(
    allowed: list[str], method: str, headers: Mapping[str, str], *, is_private: bool = False
) -> tuple[int, list[tuple[str, str]]]:
    """Return the status and the headers of the answer; the application inside answers 418."""
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": iter(pairs)}
    asyncio.run(CrossOrigin(_app, RequestIds("p"), allowed, is_private=is_private)(scope, None, send))
    return sent[0]["status"], [(name.decode().lower(), value.decode()) for name, value in sent[0]["headers"]]


def about_origins(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return what is said to browsers; nothing may be said twice."""
    said = [(name, value) for name, value in headers if name.startswith("access-control-") or name == "vary"]
    assert len(dict(said)) == len(said)
    return dict(said)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize(("allowed", "who"), [([PAGE, "http://a"], PAGE), (["*"], "*"), (["*", PAGE], "*")])
def test_a_page_that_may_ask_can_read_every_answer(method: str, allowed: list[str], who: str) -> None:
    status, headers = ask(allowed, method, {"Origin": PAGE})
    assert status == 418
    assert about_origins(headers) == {
        "access-control-allow-origin": who,
        "access-control-expose-headers": "X-Request-Id, Retry-After",
        "vary": "Origin",
    }


@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{PAGE}.evil.com", "https://app.example.com:444", "", f"{PAGE}, {OTHER}"]
)
def test_another_page_cannot(origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert about_origins(ask([PAGE], method, headers)[1]) == {"vary": "Origin"}


def test_without_a_setting_nothing_is_changed() -> None:
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    assert ask([], "OPTIONS", preflight) == (
        418,
        [("content-type", "text/plain"), ("access-control-allow-origin", "mine")],
    )


@pytest.mark.parametrize(
    ("wanted", "may"),
    [
        pytest.param(None, STATIC_HEADERS, id="none"),
        pytest.param("content-type,x-request-id", STATIC_HEADERS, id="known-ones"),
        pytest.param("content-type, X-Tenant", f"{STATIC_HEADERS}, X-Tenant", id="one-that-functions-read"),
        pytest.param("a b, x\r\ny, ,<>", STATIC_HEADERS, id="what-is-no-name"),
        pytest.param(",".join(f"x{number}" for number in range(5000)), None, id="too-many"),
    ],
)
def test_a_preflight_is_answered(wanted: str | None, may: str | None) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    status, headers = ask(
        [PAGE], "OPTIONS", asked | ({} if wanted is None else {"Access-Control-Request-Headers": wanted})
    )
    said = about_origins(headers)
    allowed = said.pop("access-control-allow-headers")
    assert (allowed == may) if may is not None else len(allowed) < 1000
    assert status == 204
    assert said == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
        "access-control-max-age": "600",
        "vary": "Origin",
    }


@pytest.mark.parametrize(
    ("method", "headers", "is_refused"),
    [
        pytest.param("POST", {"Sec-Fetch-Site": "cross-site", "Origin": OTHER}, True, id="another-site"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True, id="a-picture"),
        pytest.param("OPTIONS", {"Sec-Fetch-Site": "cross-site", "Origin": OTHER}, True, id="preflight"),
        pytest.param("POST", {"Origin": OTHER}, True, id="a-browser-that-says-less"),
        pytest.param("POST", {"Origin": "null"}, True, id="a-page-without-origin"),
        pytest.param(
            "POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True, id="a-form-of-another"
        ),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False, id="a-link"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "https://hub"}, False, id="behind-a-proxy"),
        pytest.param(
            "POST", {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, False, id="own-machine"
        ),
        pytest.param("GET", {"Sec-Fetch-Site": "none"}, False, id="typed-in"),
        pytest.param("POST", {"Origin": "http://LOCALHOST:5000"}, False, id="own-page-of-a-browser-that-says-less"),
        pytest.param("POST", {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, False, id="allowed"),
        pytest.param("POST", {}, False, id="no-browser"),
    ],
)
def test_a_server_for_development_answers_no_other_sites(
    method: str, headers: dict[str, str], is_refused: bool
) -> None:
    asked = {"Host": "localhost:5000", **headers}
    assert (ask([PAGE], method, asked, is_private=True)[0] == 403) is is_refused
    assert ask([PAGE], method, asked)[0] == 418
    if PAGE not in headers.values():
        assert (ask([], method, asked, is_private=True)[0] == 403) is is_refused
        assert ask(["*"], method, {**asked, "Origin": headers.get("Origin", OTHER)}, is_private=True)[0] == 418
