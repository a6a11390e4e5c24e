"""Templates of pages, and the files that they need; nothing comes from elsewhere."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any

from kappa._resources import resource
from kappa._version import __version__
from kappa.wording import size_of

__all__ = ["STATIC_TYPES", "render", "static_file"]

STATIC_TYPES = {
    "gamma.css": "text/css; charset=utf-8",
    "gamma.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files of the pages, with their media types."""


def render(page: str, *, root: str, **values: Any) -> str:
    """Render a page; ``root`` leads from it to the start, so that links hold behind a proxy with a path of its own."""
    text: str = _environment().get_template(f"{page}.html.j2").render(root=root, kappa_version=__version__, **values)
    return text


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """Return the content of one of `STATIC_TYPES`, and its entity tag."""
    content = resource("templates", "gamma", "static", name).read_bytes()
    return content, f'"{sha256(content).hexdigest()[:16]}"'


@cache
def _environment() -> Any:
    import jinja2

    def load(name: str) -> str | None:
        try:
            return resource("templates", "gamma", "pages", name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=size_of, minute=_minute, plain=_plain, short=_short)
    return environment


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _short(digest: str) -> str:
    """Return as much of a digest as tells it from others."""
    return digest.removeprefix("sha256:")[:12]


def _plain(value: Any) -> str:
    """Return a value of metadata or of a manifest as text; options that are not set are left out."""
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
