"""Secrets that a bundle would publish: `kappa.yml` holds everything that a service declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.texts import decoded
from kappa.secret_urls import password_in, secret_in
from kappa.spec.project_paths import NamesPath, path_mark
from kappa.spec.service import EnvSpec

__all__ = ["PublishedSecret", "published_secrets"]


class PublishedSecret(NamedTuple):
    """Where a declaration holds a secret; ``message`` and ``help`` are parts of a sentence."""

    path: TreePath
    message: str
    help: str


def published_secrets(env: EnvSpec, metadata: Mapping[str, Any], *, root: Path) -> Iterator[PublishedSecret]:
    """Yield where the URLs of a declaration hold secrets; ``metadata`` is that of artifacts, by name.

    Packages, indexes and channels are checked where they are read.
    """
    for name, value in env.variables.items():
        if secret := password_in(value):
            message = f"The variable `{name}` has {secret} in its URL, which the bundle and its image would publish"
            help_ = "name it in `secrets`, and set it where the service starts"
            yield PublishedSecret(("env", "variables", name), message, help_)
    for key, field in EnvSpec.model_fields.items():
        mark, text = path_mark(field), getattr(env, key)
        if mark is None or mark.packed != "image" or text is None:
            continue
        if secret := password_in(_text(mark, text, root)):
            message = f"The text of `{key}` has {secret} in a URL, which the bundle would publish"
            lent = "lend it to the build of the image with `kappa containerize --secret`"
            help_ = f"{lent}, and read it from `/run/secrets`"
            yield PublishedSecret(("env", key), message, help_)
    if env.docker_base_image is not None and (secret := secret_in(env.docker_base_image)):
        message = f"The base image has {secret} in its URL, which the bundle would publish"
        yield PublishedSecret(("env", "docker_base_image"), message, "log in with `docker login`")
    for index, host in enumerate(env.pip_trusted_host):
        if secret := secret_in(host if "://" in host else f"https://{host}/"):
            path: TreePath = ("env", "pip_trusted_host", index)
            yield PublishedSecret(path, f"The host has {secret} before it", "name the host alone")
    for name, value in metadata.items():
        if secret := next(filter(None, map(password_in, _texts(value))), None):
            message = f"The metadata of `{name}` has {secret} in a URL, which the bundle would publish"
            yield PublishedSecret(("artifacts", name, "metadata"), message, "leave it out")


def _text(mark: NamesPath, value: str, root: Path) -> str:
    """Return what is published of a file; one that cannot be read is reported elsewhere."""
    if not mark.covers(value):
        return value
    try:
        return decoded((root / value).read_bytes()) if (root / value).is_file() else ""
    except (OSError, ValueError):
        return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from (*_texts(key), *_texts(part))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
