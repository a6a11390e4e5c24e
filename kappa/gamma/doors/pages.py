"""The routes of the pages for people, beside those of the API: what is wrong is a page, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import falcon
import falcon.asgi

from kappa.errors import KappaError, UsageError
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.ui.pages import bundle_page, comparison_page, error_page, service_page, services_page
from kappa.gamma.ui.rendering import STATIC_TYPES, static_file
from kappa.gamma.wire.checks import checked_reference, checked_service
from kappa.gamma.wire.failures import refusal_headers, status_of
from kappa.tag import BundleReference

__all__ = ["PAGES_POLICY", "Show", "page_routes"]

PAGES_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of pages: their own files alone, nothing inline."""
_LAST_PAGE = 1_000_000

Show = Callable[[Registry, falcon.asgi.Request, dict[str, str], str], str]
"""Makes a page of a registry, a request, the variables of its path, and the way to the start."""
Ask = Callable[[str, falcon.asgi.Request, Callable[[Registry], str]], Awaitable[str]]
"""Asks the registry as the caller of a request may use it, under the name of an operation."""


def page_routes(ask: Ask) -> dict[str, Any]:
    """Return the responder of each path."""
    routes = {path: _responder(name, show, ask) for path, (name, show) in _PAGES.items()}
    return {**routes, "/static/{file}": _static}


def _responder(name: str, show: Show, ask: Ask) -> Any:
    async def respond(req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        root = "../" * (req.path.count("/") - 1)
        resp.context.policy = PAGES_POLICY
        resp.content_type = falcon.MEDIA_HTML
        try:
            resp.text = await ask(name, req, lambda registry: show(registry, req, path, root))
        except KappaError as exc:
            status = HTTPStatus(status_of(exc).http)
            resp.status = status
            resp.set_headers(refusal_headers(exc))
            resp.text = error_page(status.phrase, str(exc), root=root, request_id=req.context.request_id)

    return respond


def _services(registry: Registry, req: falcon.asgi.Request, _path: dict[str, str], root: str) -> str:
    search = _word(req, "search", limit=200)
    return services_page(registry, root=root, search=search, number=_number(req))


def _service(registry: Registry, req: falcon.asgi.Request, path: dict[str, str], root: str) -> str:
    namespace, name = checked_service(path["namespace"], path["name"])
    labels = _word(req, "labels", limit=1000)
    return service_page(registry, namespace, name, root=root, labels=labels, number=_number(req))


def _bundle(registry: Registry, _req: falcon.asgi.Request, path: dict[str, str], root: str) -> str:
    return bundle_page(registry, _reference(path, path["version"]), root=root)


def _comparison(registry: Registry, req: falcon.asgi.Request, path: dict[str, str], root: str) -> str:
    before, after = (_reference(path, _word(req, side, limit=128)) for side in ("before", "after"))
    return comparison_page(registry, before, after, root=root)


_PAGES: dict[str, tuple[str, Show]] = {
    "/": ("ServicesPage", _services),
    "/services/{namespace}/{name}": ("ServicePage", _service),
    "/bundles/{namespace}/{name}/{version}": ("BundlePage", _bundle),
    "/compare/{namespace}/{name}": ("ComparisonPage", _comparison),
}
"""By path, what each page is called in metrics and logs, and what makes it."""


def _reference(path: dict[str, str], version: str) -> BundleReference:
    """Return the reference to a version, an alias or `latest` of the service in a path."""
    namespace, name = checked_service(path["namespace"], path["name"])
    if not version:
        raise UsageError("Two versions are compared: choose the one before and the one after.")
    wanted = None if version.lower() == "latest" else version
    return checked_reference(BundleReference(name, version=wanted, namespace=namespace))


def _word(req: falcon.asgi.Request, name: str, *, limit: int) -> str:
    value = req.params.get(name, "")
    text = (value[-1] if isinstance(value, list) else value).strip()
    if len(text) > limit or not text.isprintable():
        raise UsageError(f"`{name}` has at most {limit} characters, on one line.")
    return text


def _number(req: falcon.asgi.Request) -> int:
    """Return the number of the page that is asked for; what is none is the first."""
    text = _word(req, "page", limit=20) or "1"
    return min(max(int(text), 1), _LAST_PAGE) if text.isascii() and text.isdecimal() else 1


async def _static(req: falcon.asgi.Request, resp: falcon.asgi.Response, file: str) -> None:
    if file not in STATIC_TYPES:
        raise falcon.HTTPNotFound(description=f"There is no file `{file[:100]}` here.")
    content, tag = static_file(file)
    resp.context.caching = "no-cache"
    resp.set_header("ETag", tag)
    if req.get_header("If-None-Match") == tag:
        resp.status = falcon.HTTP_304
        return
    resp.content_type, resp.data = STATIC_TYPES[file], content
