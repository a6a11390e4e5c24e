"""Bundles of nothing but a manifest and a lock, whose digests are made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec

__all__ = ["write_bundle"]

LOCK = "apple==1.0 \\\n    --hash=sha256:00\npear==2.0 ; sys_platform == 'linux' \\\n    --hash=sha256:01\n"


def write_bundle(
    directory: Path,
    name: str,
    version: str,
    *,
    created: str = "2026-01-01T00:00:00Z",
    digest: str = "aa",
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Write a bundle with a lock of two packages to a folder that is not there; return the folder."""
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version=version,
        created_at=created,
        service=ServiceSpec(
            name=name,
            apis=(ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json"),),
        ),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        labels=labels or {},
        content_digest="sha256:" + "0" * 64,
        files={},
        bundle_digest="sha256:" + (digest * 64)[:64],
    )
    directory.mkdir(parents=True)
    (directory / "kappa.yml").write_text(manifest.to_yaml(), encoding="utf-8")
    (directory / "requirements.txt").write_text(LOCK, encoding="utf-8")
    return directory
