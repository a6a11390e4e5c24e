"""The built-in page of a service: what it is, a form for each API, and the reference; plain files, no CDN.

The page and its modules read `docs.json` and `docs/service.json`. All links are relative, so that they hold behind a
proxy with a path of its own; `X-Forwarded-Prefix` says the path where a proxy gives it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from html import escape
from string import Template
from typing import Any

from kappa._resources import resource
from kappa._version import __version__
from kappa.adapters.json import encode_json
from kappa.server.host import Host
from kappa.server.http.exchange import Request
from kappa.server.served import Served
from kappa.spec.contracts import thaw
from kappa.spec.service import ExampleSpec
from kappa.spec.views import service_view
from kappa.types import MEDIA_TYPES, Answer, extension_of

__all__ = ["directory_page", "forwarded_prefix", "page", "root_of", "service_description", "ui_files"]

Answering = Callable[[Request], Awaitable[Answer]]

_FORWARDED_PREFIX = re.compile(rb"(/[A-Za-z0-9._~-]+)+/?")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-cache"}
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def page(served: Served, *, prefix: str) -> Answering:
    """Show the page; without scripts it says what the APIs are."""

    async def answer(req: Request) -> Answer:
        spec = served.spec
        titles = ((api.path, api.doc.partition("\n")[0]) for api in spec.apis)
        text = _template("index.html").substitute(
            name=escape(spec.name),
            version=escape(served.version),
            summary=escape(spec.doc),
            apis=escape("\n".join(f"POST {prefix}/{path}  {title}".rstrip() for path, title in titles)),
            root=escape(root_of(req, prefix)),
        )
        return _html(text)

    return answer


def directory_page(req: Request, services: list[Served]) -> Answer:
    """Show the services of a process that serves several."""
    root = root_of(req, "")
    cards = "\n".join(
        f'<a class="card model" href="{escape(f"{root}{served.spec.name}/")}"><h2>{escape(served.spec.name)}</h2>'
        f'<p class="muted">{escape(served.spec.doc.strip().partition(chr(10))[0])}</p></a>'
        for served in services
    )
    text = _template("directory.html").substitute(root=escape(root), first=escape(services[0].spec.name), cards=cards)
    return _html(text)


def _html(text: str) -> Answer:
    return Answer(text.encode(), "text/html; charset=utf-8", 200, {**_HEADERS, "Content-Security-Policy": _POLICY})


@cache
def _template(name: str) -> Template:
    return Template(resource("templates", "server", name).read_text(encoding="utf-8"))


def forwarded_prefix(req: Request) -> str:
    """Return the path that a proxy has removed (`X-Forwarded-Prefix`), or nothing."""
    forwarded = req.raw_headers.get(b"x-forwarded-prefix", b"")
    return forwarded.decode("ascii").rstrip("/") if _FORWARDED_PREFIX.fullmatch(forwarded) else ""


def root_of(req: Request, prefix: str) -> str:
    """Return where a service's root is, relative to the page that is asked for, or as a proxy says it is."""
    if forwarded := forwarded_prefix(req):
        return f"{forwarded}{prefix}/"
    folder = str(req.scope["path"]).rpartition("/")[0] + "/"
    root = f"{prefix}/"
    if root.startswith(folder):
        return root[len(folder) :]
    return "../" * (folder.count("/") - root.count("/"))


# -- what the page reads -----------------------------------------------------------------------------------------------


def ui_files() -> Iterator[tuple[str, Answering]]:
    """Yield the names of the page's own files, each with what answers it."""
    for file in sorted(resource("templates", "server", "ui").iterdir(), key=lambda file: file.name):
        yield file.name, partial(_file, file.name)


async def _file(name: str, req: Request) -> Answer:
    body, tag = _content(name)
    headers = {**_HEADERS, "ETag": tag}
    if req.raw_headers.get(b"if-none-match") == tag.encode():
        return Answer(b"", _TYPES[extension_of(name)], 304, headers)
    return Answer(body, _TYPES[extension_of(name)], 200, headers)


@cache
def _content(name: str) -> tuple[bytes, str]:
    body = resource("templates", "server", "ui", name).read_bytes()
    return body, f'"{sha256(body).hexdigest()[:16]}"'


def service_description(served: Served, host: Host) -> Answering:
    """Return the page's facts of a service beside its APIs."""

    async def answer(_req: Request) -> Answer:
        spec, manifest = served.spec, served.manifest
        labels = manifest.labels if manifest is not None else spec.labels
        view = service_view(spec, metadata=host.metadata_of(spec.name), labels=labels)
        description = {
            "name": spec.name,
            "version": served.version,
            "kappa_version": __version__,
            "doc": spec.doc,
            "labels": view["labels"],
            "artifacts": view["artifacts"],
            "examples": [_example(example, number) for number, example in enumerate(spec.examples)],
        }
        return Answer(encode_json(description), http_headers=_HEADERS)

    return answer


def _example(example: ExampleSpec, number: int) -> dict[str, Any]:
    description = {"name": example.name, "api": example.api}
    if example.input_file is None:
        return {**description, "input": thaw(example.input)}
    name = example.input_file.rpartition("/")[2]
    media_type = MEDIA_TYPES.get(extension_of(name), "application/octet-stream")
    return {**description, "file": name, "media_type": media_type, "url": f"docs/examples/{number}"}
