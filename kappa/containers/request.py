"""A request for a build, with what the caller's machine lends to it: proxies, certificates, settings of pip.

Nothing that is lent stays in an image. A *secret* is seen by the steps of the build as a file of `/run/secrets`, which
BuildKit and podman mount there and no layer holds; `kappa-init.sh` gives some names a meaning: `pip.conf`, `netrc`,
`kappa-ca.crt`, and `PIP_…` for the variables of pip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kappa.images import Secret

__all__ = ["CERTIFICATES", "ImageRequest", "lent_proxies", "lent_secrets"]

CERTIFICATES = "kappa-ca.crt"
"""The secret that holds the certificates which the caller trusts."""

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_CERTIFICATE_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to build."""

    directory: Path
    """The bundle, with its Dockerfile."""
    base_image: str
    """The base image of the Dockerfile, for messages."""
    tags: tuple[str, ...]
    build_arguments: Mapping[str, str | None] = field(default_factory=dict)
    """``None`` for the value that the variable of this name has: it never stands on a command line."""
    secrets: tuple[Secret, ...] = ()
    """The user's secrets; a builder that cannot mount them refuses."""
    lent: tuple[Secret, ...] = ()
    """Secrets that the caller's machine lends; best effort where a builder cannot mount them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    push: bool = False
    """Whether the builder pushes the image itself, as one for several platforms must be."""


def lent_proxies(environ: Mapping[str, str]) -> dict[str, None]:
    """Return the caller's settings of proxies as build arguments; builders keep these out of the image's history."""
    names = (name for proxy in _PROXIES for name in (proxy, proxy.upper()))
    return {name: None for name in names if environ.get(name)}


def lent_secrets(environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """Return the caller's certificates and indexes as secrets: an index's URL may hold a password."""
    files = (Path(environ[name]) for name in _CERTIFICATE_VARIABLES if environ.get(name))
    certificates = next((Secret(CERTIFICATES, path.resolve()) for path in files if path.is_file()), None)
    indexes = (Secret(name, variable=name) for name in _INDEXES if environ.get(name))
    return (*((certificates,) if certificates is not None else ()), *indexes)
