"""The door of HTTP: `/api/v1`, its OpenAPI document, pages for people, health and metrics.

Every operation of a registry blocks. So each has a thread of a pool; the event loop only moves bytes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import falcon
import falcon.asgi

from kappa.errors import BundleNotFoundError, KappaError, UsageError
from kappa.gamma.access.gate import Admitted, Gate
from kappa.gamma.doors.bounds import Asgi, within_bounds
from kappa.gamma.doors.exchanges import METRICS_TYPE, ClientGoneError, Exchange, Exchanges, request_id_of
from kappa.gamma.doors.openapi import openapi_document
from kappa.gamma.doors.operations import OPERATIONS, Call, Operation
from kappa.gamma.doors.pages import page_routes
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.wire.checks import check_digest, check_offset, check_session, checked_tag
from kappa.gamma.wire.chunks import CHUNK_BYTES
from kappa.gamma.wire.failures import name_of, refusal_headers, status_of
from kappa.gamma.wire.http_api import ERROR_HEADER, OPERATION_HEADER, PREFIX, BlobSize, from_json, to_json
from kappa.gamma.wire.idle import IDLE_S
from kappa.tag import Tag

__all__ = ["http_app"]

T = TypeVar("T")

_THREADS = 64
_LARGEST_BODY = 64 * 1024 * 1024
_JSON = "application/json"
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")
_SIZES_KEPT = 64
_SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def http_app(gate: Gate, exchanges: Exchanges, *, is_ready: Callable[[], bool], idle_s: float = IDLE_S) -> Asgi:
    """Return the ASGI application of the registry behind a gate; ``is_ready`` says whether it can be used now."""
    middleware: list[Any] = [_Headers(), _SameSite()]
    app = falcon.asgi.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, _answer_unexpected)
    app.add_error_handler(KappaError, _answer_failure)
    app.add_error_handler(falcon.HTTPError, _answer_http_error)
    app.add_error_handler(ClientGoneError, _pass_on)
    door = _Door(gate, exchanges, idle_s=idle_s)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = door.responder(operation)
    for path, responders in paths.items():
        app.add_route(PREFIX + path or "/", _resource(responders))
    blob = "/bundles/{namespace}/{name}/{version}/blobs/{digest}"
    app.add_route(PREFIX + blob, _resource({"GET": door.read_blob}))
    app.add_route(f"{PREFIX}/uploads/{{session}}/blobs/{{digest}}", _resource({"PUT": door.write_blob}))
    app.add_route(f"{PREFIX}/openapi.json", _resource({"GET": _openapi}))
    for path, responder in page_routes(door.ask_for_page).items():
        app.add_route(path, _resource({"GET": responder}))
    app.add_route("/healthz", _resource({"GET": _health}))
    app.add_route("/readyz", _resource({"GET": _readiness(is_ready)}))
    app.add_route("/metrics", _resource({"GET": door.metrics}))
    return within_bounds(app, idle_s=idle_s)  # type: ignore[arg-type]  # falcon's own types of the same


def _resource(responders: dict[str, Any]) -> object:
    """Return a resource of Falcon's with a responder for each method."""
    return type("Resource", (), {f"on_{method.lower()}": staticmethod(do) for method, do in responders.items()})()


class _Door:
    def __init__(self, gate: Gate, exchanges: Exchanges, *, idle_s: float) -> None:
        self._gate = gate
        self._exchanges = exchanges
        self._idle_s = idle_s
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kappa-gamma-http")
        self._sizes: OrderedDict[tuple[str, Tag], dict[str, int]] = OrderedDict()
        self._sizes_lock = Lock()

    def responder(self, operation: Operation) -> Any:
        """Return what answers an operation of the table."""

        async def respond(req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
            admitted = await self._admit(operation.name, req)
            exchange = self._exchange(operation.name, req)
            data = await self._body(req) if operation.body is not None else b""

            def ask() -> bytes:
                with exchange:
                    call = Call(path, _query(req), _read(operation, req, data), req.get_header(OPERATION_HEADER))
                    value = operation.ask(admitted.registry, call)
                    return b"" if operation.answer is None else to_json(operation.answer, value)

            answer = await self._in_thread(ask)
            if operation.answer is None:
                resp.status = falcon.HTTP_204
            else:
                resp.content_type, resp.data = _JSON, answer

        return respond

    async def read_blob(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Answer the content of a blob, or one range of it."""
        admitted = await self._admit("ReadBlob", req)
        with ExitStack() as stack:
            exchange = stack.enter_context(self._exchange("ReadBlob", req))
            tag = checked_tag(path["namespace"], path["name"], path["version"])
            digest = check_digest(path["digest"])
            size = await self._in_thread(lambda: self._size_of(admitted, tag, digest))
            span = _range_of(req.get_header("Range"), size)
            if span is None:
                resp.status = falcon.HTTP_416
                resp.set_header("Content-Range", f"bytes */{size}")
                return
            start, end = span
            if (start, end) != (0, size):
                resp.status = falcon.HTTP_206
                resp.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            chunks = await self._in_thread(lambda: admitted.registry.read_blob(tag, digest, offset=start))
            resp.set_header("Accept-Ranges", "bytes")
            resp.set_header("ETag", f'"{digest}"')
            resp.content_type = "application/octet-stream"
            resp.content_length = end - start
            resp.stream = self._streamed(_closable(chunks), end - start, exchange, stack.pop_all())

    async def _streamed(
        self, chunks: Generator[bytes, None, None], size: int, exchange: Exchange, stack: ExitStack
    ) -> AsyncIterator[bytes]:
        with stack, closing(chunks):
            while True:  # at least once, also for an empty file: what is never begun is never closed
                chunk = await self._in_thread(lambda: next(chunks, None))
                if chunk is None:
                    return
                chunk = chunk[: size - exchange.bytes_out]
                exchange.bytes_out += len(chunk)
                yield chunk
                if exchange.bytes_out == size:
                    return

    async def write_blob(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Append a body to a blob of an upload, as it arrives."""
        loop = asyncio.get_running_loop()
        call = Call(path, _query(req))
        admitted = await self._admit("WriteBlob", req)
        started = self._exchange("WriteBlob", req)

        def arriving(exchange: Exchange) -> Iterator[bytes]:
            while True:
                reading = asyncio.run_coroutine_threadsafe(req.stream.read(CHUNK_BYTES), loop)
                try:
                    chunk = reading.result(self._idle_s)
                except TimeoutError:
                    reading.cancel()
                    raise ClientGoneError from None
                if not chunk:
                    return
                exchange.bytes_in += len(chunk)
                yield chunk

        def write() -> int:
            with started as exchange:
                session, digest = check_session(path["session"]), check_digest(path["digest"])
                offset = check_offset(call.number("offset") or 0)
                return admitted.registry.write_blob(session, digest, offset, arriving(exchange))

        size_bytes = await self._in_thread(write)
        resp.content_type, resp.data = _JSON, to_json(BlobSize, BlobSize(size_bytes))

    async def ask_for_page(self, name: str, req: falcon.asgi.Request, show: Callable[[Registry], str]) -> str:
        """Make a page of the registry as the caller may use it, which is an exchange like those of the API."""
        admitted = await self._admit(name, req)
        exchange = self._exchange(name, req)

        def ask() -> str:
            with exchange:
                return show(admitted.registry)

        return await self._in_thread(ask)

    async def metrics(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer the numbers of this server, to every caller who is let in."""
        await self._admit("GetMetrics", req)
        resp.content_type, resp.data = METRICS_TYPE, self._exchanges.metrics()

    async def _admit(self, operation: str, req: falcon.asgi.Request) -> Admitted:
        """Return what a caller may use, before anything of the body is read; a refusal is an exchange, too."""
        authorization, address = req.get_header("Authorization"), req.remote_addr or ""
        if self._gate.is_open:
            return self._gate.admit(authorization, address)
        try:
            return await self._in_thread(lambda: self._gate.admit(authorization, address))
        except Exception:
            with self._exchange(operation, req):
                raise

    def _size_of(self, admitted: Admitted, tag: Tag, digest: str) -> int:
        """Return the size of a blob of a bundle; raises `BundleNotFoundError` where the bundle has no such one.

        A bundle never changes. What may be read is decided by `read_blob`; sizes are kept for one caller alone.
        """
        key = (admitted.caller.token_id, tag)
        with self._sizes_lock:
            sizes = self._sizes.get(key)
        if sizes is None or digest not in sizes:
            sizes = {file.digest: file.size_bytes for file in admitted.registry.files_of(tag)}
            with self._sizes_lock:
                self._sizes[key] = sizes
                while len(self._sizes) > _SIZES_KEPT:
                    self._sizes.popitem(last=False)
        if digest not in sizes:
            raise BundleNotFoundError(f"The bundle `{tag}` has no file of the digest `{digest}`.")
        return sizes[digest]

    def _exchange(self, operation: str, req: falcon.asgi.Request) -> AbstractContextManager[Exchange]:
        return self._exchanges.exchange(
            "http", operation, request_id=req.context.request_id, peer=req.remote_addr or ""
        )

    async def _body(self, req: falcon.asgi.Request) -> bytes:
        if req.content_length is not None and req.content_length > _LARGEST_BODY:
            raise UsageError(f"The body has {req.content_length} bytes; at most {_LARGEST_BODY} are taken.")
        data = bytearray()
        while chunk := await asyncio.wait_for(req.stream.read(CHUNK_BYTES), self._idle_s):
            data += chunk
            if len(data) > _LARGEST_BODY:
                raise UsageError(f"The body has more than {_LARGEST_BODY} bytes.")
        return bytes(data)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _closable(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Return the chunks as a generator, whose end closes what they are read from."""
    yield from chunks


def _query(req: falcon.asgi.Request) -> dict[str, str]:
    """Return the parameters of a query; of a repeated one, the last counts."""
    return {name: value[-1] if isinstance(value, list) else value for name, value in req.params.items()}


def _read(operation: Operation, req: falcon.asgi.Request, data: bytes) -> Any:
    if operation.body is None:
        return None
    if (req.content_type or "").partition(";")[0].strip().lower() != _JSON:
        raise UsageError(f"`{operation.name}` takes a body of the type `{_JSON}`, not `{req.content_type}`.")
    try:
        return from_json(operation.body, data)
    except ValueError as exc:
        raise UsageError(f"The body of `{operation.name}` does not fit: {_problems(exc)}.") from None


def _problems(exc: ValueError) -> str:
    errors = getattr(exc, "errors", None)
    if errors is None:
        return str(exc)
    shown = [f"`{'.'.join(map(str, error['loc'])) or 'body'}`: {error['msg']}" for error in errors()[:5]]
    return "; ".join(shown)


def _range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the bytes to send, from and until; ``None`` for a range that there is not.

    Only one range that begins at an offset is known; any other is as if there was none (RFC 9110, section 14.2).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return 0, size
    start, end = int(match[1]), size if match[2] is None else min(int(match[2]) + 1, size)
    return (start, end) if start < end else None


# -- beside the API


async def _openapi(_: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
    resp.content_type, resp.data = _JSON, _openapi_json()


@cache
def _openapi_json() -> bytes:
    return json.dumps(openapi_document()).encode()


async def _health(_: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
    resp.content_type, resp.data = _JSON, b'{"status": "ok"}'


def _readiness(is_ready: Callable[[], bool]) -> Any:
    async def respond(_: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = _JSON
        if is_ready():
            resp.data = b'{"status": "ready"}'
        else:
            resp.status, resp.data = falcon.HTTP_503, b'{"status": "not ready"}'

    return respond


# -- headers and failures


class _Headers:
    """Gives each request an id, and each answer the headers that keep browsers careful."""

    async def process_request(self, req: falcon.asgi.Request, _: falcon.asgi.Response) -> None:
        req.context.request_id = request_id_of(req.get_header("X-Request-Id"))

    async def process_response(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, _resource: object, _succeeded: bool
    ) -> None:
        resp.set_headers(_SECURITY)
        if policy := resp.context.get("policy"):
            resp.set_header("Content-Security-Policy", policy)
        if caching := resp.context.get("caching"):
            resp.set_header("Cache-Control", caching)
        resp.set_header("X-Request-Id", req.context.request_id)


class _SameSite:
    """Refuses writes that a page of another site asks a browser for: the server cannot know who sits before it."""

    async def process_request(self, req: falcon.asgi.Request, _: falcon.asgi.Response) -> None:
        if req.method in ("GET", "HEAD", "OPTIONS"):
            return
        site = req.get_header("Sec-Fetch-Site")
        origin = req.get_header("Origin")
        is_foreign = site not in (None, "same-origin", "none") if site else bool(origin) and not _is_own(origin, req)
        if is_foreign:
            raise falcon.HTTPForbidden(description="A page of another site asked for this.")


def _is_own(origin: str | None, req: falcon.asgi.Request) -> bool:
    return (origin or "").partition("://")[2].lower() == (req.get_header("Host") or "").lower()


async def _answer_failure(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, exc: KappaError, _params: object, **_: object
) -> None:
    resp.status = status_of(exc).http
    name = name_of(exc)
    resp.set_header(ERROR_HEADER, name)
    resp.set_headers(refusal_headers(exc))
    resp.content_type = _JSON
    resp.data = _error_body(str(exc), req.context.request_id, kind=name)


async def _answer_http_error(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, exc: falcon.HTTPError, _params: object, **_: object
) -> None:
    resp.status = exc.status
    resp.set_headers(exc.headers or {})
    resp.content_type = _JSON
    resp.data = _error_body(exc.description or exc.title or f"HTTP {exc.status}", req.context.request_id)


async def _answer_unexpected(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, exc: Exception, _params: object, **_: object
) -> None:
    """Answer what failed outside of an exchange: a body that did not arrive."""
    if isinstance(exc, asyncio.TimeoutError | TimeoutError):
        resp.status = falcon.HTTP_408
        text = "The body did not arrive in time."
    else:
        resp.status = falcon.HTTP_500
        text = "The Gamma server failed."
    resp.content_type = _JSON
    resp.data = _error_body(text, req.context.request_id)


async def _pass_on(
    _req: falcon.asgi.Request, _resp: falcon.asgi.Response, exc: ClientGoneError, _params: object, **_: object
) -> None:
    raise exc


def _error_body(message: str, request_id: str, *, kind: str | None = None) -> bytes:
    body = {"error": message, "request_id": request_id, **({"kind": kind} if kind else {})}
    return json.dumps(body, ensure_ascii=False).encode()
