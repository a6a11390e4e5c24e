"""The page at `/`: what is here, and where the API is described."""

from __future__ import annotations

from html import escape
from string import Template

from kappa._resources import resource
from kappa.gamma.protocols.registry import RegistryInfo

__all__ = ["start_page"]


def start_page(info: RegistryInfo) -> str:
    """Return the page as HTML; its links are relative, so that they hold behind a proxy."""
    text = resource("templates", "gamma", "start.html").read_text(encoding="utf-8")
    access = "" if info.has_authentication else "It has no authentication: whoever reaches it can change everything."
    return Template(text).substitute(version=escape(info.kappa_version), access=escape(access))
