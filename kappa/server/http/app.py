"""The whole HTTP application: one list of routes, one of middleware, and how errors are answered.

It is a plain ASGI application that knows no server. One service is at `/`, several are at `/<name>/`. Operational pages
may have a port of their own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import falcon
import falcon.asgi

from kappa.choices import ExamplesUse
from kappa.server.endpoint import Endpoint
from kappa.server.host import Host
from kappa.server.http import pages, ui
from kappa.server.http.access_log import AccessLog
from kappa.server.http.answering import ApiResource
from kappa.server.http.cors import CrossOrigin
from kappa.server.http.edge import Edge
from kappa.server.http.exchange import Request, RequestIds, send_error
from kappa.server.http.files import ExampleFile, FrontPage, StaticFiles
from kappa.server.http.middleware import ApiMiddleware
from kappa.server.http.pages import Page, WholeServer
from kappa.server.http.swap import Application, Generation
from kappa.server.metrics import Metrics
from kappa.server.observers import ObserverFactory
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.server.parent import NoParent, Parent
from kappa.server.served import Served
from kappa.services.sample_requests import arguments_for_curl
from kappa.spec.service import ServiceSpec

__all__ = ["create_app"]

FalconApp = falcon.asgi.App[Request, falcon.asgi.Response]

_logger = logging.getLogger("kappa.server")
_MAX_SHOWN_PATH = 200
_MOST_PATHS = 5
_MEANT = {
    **dict.fromkeys(
        ("/health", "/health/live", "/livez", "/live", "/alive", "/ping", "/status", "/healthcheck", "/_health"),
        "`/healthz` says whether the process lives, and `/readyz` whether requests are welcome",
    ),
    **dict.fromkeys(
        ("/ready", "/health/ready", "/readiness"),
        "`/readyz` says whether requests are welcome, and `/healthz` whether the process lives",
    ),
    **dict.fromkeys(("/openapi.json", "/swagger.json", "/openapi.yaml"), "`/docs.json` is the OpenAPI document"),
}
"""Advice for the paths of other servers."""


def create_app(
    services: Sequence[Served],
    *,
    batching: BatchingOptions | None = None,
    metrics: Metrics | None = None,
    parent: Parent | None = None,
    management_port: int | None = None,
    processors: int = 1,
    workers: int = 1,
    examples_of: Callable[[ServiceSpec], ExamplesUse] | None = None,
    cors_origins: Sequence[str] | None = None,
    is_development: bool = False,
    has_access_log: bool = False,
    tells_requests: bool = False,
    observers: Sequence[ObserverFactory] = (),
) -> Application:
    """Build the application of one process; its start-up event begins to load the services.

    ``parent`` gets their state, and knows what a reload is to load. Where ``management_port`` is given, what arrives
    there finds metrics and all metadata, and what arrives elsewhere does not. ``processors`` is how many batches run at
    once, and ``workers`` how many processes there are of this kind. ``examples_of`` says whether a service must answer
    its examples first. Pages of ``cors_origins`` may ask in a browser, else those that the services name. Where
    ``is_development``, errors of functions are shown, and pages of other sites refused. With ``has_access_log`` each
    request is logged; where it ``tells_requests``, log records carry the ids of their requests. Each of ``observers``
    makes an observer for every API.
    """
    parent = parent or NoParent()
    make_host = partial(
        Host,
        batching=batching or BatchingOptions(),
        metrics=metrics or Metrics(),
        parent=parent,
        processors=processors,
        workers=workers,
        examples_of=examples_of or ServerOptions().examples_of,
        tells_requests=tells_requests,
        shows_errors=is_development,
        observers=observers,
    )
    ids = RequestIds()

    def build(services: Sequence[Served]) -> Generation:
        host = make_host(services)
        is_divided = management_port is not None
        routes = _routes(host, ids, with_operations=not is_divided)
        apis = {path: ApiResource(endpoint, ids) for path, endpoint in _apis(host)}
        advice = _advice(list(apis))
        framework = _falcon_app(routes, ids, apis=apis, files=_files(host, ids), advice=advice)
        app: Any = ApiMiddleware(Edge(framework, ids), apis)
        allowed = _allowed_origins(services) if cors_origins is None else frozenset(cors_origins)
        if minds_origins := bool(allowed) or is_development:
            app = CrossOrigin(app, ids, allowed, is_private=is_development)
        log = AccessLog(app, apis) if has_access_log else None
        app = log or app
        if not is_divided:
            return Generation(host, app, app, apis, log, minds_origins)
        advice = "the service itself is at its own port"
        operations: Any = Edge(_falcon_app(_operations(host, ids), ids, advice=advice), ids)
        if has_access_log:
            operations = AccessLog(operations, {})
        return Generation(host, app, operations, apis, log, minds_origins)

    return Application(
        services,
        build=build,
        parent=parent,
        management_port=management_port,
    )


def _advice(paths: Sequence[str]) -> str:
    """List the APIs for a request to another path."""
    shown = ", ".join(f"`{path}`" for path in paths[:_MOST_PATHS])
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    return (
        f"POST goes to {shown}{more}; `/docs.json` lists all there is" if paths else "`/docs.json` lists what there is"
    )


def _allowed_origins(services: Sequence[Served]) -> frozenset[str]:
    """Return the allowed origins: of several services, those that all of them allow."""
    each = [frozenset(served.spec.serving.cors_origins or ()) for served in services]
    return frozenset.intersection(*each) if each else frozenset()


def _prefix(host: Host, name: str) -> str:
    """Return what the paths of a service begin with: nothing for one that is alone."""
    return "" if len(host.services) == 1 else f"/{name}"


def _apis(host: Host) -> Iterator[tuple[str, Endpoint]]:
    """Yield the APIs with the path that each is asked at."""
    for name in host.services:
        prefix = _prefix(host, name)
        for endpoint in host.endpoints[name].values():
            yield f"{prefix}/{endpoint.spec.path}", endpoint


def _falcon_app(
    routes: Iterable[tuple[str, object]],
    ids: RequestIds,
    *,
    advice: str,
    apis: Mapping[str, ApiResource] = MappingProxyType({}),
    files: Iterable[tuple[re.Pattern[str], StaticFiles]] = (),
) -> FalconApp:
    """Build one of ``routes`` and of ``apis`` by their paths; ``advice`` says what there is at any other."""
    app: FalconApp = falcon.asgi.App(request_type=Request)
    app.req_options.strip_url_path_trailing_slash = True
    for path, answering in [*routes, *apis.items()]:
        app.add_route(path, answering)
    app.add_sink(WholeServer(ids), re.compile(r"\*$"))  # type: ignore[arg-type] # falcon's type is narrower than it takes
    for pattern, folder in files:
        app.add_sink(folder, pattern)  # type: ignore[arg-type] # falcon's type leaves out the pattern's groups
    _answer_errors(app, ids, advice=advice, apis=apis)
    return app


def _states(host: Host, ids: RequestIds) -> Iterator[tuple[str, object]]:
    """Yield the routes of every port: probes know only one port."""
    yield "/healthz", Page(ids, pages.health)
    yield "/readyz", Page(ids, pages.readiness(host))


def _operations(host: Host, ids: RequestIds) -> Iterator[tuple[str, object]]:
    """Yield the routes for operators, for the management port."""
    yield from _states(host, ids)
    yield "/metrics", Page(ids, pages.metrics(host))
    for name, served in host.services.items():
        yield f"{_prefix(host, name)}/metadata", Page(ids, pages.metadata(served, host, is_whole=True))


def _routes(host: Host, ids: RequestIds, *, with_operations: bool) -> Iterator[tuple[str, object]]:
    yield from _states(host, ids)
    if with_operations:
        yield "/metrics", Page(ids, pages.metrics(host))
    if len(host.services) > 1:
        yield "/", Page(ids, pages.directory(host))
    for name, served in host.services.items():
        prefix = _prefix(host, name)
        yield prefix or "/", FrontPage(StaticFiles(ids, host, name), Page(ids, pages.index(served, prefix=prefix)))
        yield f"{prefix}/docs", Page(ids, ui.page(served, prefix=prefix))
        yield f"{prefix}/docs/service.json", Page(ids, ui.service_description(served, host))
        for file, answering in ui.ui_files():
            yield f"{prefix}/docs/{file}", Page(ids, answering)
        for number, example in enumerate(served.spec.examples):
            if example.input_file is not None:
                yield f"{prefix}/docs/examples/{number}", ExampleFile(ids, host, name, example)
        yield f"{prefix}/metadata", Page(ids, pages.metadata(served, host, is_whole=with_operations, is_public=True))
        yield f"{prefix}/docs.json", Page(ids, pages.openapi(served, host, prefix=prefix))


def _files(host: Host, ids: RequestIds) -> Iterator[tuple[re.Pattern[str], StaticFiles]]:
    for name, served in host.services.items():
        if served.spec.web_static_content is not None:
            yield re.compile(f"{_prefix(host, name)}/(?P<path>.+)", re.DOTALL), StaticFiles(ids, host, name)


def _answer_errors(app: FalconApp, ids: RequestIds, *, advice: str, apis: Mapping[str, ApiResource]) -> None:
    """Give every error the body ``{"error": text, "request_id": id}``."""

    async def http_error(
        req: Request, resp: falcon.asgi.Response, error: falcon.HTTPError, _params: dict[str, Any]
    ) -> None:
        path = req.path if len(req.path) <= _MAX_SHOWN_PATH else f"{req.path[:_MAX_SHOWN_PATH]}…"
        headers = dict(error.headers or {})
        if isinstance(error, falcon.HTTPNotFound | falcon.HTTPRouteNotFound):
            text = f"There is nothing at `{path}`; {_MEANT.get(path, advice)}."
        elif isinstance(error, falcon.HTTPMethodNotAllowed):
            allowed = [method for method in headers.get("Allow", "").split(", ") if method != "OPTIONS"]
            text = f"`{req.method}` is not allowed at `{path}`; use {' or '.join(allowed)}"
            if (api := apis.get(req.path)) is not None:
                host = req.prefix if len(req.prefix) <= _MAX_SHOWN_PATH else "ADDRESS"
                arguments = arguments_for_curl(api.endpoint.service, api.endpoint.spec)
                text += f", e.g. `curl {host}{path} {arguments}`"
            text += "."
        else:
            text = error.description or f"{error.title}."
        send_error(resp, error.status_code, text, ids.of(req), headers)

    async def unexpected(req: Request, resp: falcon.asgi.Response, error: Exception, _params: dict[str, Any]) -> None:
        request_id = ids.of(req)
        extra = {"request_id": request_id}
        _logger.error("%s %r failed (%s)", req.method, req.path, request_id, exc_info=error, extra=extra)
        send_error(resp, 500, "The server failed to answer; its log says why, under this id.", request_id)

    app.add_error_handler(falcon.HTTPError, http_error)
    app.add_error_handler(Exception, unexpected)
