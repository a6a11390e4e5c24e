"""Clients of a running service: `kappa.client(url)` and `kappa.async_client(url)`.

A call is a generator that yields what is to be done (send this request, wait so long) and is sent what came of it; the
two clients only differ in how they do these. What the service offers is read from its `docs.json`, once.
"""

from __future__ import annotations

import asyncio
import difflib
import random
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar

import orjson

from kappa.errors import AnswerError, InferenceFailedError, UsageError
from kappa.remote.transport import AsyncHttpTransport, AsyncTransport, HttpTransport, Request, Response, Transport
from kappa.remote.wire import RemoteApi, Returns, decode_answer, encode_request, plainer_request
from kappa.secret_urls import masked

__all__ = ["AsyncClient", "Client", "async_client", "client"]

T = TypeVar("T")
_RETRIED = frozenset({429, 503})
_JITTER = 0.25


Step = Request | float  # a request to be sent, or seconds to wait
Steps = Generator[Step, Response | None, T]


class _Caller:
    """The common part of both clients: all but sending and waiting."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None, timeout_s: float, retries: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"`{masked(url)}` is not the URL of a service: it begins with `http://` or `https://`.")
        self.url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        self._retries = retries
        self._apis: dict[str, RemoteApi] | None = None

    def __repr__(self) -> str:
        return f"<client of {masked(self.url)}>"

    def _call(
        self,
        name: str,
        value: Any,
        *,
        returns: Returns | None,
        media_type: str | None,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> Steps[Any]:
        """Ask one API: encode, send, wait while the server is busy, decode."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        apis = yield from self._discovered(deadline)
        if (api := apis.get(name)) is None:
            names = ", ".join(f"`{api}`" for api in apis)
            near = difflib.get_close_matches(name, apis, n=1, cutoff=0.5)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise UsageError(f"The service at `{masked(self.url)}` has no API `{name}`; it has {names}.{hint}")
        body, content_type = encode_request(value, api, media_type=media_type)
        negotiated = {"Content-Type": content_type, "Accept": api.accept(returns)}
        response = yield from self._exchange(
            "POST", api.path, deadline, body=body, headers={**negotiated, **(headers or {})}
        )
        plainer = (
            plainer_request(value, api, content_type) if response.http_status == 415 and media_type is None else None
        )
        if plainer is not None:  # it describes what it reads only where a package is installed
            body, negotiated["Content-Type"] = plainer
            response = yield from self._exchange(
                "POST", api.path, deadline, body=body, headers={**negotiated, **(headers or {})}
            )
        self._check(response, f"`{name}`")
        return decode_answer(response.body, response.headers["content-type"], api, returns=returns)

    def _discovered(self, deadline: float) -> Steps[dict[str, RemoteApi]]:
        if self._apis is None:
            response = yield from self._exchange("GET", "/docs.json", deadline)
            self._check(response, "`docs.json`")
            self._apis = RemoteApi.all_of(_json(response, self.url))
        return self._apis

    def _metadata(self) -> Steps[dict[str, Any]]:
        response = yield from self._exchange("GET", "/metadata", time.monotonic() + self._timeout_s)
        self._check(response, "`metadata`")
        return _json(response, self.url)

    def _readiness(self) -> Steps[bool]:
        response = yield Request("GET", f"{self.url}/readyz", headers=self._headers, timeout_s=self._timeout_s)
        return response is not None and response.http_status == 200

    def _exchange(
        self, method: str, path: str, deadline: float, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Steps[Response]:
        """Send a request, and retry it when a busy server says; it refuses requests that it cannot answer in time."""
        for attempt in range(self._retries + 1):
            remaining = max(deadline - time.monotonic(), 0.001)
            limits = {"X-Request-Timeout-Seconds": f"{remaining:.3f}"} if method == "POST" else {}
            every = {**self._headers, **limits, **(headers or {})}
            response = yield Request(method, f"{self.url}{path}", body, every, remaining)
            assert response is not None  # noqa: S101 - a request is answered with a response
            wait_s = _retry_after_s(response)
            if wait_s is None or attempt == self._retries or time.monotonic() + wait_s >= deadline:
                return response
            yield wait_s * (1 + _JITTER * random.random())  # noqa: S311 - so that clients do not come back together
        raise AssertionError("the last attempt returns")

    def _check(self, response: Response, subject: str) -> None:
        if 200 <= response.http_status < 300:
            return
        message, request_id = _problem(response)
        raise AnswerError(
            f"{subject} at `{masked(self.url)}` answered {response.http_status}: {message}",
            http_status=response.http_status,
            request_id=request_id,
        )


def _json(response: Response, url: str) -> dict[str, Any]:
    try:
        return orjson.loads(response.body)  # type: ignore[no-any-return]
    except ValueError:
        raise InferenceFailedError(f"What answers at `{masked(url)}` is not a service of Kappa's.") from None


def _problem(response: Response) -> tuple[str, str]:
    """Return the message of an error, and the id of the request."""
    try:
        problem = orjson.loads(response.body)
        return str(problem["error"]), str(problem.get("request_id", ""))
    except (ValueError, TypeError, KeyError):
        return response.body.decode("utf-8", "replace")[:500].strip(), response.headers["x-request-id"]


def _retry_after_s(response: Response) -> float | None:
    """Return how many seconds a busy server asks to wait (RFC 9110, section 10.2.3); ``None`` if it does not ask."""
    text = response.headers["retry-after"]
    if response.http_status not in _RETRIED or not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


class Client(_Caller):
    """Asks a running service; each API is a method. May be used from several threads.

    >>> with kappa.client("http://localhost:5000") as client:  # doctest: +SKIP
    ...     client.predict(frame)
    """

    def __init__(
        self,
        url: str,
        transport: Transport,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        retries: int = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(url, headers=headers, timeout_s=timeout_s, retries=retries)
        self._transport = transport
        self._sleep = sleep

    def call(
        self,
        name: str,
        value: Any,
        /,
        *,
        returns: Returns | None = None,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask the API ``name`` and return its answer as a value.

        ``value`` may be what JSON has, a `DataFrame`, `Series`, array or tensor, bytes, a `Path` or an open file, and a
        mapping of these for an API that takes a form. ``returns`` makes the answer a `"dataframe"`, `"series"`,
        `"ndarray"`, what `"json"` has, `"text"` or `"bytes"`; without it, the API's output adapter decides.
        ``media_type`` is what the value is sent as, where an API takes several. While the server is busy, the call
        waits as it says; ``timeout_s`` limits all of it, and the server knows. Raises `AnswerError` for an error.
        """
        return self._drive(
            self._call(name, value, returns=returns, media_type=media_type, headers=headers, timeout_s=timeout_s)
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda value, **options: self.call(name, value, **options)

    @property
    def apis(self) -> list[str]:
        """The names of the service's APIs."""
        return list(self._drive(self._discovered(time.monotonic() + self._timeout_s)))

    def metadata(self) -> dict[str, Any]:
        """Return what the service says it is."""
        return self._drive(self._metadata())

    def is_ready(self) -> bool:
        """Return whether predictions can be asked for."""
        try:
            return self._drive(self._readiness())
        except InferenceFailedError:
            return False

    def _drive(self, steps: Steps[T]) -> T:
        response: Response | None = None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            response = None
            if isinstance(step, Request):
                response = self._transport.send(step)
            else:
                self._sleep(step)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


C = TypeVar("C", bound=Client)


class AsyncClient(_Caller):
    """Asks a running service from an event loop; each API is a method that is awaited.

    >>> async with kappa.async_client("http://localhost:5000") as client:  # doctest: +SKIP
    ...     await client.predict(frame)
    """

    def __init__(
        self,
        url: str,
        transport: AsyncTransport,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        retries: int = 5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(url, headers=headers, timeout_s=timeout_s, retries=retries)
        self._transport = transport
        self._sleep = sleep

    async def call(
        self,
        name: str,
        value: Any,
        /,
        *,
        returns: Returns | None = None,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask the API ``name``, as `Client.call` does."""
        return await self._drive(
            self._call(name, value, returns=returns, media_type=media_type, headers=headers, timeout_s=timeout_s)
        )

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda value, **options: self.call(name, value, **options)

    async def apis(self) -> list[str]:
        """Return the names of the service's APIs."""
        return list(await self._drive(self._discovered(time.monotonic() + self._timeout_s)))

    async def metadata(self) -> dict[str, Any]:
        """Return what the service says it is."""
        return await self._drive(self._metadata())

    async def is_ready(self) -> bool:
        """Return whether predictions can be asked for."""
        try:
            return await self._drive(self._readiness())
        except InferenceFailedError:
            return False

    async def _drive(self, steps: Steps[T]) -> T:
        response: Response | None = None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            response = None
            if isinstance(step, Request):
                response = await self._transport.send(step)
            else:
                await self._sleep(step)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def client(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 60.0, retries: int = 5) -> Client:
    """Return a client of the service at ``url``; nothing is sent before it is asked.

    ``headers`` go with every request, e.g. a token. ``retries`` is how often a call that the server is too busy for is
    made again. Needs the extra `client`.
    """
    return Client(url, HttpTransport(), headers=headers, timeout_s=timeout_s, retries=retries)


def async_client(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 60.0, retries: int = 5
) -> AsyncClient:
    """Return a client of the service at ``url`` for an event loop, otherwise as `client` does."""
    return AsyncClient(url, AsyncHttpTransport(), headers=headers, timeout_s=timeout_s, retries=retries)
