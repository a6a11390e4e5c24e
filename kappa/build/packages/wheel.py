"""Kappa's own wheel: the one that every bundle carries, the same bytes wherever it is made.

It is made from the checkout or from the installed files, whichever runs; entries are stored and not compressed,
because compressed bytes differ between versions of zlib, and because Python then imports from it faster. Its metadata
asks for what Kappa needs inside a bundle, the extra `runtime`, and nothing of the build side.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kappa._resources import Traversable
from kappa._version import __version__
from kappa.errors import BuildError

__all__ = ["KappaDescription", "KappaWheel", "describe_kappa", "kappa_wheel", "write_zip"]

_DISTRIBUTION = "kappa-ml"
_DATA_FOLDERS = ("schemas", "templates")
_DATA_FILES = ("kappafile.example.toml",)
_RUNTIME_MARKER = re.compile(r"""^(?P<rest>.*?)(\s+and\s+)?extra == ['"]runtime['"]$""")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name


@dataclass(frozen=True, slots=True)
class KappaWheel:
    """A wheel in memory."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KappaDescription:
    """Kappa's metadata for pip."""

    summary: str
    requires_python: str
    runtime: tuple[str, ...]
    """The requirements inside a bundle, sorted: its extra `runtime`."""
    entry_points: Mapping[str, Mapping[str, str]]
    license_text: bytes


def kappa_wheel() -> KappaWheel:
    """Make the wheel of the Kappa that runs; the same files give the same bytes.

    PERF: 8 ms, so nothing is kept on disk: a cache would have to read and hash the same files.
    """
    description = describe_kappa()
    entries = dict(_package_files())
    info = f"kappa_ml-{__version__}.dist-info"
    entries[f"{info}/METADATA"] = _metadata_text(description).encode()
    entries[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: kappa\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries[f"{info}/entry_points.txt"] = _entry_points_text(description.entry_points).encode()
    entries[f"{info}/licenses/LICENSE"] = description.license_text
    record = "".join(f"{name},{_record_digest(data)},{len(data)}\n" for name, data in sorted(entries.items()))
    entries[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return KappaWheel(name=f"kappa_ml-{__version__}-py3-none-any.whl", data=write_zip(entries))


def write_zip(entries: Mapping[str, bytes]) -> bytes:
    """Return a zip file of ``entries`` that depends on nothing else: sorted, stored, undated, mode 0644."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            member = zipfile.ZipInfo(name, date_time=_EARLIEST)
            member.create_system = 3  # Unix, on every system
            member.external_attr = 0o100644 << 16
            archive.writestr(member, entries[name])
    return buffer.getvalue()


def _package_files() -> Iterator[tuple[str, bytes]]:
    """Yield every file of the package, its data folders included, by path inside the wheel."""
    package = files("kappa")
    yield from _files_below(package, "kappa")
    if (checkout := _checkout()) is not None:
        for folder in _DATA_FOLDERS:
            yield from _files_below(checkout / folder, f"kappa/{folder}")
        for name in _DATA_FILES:
            yield f"kappa/{name}", (checkout / name).read_bytes()


def _files_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.name == "__pycache__" or entry.name.endswith((".pyc", ".gitkeep", ".DS_Store")):
            continue
        if entry.is_dir():
            yield from _files_below(entry, f"{prefix}/{entry.name}")
        else:
            yield f"{prefix}/{entry.name}", entry.read_bytes()


def _checkout() -> Path | None:
    """Return the root of the checkout that runs, or ``None`` for an installed Kappa."""
    package = files("kappa")
    if not isinstance(package, Path):
        return None  # a zip file
    root = package.parent
    return root if (root / "pyproject.toml").is_file() and (root / "templates" / "bundle").is_dir() else None


def describe_kappa() -> KappaDescription:
    """Describe the Kappa that runs, from its checkout or its installed metadata; raises `BuildError` for neither."""
    if (checkout := _checkout()) is not None:
        return _describe_checkout(checkout)
    try:
        return _describe_installed(metadata.distribution(_DISTRIBUTION))
    except metadata.PackageNotFoundError:
        raise BuildError(
            f"Kappa runs without the metadata of `{_DISTRIBUTION}`, so no bundle can carry it: install it with pip."
        ) from None


def _describe_checkout(root: Path) -> KappaDescription:
    project: dict[str, Any] = tomli.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return KappaDescription(
        summary=project["description"],
        requires_python=project["requires-python"],
        runtime=_normalised(project["optional-dependencies"]["runtime"]),
        entry_points={"console_scripts": project["scripts"], **project.get("entry-points", {})},
        license_text=(root / "LICENSE").read_bytes(),
    )


def _describe_installed(distribution: metadata.Distribution) -> KappaDescription:
    groups: dict[str, dict[str, str]] = {}
    for entry in distribution.entry_points:
        groups.setdefault(entry.group, {})[entry.name] = entry.value
    return KappaDescription(
        summary=distribution.metadata["Summary"],
        requires_python=distribution.metadata["Requires-Python"],
        runtime=_runtime_of(distribution),
        entry_points=groups,
        license_text=(distribution.read_text("licenses/LICENSE") or "").encode(),
    )


def _runtime_of(distribution: metadata.Distribution) -> tuple[str, ...]:
    """Return the extra `runtime`, or everything for the wheel of a bundle, which needs no more than that."""
    requires = distribution.requires or []
    if "runtime" not in (distribution.metadata.get_all("Provides-Extra") or ()):
        return _normalised(requires)
    runtime = []
    for text in requires:
        requirement, _, marker = text.partition(";")
        if match := _RUNTIME_MARKER.fullmatch(marker.strip()):
            rest = match["rest"].strip()
            runtime.append(f"{requirement}; {rest}" if rest else requirement)
    return _normalised(runtime)


def _normalised(requirements: list[str]) -> tuple[str, ...]:
    """Write requirements as a build backend does, which also spells their names alike (`ruamel-yaml`)."""
    parsed = [Requirement(text) for text in requirements]
    for requirement in parsed:
        requirement.name = canonicalize_name(requirement.name)
    return tuple(sorted(map(str, parsed)))


def _metadata_text(description: KappaDescription) -> str:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {_DISTRIBUTION}",
        f"Version: {__version__}",
        f"Summary: {description.summary}",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        f"Requires-Python: {description.requires_python}",
        *(f"Requires-Dist: {requirement}" for requirement in description.runtime),
    ]
    return "\n".join(lines) + "\n"


def _entry_points_text(groups: Mapping[str, Mapping[str, str]]) -> str:
    sections = (
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in sorted(entries.items()))])
        for group, entries in sorted(groups.items())
    )
    return "\n\n".join(sections) + "\n"


def _record_digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
