"""The files of a bundle as a client names them, held against the bundle's own manifest.

A registry takes what others send: a path that leads out of the bundle, or that is the same as another one on a system
that ignores case, is refused before anything is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath

from kappa._files import sha256_of_bytes
from kappa.errors import BundleError, printable
from kappa.gamma.protocols.registry import BundleFile
from kappa.spec.layout import MANIFEST_NAME, BundleLayout
from kappa.spec.manifest import BundleManifest, bundle_digest, manifest_of, parse_tree
from kappa.spec.portable_paths import why_not_portable
from kappa.spec.quick_manifest import load_quickly
from kappa.tag import Tag, check_name, check_namespace, check_version

__all__ = ["MAX_BLOB_BYTES", "MAX_FILES", "manifest_digest", "read_contents"]

MAX_FILES = 100_000
MAX_BLOB_BYTES = 5 << 40
"""What one object of S3 can have."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MANIFEST = PurePosixPath(MANIFEST_NAME)


def manifest_digest(manifest: bytes) -> str:
    """Return the digest of a manifest as a blob."""
    return f"sha256:{sha256_of_bytes(manifest)}"


def read_contents(manifest: bytes, files: Sequence[BundleFile], *, namespace: str) -> tuple[Tag, BundleManifest]:
    """Read a manifest with the files that it must describe, each of them and no other.

    Raises `BundleError` that lists what does not fit.
    """
    parsed = _parsed(manifest)
    try:
        tag = Tag(check_name(parsed.name), check_version(parsed.version), check_namespace(namespace))
        datetime.fromisoformat(parsed.created_at.replace("Z", "+00:00"))
    except ValueError as exc:
        raise BundleError(f"The manifest cannot be registered: {exc}.") from None
    problems = list(_problems(files)) or list(_differences(manifest, parsed, files))
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise BundleError(f"The files of `{tag}` cannot be registered: {shown}.")
    return tag, parsed


@lru_cache(maxsize=32)
def _parsed(manifest: bytes) -> BundleManifest:
    """Read a manifest; PERF: without libyaml it takes a second for 100 kB, and an upload needs it twice."""
    tree = parse_tree(manifest, _MANIFEST, load=load_quickly)
    parsed = manifest_of(tree, PurePosixPath())
    if not all(isinstance(word, str) for item in parsed.files.items() for word in item):
        raise BundleError(f"`{MANIFEST_NAME}` is not a valid manifest: `files` has digests by path.")
    try:
        digest = bundle_digest(tree)
    except (TypeError, ValueError):  # what YAML can say and JSON cannot
        digest = ""
    if digest != parsed.bundle_digest or not digest:
        raise BundleError(f"`{MANIFEST_NAME}` was changed: its digest is not the one that it names.")
    return parsed


def _problems(files: Sequence[BundleFile]) -> Iterator[str]:
    """Say what is wrong with the files by themselves."""
    if len(files) > MAX_FILES:
        yield f"they are {len(files)}, and a bundle has up to {MAX_FILES}"
        return
    sizes: dict[str, int] = {}
    spellings: dict[str, str] = {}
    for file in files:
        path = f"`{printable(file.path)}`"
        if reason := why_not_portable(file.path):
            yield f"{path}, {reason}"
            continue
        if not _DIGEST.fullmatch(file.digest):
            yield f"the digest of {path} is not `sha256:` and 64 hex digits"
        if (
            not 0 <= file.size_bytes <= MAX_BLOB_BYTES
            or sizes.setdefault(file.digest, file.size_bytes) != file.size_bytes
        ):
            yield f"{path} cannot have {file.size_bytes} bytes"
        spelling = _folded(file.path)
        if spelling in spellings:
            yield f"{path} and `{printable(spellings[spelling])}` are one file where case does not count"
        spellings[spelling] = file.path
    for spelling, path in spellings.items():
        if any(str(parent) in spellings for parent in PurePosixPath(spelling).parents):
            yield f"`{printable(path)}` lies in what is a file itself"


def _folded(path: str) -> str:
    """Return what paths have in common that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _differences(manifest: bytes, parsed: BundleManifest, files: Sequence[BundleFile]) -> Iterator[str]:
    """Say where the files are not those that the manifest describes."""
    layout = BundleLayout(PurePosixPath())
    manifest_blob = manifest_digest(manifest)
    expected = {path: f"sha256:{digest}" for path, digest in parsed.files.items()}
    expected |= {str(layout.manifest): manifest_blob, str(layout.package(parsed.name).manifest): manifest_blob}
    digests = {file.path: file.digest for file in files}
    yield from (f"`{printable(path)}` is missing" for path in sorted(expected.keys() - digests.keys()))
    yield from (f"`{printable(path)}` is not in the manifest" for path in sorted(digests.keys() - expected.keys()))
    shared = sorted(expected.keys() & digests.keys())
    yield from (f"`{printable(path)}` has another digest" for path in shared if digests[path] != expected[path])
    sizes = {file.path: file.size_bytes for file in files}
    yield from (
        f"`{path}` cannot have {sizes[path]} bytes"
        for path in shared
        if digests[path] == manifest_blob and sizes[path] != len(manifest)
    )
