"""Bundles that a registry takes: small ones whose manifest describes just their files; and a client that moves them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from kappa._files import sha256_of_bytes
from kappa.errors import GammaError
from kappa.frameworks.file import FileArtifact
from kappa.gamma.protocols.registry import BundleFile, Commit, Upload
from kappa.spec.manifest import BundleManifest, ResolvedArtifact, ResolvedEnv
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.tag import DEFAULT_NAMESPACE, Tag

__all__ = ["LOCK", "Bundle", "Moves", "manifest_of", "pieces", "pull", "push", "seal", "write_bundle", "write_missing"]

LOCK = b"apple==1.0 \\\n    --hash=sha256:00\npear==2.0 ; sys_platform == 'linux' \\\n    --hash=sha256:01\n"


class Moves(Protocol):
    """The part of a `Registry` that moves files."""

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]: ...
    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]: ...
    def begin_upload(
        self, manifest: bytes, files: list[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload: ...
    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int: ...
    def upload_state(self, session: str) -> Upload: ...
    def commit_upload(self, session: str, *, operation: str) -> Commit: ...


@dataclass(frozen=True)
class Bundle:
    """A sealed bundle in memory."""

    tag: Tag
    contents: Mapping[str, bytes]
    """Of each file, the manifests too."""
    executables: frozenset[str]

    @property
    def manifest(self) -> bytes:
        return self.contents["kappa.yml"]

    @property
    def files(self) -> list[BundleFile]:
        return [
            BundleFile(path, f"sha256:{sha256_of_bytes(content)}", len(content), path in self.executables)
            for path, content in sorted(self.contents.items())
        ]

    @property
    def blobs(self) -> dict[str, bytes]:
        """The contents by digest."""
        return {file.digest: self.contents[file.path] for file in self.files}

    def write(self, directory: Path) -> Path:
        """Write it as a tree."""
        for path, content in self.contents.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
            if path in self.executables:
                (directory / path).chmod(0o755)
        return directory


def manifest_of(
    name: str,
    version: str,
    files: Mapping[str, bytes],
    *,
    created: str = "2026-01-01T00:00:00Z",
    labels: Mapping[str, str] | None = None,
    doc: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> BundleManifest:
    """Return the manifest of a service of one function, with these files and without its own digest.

    With ``metadata`` it has an artifact `model`, of which that is said.
    """
    artifacts = () if metadata is None else (FileArtifact("model"),)
    return BundleManifest(
        kappa_version="0.1.0",
        version=version,
        created_at=created,
        service=ServiceSpec(
            name=name,
            doc=doc,
            apis=(ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json"),),
            artifacts=artifacts,
        ),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        artifacts=tuple(
            ResolvedArtifact(name=artifact.name, metadata=metadata or {}, size_bytes=1) for artifact in artifacts
        ),
        labels=labels or {},
        content_digest="sha256:" + "0" * 64,
        files={path: sha256_of_bytes(content) for path, content in sorted(files.items())},
    )


def seal(
    version: str = "1",
    contents: Mapping[str, bytes] | None = None,
    *,
    name: str = "Iris",
    executables: Iterable[str] = ("docker-entrypoint.sh",),
    lock: bytes = LOCK,
    **options: Any,
) -> Bundle:
    """Return a bundle of a few files, and of ``contents`` beside them; ``options`` are those of `manifest_of`."""
    files = {
        "requirements.txt": lock,
        "docker-entrypoint.sh": b"#!/bin/sh\nexec kappa serve .\n",
        f"{name}/__init__.py": b"",
        **(contents if contents is not None else {f"{name}/artifacts/model/model.bin": b"model " * 1000}),
    }
    return _sealed(name, version, files, executables=executables, **options)


def write_bundle(
    directory: Path, name: str, version: str, files: Mapping[str, bytes] | None = None, **options: Any
) -> Path:
    """Write a bundle of a lock of two packages and of ``files``, which are all plain; return its directory."""
    contents = {
        f"{name}/__init__.py": b"",
        "requirements.txt": b"apple==1.0 --hash=sha256:00\npear==2.0 --hash=sha256:01\n",
        **(files or {}),
    }
    return _sealed(name, version, contents, **options).write(directory)


def _sealed(
    name: str, version: str, files: Mapping[str, bytes], *, executables: Iterable[str] = (), **options: Any
) -> Bundle:
    text = manifest_of(name, version, files, **options).sealed().to_yaml().encode()
    contents = {**files, "kappa.yml": text, f"{name}/kappa.yml": text}
    return Bundle(Tag(name, version), contents, frozenset(executables) & files.keys())


def pieces(content: bytes, size: int = 64 << 10) -> Iterator[bytes]:
    """Yield content in chunks."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def write_missing(registry: Moves, bundle: Bundle, upload: Upload, *, at_once: int = 4) -> None:
    """Write what an upload lacks, from where it broke off."""

    def write(digest: str, received: int) -> None:
        content = bundle.blobs[digest]
        assert registry.write_blob(upload.session, digest, received, pieces(content[received:])) == len(content)

    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(write, *item) for item in upload.missing.items()]:
            done.result()


def push(registry: Moves, bundle: Bundle, *, namespace: str = DEFAULT_NAMESPACE) -> Commit:
    """Upload a bundle whole, also where bundles that have its blobs are deleted meanwhile."""
    upload = registry.begin_upload(bundle.manifest, bundle.files, namespace=namespace, operation=uuid4().hex)
    if upload.record is not None:
        return Commit(upload.record, is_latest=False, was_there=True)
    sent: set[str] = set()
    while True:
        write_missing(registry, bundle, upload)
        sent |= upload.missing.keys()
        try:
            return registry.commit_upload(upload.session, operation=uuid4().hex)
        except GammaError:
            upload = registry.upload_state(upload.session)
            if upload.missing.keys() <= sent:
                raise


def pull(registry: Moves, tag: Tag) -> dict[str, bytes]:
    """Download a bundle whole; return the content of each file, compared with its digest."""
    contents = {}
    for file in registry.files_of(tag):
        content = b"".join(registry.read_blob(tag, file.digest))
        assert hashlib.sha256(content).hexdigest() == file.digest.removeprefix("sha256:")
        assert len(content) == file.size_bytes
        contents[file.path] = content
    return contents
