"""The HTTP API of Gamma, as its door and its client know it: paths, headers, bodies, and values as JSON.

The values of the registry are written as they are, field by field; times are in RFC 3339.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter

from kappa.gamma.protocols.registry import BundleFile
from kappa.labels import Requirement
from kappa.tag import DEFAULT_NAMESPACE

__all__ = [
    "ERROR_HEADER",
    "OPERATION_HEADER",
    "PREFIX",
    "AliasTarget",
    "BlobSize",
    "Deletion",
    "GarbageCollection",
    "LabelChanges",
    "NewUpload",
    "TagParts",
    "from_json",
    "selector_text",
    "to_json",
    "type_adapter",
]

T = TypeVar("T")

PREFIX = "/api/v1"
OPERATION_HEADER = "Idempotency-Key"
"""The id of a write (draft-ietf-httpapi-idempotency-key-header)."""
ERROR_HEADER = "Kappa-Error"
"""The class of a failure, beside the body that has its message."""


@dataclass(frozen=True, slots=True)
class LabelChanges:
    """Changes of a bundle's labels."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    changes: Mapping[str, str | None]
    """Values by key; `null` removes a label."""


@dataclass(frozen=True, slots=True)
class AliasTarget:
    """What an alias shall name."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    version: str
    expect: str | None = None
    """The version that it must name now; empty: none."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A bundle that shall be uploaded."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    manifest: str
    """Its `kappa.yml`."""
    files: tuple[BundleFile, ...]
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class BlobSize:
    """How much of a blob is there."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class TagParts:
    """A tag of a bundle, in parts."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    version: str
    namespace: str = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Deletion:
    """Bundles that shall be deleted: all of them, or none."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    tags: tuple[TagParts, ...]
    force: bool = False
    """Also bundles that aliases name."""


@dataclass(frozen=True, slots=True)
class GarbageCollection:
    """What of the garbage shall be counted or removed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    grace_seconds: float
    """How long it must have been garbage."""
    dry_run: bool = True


@cache
def type_adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes values of a type."""
    return TypeAdapter(kind)


def to_json(kind: Any, value: Any) -> bytes:
    """Return a value of the type ``kind`` as JSON."""
    return type_adapter(kind).dump_json(value)


def from_json(kind: Any, data: bytes) -> Any:
    """Read a value of the type ``kind``; raises pydantic's `ValidationError`, which is a `ValueError`."""
    return type_adapter(kind).validate_json(data)


def selector_text(selector: Iterable[Requirement]) -> str:
    """Write a selector as `kappa.labels.parse_selector` reads it."""
    words = {"in": "In", "notin": "NotIn", "exists": "Exists", "doesnotexist": "DoesNotExist"}
    return ",".join(
        f"{requirement.key} {words[requirement.operator]}"
        + (f" ({','.join(requirement.values)})" if requirement.values else "")
        for requirement in selector
    )
