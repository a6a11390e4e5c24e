"""Bundles of any files, sealed as a build seals them: what transfers and archives accept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kappa._files import sha256_of_file, walk_files
from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec

__all__ = ["write_bundle"]


def write_bundle(
    directory: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    *,
    created: str = "2026-01-01T00:00:00Z",
    labels: Mapping[str, str] | None = None,
    doc: str = "",
) -> Path:
    """Write a bundle of these files, a lock of two packages, and both manifests; return its directory."""
    contents = {
        f"{name}/__init__.py": b"",
        "requirements.txt": b"apple==1.0 --hash=sha256:00\npear==2.0 --hash=sha256:01\n",
        **(files or {}),
    }
    for path, content in contents.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version=version,
        created_at=created,
        service=ServiceSpec(
            name=name,
            doc=doc,
            apis=(ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json"),),
        ),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        labels=labels or {},
        content_digest="sha256:" + "0" * 64,
        files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
    )
    text = manifest.sealed().to_yaml()
    for folder in (directory, directory / name):
        (folder / "kappa.yml").write_text(text, encoding="utf-8")
    return directory
