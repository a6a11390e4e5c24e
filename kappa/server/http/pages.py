"""The routes besides predictions: health, metadata, metrics, the OpenAPI document, pages and files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import falcon
import falcon.asgi

from kappa.adapters.json import encode_json
from kappa.server.host import Host
from kappa.server.http.exchange import Request, RequestIds, send_answer
from kappa.server.http.ui import directory_page, forwarded_prefix, page
from kappa.server.metrics import CONTENT_TYPE
from kappa.server.served import Served
from kappa.services.openapi import openapi_document
from kappa.spec.views import metadata_view, service_view
from kappa.types import Answer

__all__ = ["Page", "WholeServer", "directory", "health", "index", "metadata", "metrics", "openapi", "readiness"]

Answering = Callable[[Request], Awaitable[Answer]]

_PUBLIC_METADATA = ("name", "version", "apis")


class Page:
    """A route that is read with GET; ``answer`` makes what it shows."""

    def __init__(self, ids: RequestIds, answer: Answering) -> None:
        self._ids = ids
        self._answer = answer

    async def on_get(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, await self._answer(req), self._ids.of(req))

    on_head = on_get

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "GET, HEAD, OPTIONS"}), self._ids.of(req))


async def health(_req: Request) -> Answer:
    """Answer 200 while the event loop runs, whatever the state of the services."""
    return Answer(b"ok\n", "text/plain; charset=utf-8")


def readiness(host: Host) -> Answering:
    async def answer(_req: Request) -> Answer:
        if not host.is_welcoming:
            state = "loading" if host.state == "ready" else host.state
            raise falcon.HTTPServiceUnavailable(description=f"The service is {state}.", retry_after=1)
        return Answer(b"ready\n", "text/plain; charset=utf-8")

    return answer


def metrics(host: Host) -> Answering:
    async def answer(_req: Request) -> Answer:
        host.flush()
        return Answer(await asyncio.to_thread(host.metrics.exposition), CONTENT_TYPE)

    return answer


def metadata(served: Served, host: Host, *, is_whole: bool, is_public: bool = False) -> Answering:
    """Show the metadata of the service, as built or as a project that was not built knows it. Unless it ``is_whole``,
    packages, labels and the metadata of models are left out. If it ``is_public``, so are URLs of packages and channels,
    which may hold tokens.
    """

    async def answer(_req: Request) -> Answer:
        if served.manifest is not None:
            view = metadata_view(served.manifest)
            if is_public:
                view["env"] = _without_addresses(view["env"])
        else:
            metadata = service_view(served.spec, metadata=host.metadata_of(served.spec.name), labels=served.spec.labels)
            view = {"name": served.spec.name, "version": served.version, **metadata}
        return Answer(encode_json(view if is_whole else {name: view[name] for name in _PUBLIC_METADATA}))

    return answer


_ADDRESS = re.compile(r"(?:[ \t]*@[ \t]*)?[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>,;\]]+(?:;[^\s\"'<>,\]]+)*")


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        return _ADDRESS.sub(lambda match: "" if "@" in match[0].partition(":")[0] else "…", value)
    if isinstance(value, dict):
        return {key: _without_addresses(part) for key, part in value.items()}
    return [_without_addresses(part) for part in value] if isinstance(value, list | tuple) else value


def openapi(served: Served, host: Host, *, prefix: str) -> Answering:
    """Show the OpenAPI document; the models in the code of a project are known once it is loaded."""

    @lru_cache(maxsize=8)  # a client may say anything of a proxy
    def encoded(is_loaded: bool, root: str) -> bytes:
        spec = host.loaded[served.spec.name].spec if is_loaded else served.spec
        document = openapi_document(spec, version=served.version)
        return encode_json({**document, "servers": [{"url": root}]} if root else document)

    async def answer(req: Request) -> Answer:
        return Answer(encoded(served.spec.name in host.loaded, forwarded_prefix(req) + prefix))

    return answer


def index(served: Served, *, prefix: str) -> Answering:
    """Show the built-in page to browsers, and JSON to other clients."""
    built_in = page(served, prefix=prefix)

    async def answer(req: Request) -> Answer:
        return await built_in(req) if "text/html" in req.accept else Answer(encode_json(_summary(served, prefix)))

    return answer


def directory(host: Host) -> Answering:
    """List the services of a process that serves several."""

    async def answer(req: Request) -> Answer:
        if "text/html" in req.accept:
            return directory_page(req, list(host.services.values()))
        summaries = [_summary(served, f"/{name}") for name, served in host.services.items()]
        return Answer(encode_json({"services": summaries}))

    return answer


def _summary(served: Served, prefix: str) -> dict[str, Any]:
    return {
        "name": served.spec.name,
        "version": served.version,
        "doc": served.spec.doc,
        "apis": [
            {"name": api.name, "route": f"{prefix}/{api.path}", "doc": api.doc, "batch": api.batch}
            for api in served.spec.apis
        ],
        "links": {name: f"{prefix}/{name}" for name in ("docs", "docs.json", "metadata")},
    }


class WholeServer:
    """`OPTIONS *`, which asks for the server and none of its routes (RFC 9110, section 9.3.7)."""

    def __init__(self, ids: RequestIds) -> None:
        self._ids = ids

    async def __call__(self, req: Request, resp: falcon.asgi.Response) -> None:
        if req.method != "OPTIONS":
            raise falcon.HTTPNotFound
        send_answer(resp, Answer(b"", http_headers={"Allow": "GET, HEAD, POST, OPTIONS"}), self._ids.of(req))
