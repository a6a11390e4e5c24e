"""The context that a builder without mounts gets: the folder of the build as one stream, with what the caller lends in
it."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from kappa._files import walk_files
from kappa.containers.recipes import LENT_FOLDER, with_lent_files
from kappa.containers.request import ImageRequest
from kappa.errors import UsageError
from kappa.log import log
from kappa.spec.layout import BundleLayout

__all__ = ["RECIPE", "LentContext", "lent_context", "open_context"]

RECIPE = f"{LENT_FOLDER}/Dockerfile"
"""The Dockerfile of a context that is sent, beside the bundle's own, which stays as it was built."""


@dataclass(frozen=True, slots=True)
class LentContext:
    """The loans for a builder without mounts: files of its context, and names of variables as build arguments."""

    files: Mapping[str, bytes]
    arguments: tuple[str, ...]


def lent_context(request: ImageRequest, environ: Mapping[str, str]) -> LentContext:
    """Return the Dockerfile and the other files of a context that is sent; refuses secrets, which it cannot hide."""
    if request.secrets:
        raise UsageError(
            "`--secret` needs a builder that can mount it: install BuildKit (`docker-buildx`), or use "
            "`--builder podman`."
        )
    files = {secret.id: secret.path.read_bytes() for secret in request.lent if secret.path is not None}
    variables = [secret for secret in request.lent if secret.variable]
    for secret in variables:
        if _has_password(environ[secret.variable]):
            log(
                f"`{secret.variable}` holds a password, which this builder could not keep out of its layers: it is not "
                "passed on. BuildKit and podman can.",
                kind="warning",
            )
    arguments = tuple(secret.id for secret in variables if not _has_password(environ[secret.variable]))
    text = BundleLayout(request.directory).dockerfile.read_text(encoding="utf-8")
    recipe = with_lent_files(text, files=list(files), arguments=arguments)
    return LentContext(
        {RECIPE: recipe.encode(), **{f"{LENT_FOLDER}/{name}": data for name, data in files.items()}}, arguments
    )


def _has_password(value: str) -> bool:
    return any("@" in urlsplit(word).netloc for word in value.split())


@contextmanager
def open_context(directory: Path, extra: Mapping[str, bytes]) -> Iterator[BinaryIO]:
    """Yield a tar archive of ``directory`` to read from, with ``extra`` files in place of or beside those there.

    It is read while it is written, and never kept whole.
    """
    reading, writing = os.pipe()
    thread = threading.Thread(target=_write, args=(writing, directory, extra), daemon=True)
    thread.start()
    with os.fdopen(reading, "rb") as stream:
        yield stream
    thread.join()


def _write(descriptor: int, directory: Path, extra: Mapping[str, bytes]) -> None:
    # A builder that fails closes its end, and its caller reports that.
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as sink, tarfile.open(fileobj=sink, mode="w|") as tar:
        for name, data in extra.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
        for path in walk_files(directory):
            if path.as_posix() not in extra:
                tar.add(directory / path, path.as_posix(), recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out the file's owner, who is no user of the image."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
