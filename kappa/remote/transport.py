"""Transports, which send a client's requests to a server: over HTTP with httpx, or in process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from kappa.errors import InferenceFailedError, UsageError, optional_import
from kappa.secret_urls import masked
from kappa.types import HTTPHeaders

__all__ = ["AsyncHttpTransport", "AsyncTransport", "HttpTransport", "Request", "Response", "Transport", "unanswered"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent."""

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Response:
    """A server's answer."""

    http_status: int
    headers: HTTPHeaders
    body: bytes


class Transport(Protocol):
    """Sends requests to a server."""

    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status; raises `InferenceFailedError` if there is none."""

    def close(self) -> None:
        """Close the connections."""


class AsyncTransport(Protocol):
    """Sends requests to a server without blocking the event loop."""

    async def send(self, request: Request) -> Response:
        """Return the answer, whatever its status; raises `InferenceFailedError` if there is none."""

    async def close(self) -> None:
        """Close the connections."""


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def _httpx() -> Any:
    with optional_import("httpx", needed_for="a client of running services"):
        import httpx
    return httpx


class HttpTransport:
    """Sends requests over HTTP and keeps the connections."""

    def __init__(self) -> None:
        self._http = _httpx().Client()

    def send(self, request: Request) -> Response:
        with _problems(request):
            return _response(self._http.request(**_arguments(request)))

    def close(self) -> None:
        self._http.close()


class AsyncHttpTransport:
    """Does the same without blocking the event loop."""

    def __init__(self) -> None:
        self._http = _httpx().AsyncClient()

    async def send(self, request: Request) -> Response:
        with _problems(request):
            return _response(await self._http.request(**_arguments(request)))

    async def close(self) -> None:
        await self._http.aclose()


def _arguments(request: Request) -> dict[str, Any]:
    for name, value in request.headers.items():
        if not (value.isascii() and value.isprintable()):  # httpx would show the value, which may be a secret
            raise UsageError(f"The header `{name}` cannot be sent: its value must be ASCII text without line breaks.")
    return {
        "method": request.method,
        "url": request.url,
        "content": request.body or None,
        "headers": dict(request.headers),
        "timeout": request.timeout_s,
    }


def _response(answer: Any) -> Response:
    return Response(answer.status_code, HTTPHeaders(dict(answer.headers)), answer.content)


@contextmanager
def _problems(request: Request) -> Iterator[None]:
    """Turn httpx's exceptions into `InferenceFailedError`."""
    httpx = _httpx()
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise InferenceFailedError(unanswered(masked(request.url), exc)) from exc


def unanswered(url: str, reason: object) -> str:
    """Say that a server does not answer, and what to do: most often, none runs there."""
    if "refused" in str(reason).lower():
        parts = urlsplit(url)
        port = f" --port {parts.port}" if parts.port else ""
        return (
            f"Nothing listens at `{parts.scheme}://{parts.netloc}` ({str(reason).rstrip('.')}): start it with "
            f"`kappa serve .{port}`, or give the address that `kappa serve` printed."
        )
    text = str(reason).strip().rstrip(".") or type(reason).__name__
    return f"`{url}` does not answer: {text}. See that a service runs there, and at which port."
