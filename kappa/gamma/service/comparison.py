"""What differs between two bundles, from their manifests, their locks, and the files of code that changed.

A bundle is read through a `BundleSource`, so that one on a server is compared without fetching its models.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from kappa.services.bundle import open_bundle
from kappa.spec.layout import BundleLayout
from kappa.spec.manifest import BundleManifest
from kappa.spec.pins import pins_of
from kappa.tag import to_pep440

__all__ = ["BundleDifference", "BundleSource", "Change", "DirectorySource", "compare_bundles"]

_MAX_TEXT_BYTES = 1 << 20
"""A file of code over this size is only said to differ."""
_CODE = frozenset({".py", ".pyi", ".toml", ".yaml", ".yml", ".json", ".txt", ".md", ".sh", ".cfg", ".ini", ".html"})

Kind = Literal["added", "removed", "changed"]


class BundleSource(Protocol):
    """A bundle whose files can be read one by one."""

    @property
    def manifest(self) -> BundleManifest: ...

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the content of a file; ``None`` for one that has more than ``limit`` bytes or is not there."""


@dataclass(frozen=True)
class DirectorySource:
    """A bundle in a directory."""

    directory: Path
    manifest: BundleManifest

    @classmethod
    def opened(cls, directory: Path) -> DirectorySource:
        """Open the bundle in ``directory``; raises `BundleError`."""
        bundle = open_bundle(directory)
        return cls(bundle.directory, bundle.manifest)

    def read(self, path: str, *, limit: int) -> bytes | None:
        file = self.directory / path
        if not file.is_file() or file.stat().st_size > limit:
            return None
        return file.read_bytes()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs; ``before`` and ``after`` are plain values, ``None`` where it is not there."""

    kind: Kind
    subject: str
    before: Any = None
    after: Any = None

    def to_tree(self) -> dict[str, Any]:
        return {"kind": self.kind, "subject": self.subject, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class BundleDifference:
    """All that differs between two bundles."""

    before: str
    after: str
    """The tags of the bundles."""
    packages: tuple[Change, ...] = ()
    environment: tuple[Change, ...] = ()
    apis: tuple[Change, ...] = ()
    artifacts: tuple[Change, ...] = ()
    labels: tuple[Change, ...] = ()
    files: tuple[Change, ...] = ()
    """Files that are neither code nor models, with their digests."""
    code: Mapping[str, str] = field(default_factory=dict)
    """The unified diff of each file of code that differs; empty for one that is not text or too large."""

    @property
    def is_empty(self) -> bool:
        return not (self.code or any(changes for _, changes in self.sections))

    @property
    def sections(self) -> tuple[tuple[str, tuple[Change, ...]], ...]:
        """The changes by subject, in the order in which they are shown."""
        return (
            ("packages", self.packages),
            ("environment", self.environment),
            ("apis", self.apis),
            ("artifacts", self.artifacts),
            ("labels", self.labels),
            ("files", self.files),
        )

    def to_tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        sections = {name: [change.to_tree() for change in changes] for name, changes in self.sections}
        return {"before": self.before, "after": self.after, **sections, "code": dict(self.code)}


def compare_bundles(before: BundleSource, after: BundleSource) -> BundleDifference:
    """Compare two bundles; only the locks and the texts that differ are read of their files.

    What Kappa writes into a bundle says its version; a file of those in which only that differs is the same.
    """
    old, new = before.manifest, after.manifest
    digests = {path: (old.files.get(path), new.files.get(path)) for path in sorted({*old.files, *new.files})}
    written = _written_by_kappa(old) & _written_by_kappa(new)
    differing = [
        path
        for path, (was, now) in digests.items()
        if was != now and not (path in written and _differs_in_version_alone(path, before, after))
    ]
    code = [path for path in differing if _is_code(path, old) or _is_code(path, new)]
    others = [path for path in differing if path not in code and not (_is_model(path, old) or _is_model(path, new))]
    return BundleDifference(
        before=str(old.tag),
        after=str(new.tag),
        packages=_changes(_packages(before), _packages(after)),
        environment=_changes(_environment(old), _environment(new)),
        apis=_changes(_apis(old), _apis(new)),
        artifacts=_changes(_artifacts(old), _artifacts(new)),
        labels=_changes(dict(old.labels), dict(new.labels)),
        files=_changes(*({path: digests[path][side] for path in others} for side in (0, 1))),
        code={path: _diff(path, before, after) for path in code},
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what differs between two mappings, by key; a value of ``None`` is not there."""
    changes = []
    for subject in sorted({*before, *after}):
        was, now = before.get(subject), after.get(subject)
        if was != now:
            kind: Kind = "added" if was is None else "removed" if now is None else "changed"
            changes.append(Change(kind, subject, was, now))
    return tuple(changes)


def _packages(source: BundleSource) -> dict[str, str]:
    """Return the versions that the lock pins, by distribution."""
    lock = source.read(source.manifest.env.lock, limit=16 * _MAX_TEXT_BYTES) or b""
    pins: dict[str, list[str]] = {}
    for pin in pins_of(lock.decode(errors="replace")):
        pins.setdefault(pin.name, []).append(pin.version)
    return {name: ", ".join(sorted(set(versions))) for name, versions in pins.items()}


def _environment(manifest: BundleManifest) -> dict[str, Any]:
    env = manifest.env
    return {
        "kappa": manifest.kappa_version,
        "python": env.python_version,
        "docker_base_image": env.docker_base_image,
        "requirements": list(env.requirements),
        "resolver": env.resolver,
        "platforms": list(env.platforms),
        "conda_environment": env.conda_environment or None,
    }


def _apis(manifest: BundleManifest) -> dict[str, Any]:
    """Return every option of every API as `api.option`, what an input or output declares one by one."""
    flat: dict[str, Any] = {}
    for api in manifest.service.apis:
        tree = api.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"name"})
        flat.update(_flattened(api.name, tree))
    return flat


def _artifacts(manifest: BundleManifest) -> dict[str, Any]:
    """Return the options, metadata, size and content of each artifact, as `artifact.key`."""
    built = {artifact.name: artifact for artifact in manifest.artifacts}
    package = BundleLayout(PurePosixPath()).package(manifest.name)
    flat: dict[str, Any] = {}
    for artifact in manifest.service.artifacts:
        tree = artifact.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"name"})
        flat.update(_flattened(artifact.name, {"type": artifact.type, **tree}))
        folder = f"{package.artifact(artifact.name)}/"
        files = {
            path.removeprefix(folder): digest for path, digest in manifest.files.items() if path.startswith(folder)
        }
        flat.update({f"{artifact.name}.files.{path}": digest for path, digest in files.items()})
        if (resolved := built.get(artifact.name)) is not None:
            details = resolved.model_dump(mode="json", include={"metadata", "size_bytes", "versions"})
            flat.update(_flattened(artifact.name, details))
    return flat


def _flattened(prefix: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flattened(f"{prefix}.{key}", value))
        elif value not in (None, {}, []):
            flat[f"{prefix}.{key}"] = value
    return flat


def _is_model(path: str, manifest: BundleManifest) -> bool:
    """Return whether a file belongs to an artifact, which has a section of its own."""
    return PurePosixPath(path).is_relative_to(BundleLayout(PurePosixPath()).package(manifest.name).artifacts)


def _is_code(path: str, manifest: BundleManifest) -> bool:
    """Return whether a file is the service's own code, or text beside it."""
    package = BundleLayout(PurePosixPath()).package(manifest.name)
    location = PurePosixPath(path)
    is_inside = location.is_relative_to(package.folder)
    return is_inside and not any(map(location.is_relative_to, package.folders)) and location.suffix in _CODE


def _written_by_kappa(manifest: BundleManifest) -> frozenset[str]:
    """Return the files that Kappa writes and that say the version."""
    layout = BundleLayout(PurePosixPath())
    files = (layout.dockerfile, layout.openapi, layout.package(manifest.name).code, layout.readme, layout.setup)
    return frozenset(map(str, files)) & manifest.files.keys()


def _differs_in_version_alone(path: str, before: BundleSource, after: BundleSource) -> bool:
    old, new = (_versionless(source, _text_of(source, path)) for source in (before, after))
    return old is not None and old == new


def _versionless(source: BundleSource, lines: list[str] | None) -> list[str] | None:
    """Return lines without the version of their bundle."""
    versions = (source.manifest.version, to_pep440(source.manifest.version))
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, versions))})(?!\w|\.\w)")
    return None if lines is None else [pattern.sub("", line) for line in lines]


def _diff(path: str, before: BundleSource, after: BundleSource) -> str:
    old, new = (_text_of(source, path) for source in (before, after))
    if old is None or new is None:
        return ""
    names = f"{before.manifest.tag}/{path}", f"{after.manifest.tag}/{path}"
    return "".join(_complete_lines(difflib.unified_diff(old, new, *names)))


def _complete_lines(lines: Iterable[str]) -> Iterable[str]:
    return (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _text_of(source: BundleSource, path: str) -> list[str] | None:
    if path not in source.manifest.files:
        return []
    content = source.read(path, limit=_MAX_TEXT_BYTES)
    if content is None:
        return None
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
