"""Bundles of nothing but a manifest and a lock, whose digests are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.gamma.sealed import LOCK, manifest_of

__all__ = ["write_bundle"]


def write_bundle(directory: Path, name: str, version: str, *, digest: str = "aa", **options: Any) -> Path:
    """Write a bundle with a lock of two packages to a folder that is not there; return the folder.

    Its digest repeats ``digest``; ``options`` are those of `manifest_of`.
    """
    manifest = manifest_of(name, version, {}, **options)
    text = manifest.model_copy(update={"bundle_digest": "sha256:" + (digest * 64)[:64]}).to_yaml()
    directory.mkdir(parents=True)
    (directory / "kappa.yml").write_text(text, encoding="utf-8")
    (directory / "requirements.txt").write_bytes(LOCK)
    return directory
