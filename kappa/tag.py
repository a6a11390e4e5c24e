"""Names, versions and tags of bundles.

A *tag* is ``Name:version``, or ``namespace/Name:version`` outside of the namespace `default`. A *reference* is what a
user types where a bundle is wanted: a tag, ``Name`` or ``Name:latest`` for the newest, ``Name@sha256:…`` for one exact
content, ``Name:alias``. The grammar of versions and their mapping to
PEP 440 is part of the bundle format: the mapping is one to one, so a tag can be read back from an installed package.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from datetime import datetime, timezone

from kappa.errors import UsageError

__all__ = [
    "ALL_NAMESPACES",
    "DEFAULT_NAMESPACE",
    "IDENTIFIER",
    "BundleReference",
    "Tag",
    "check_identifier",
    "check_name",
    "check_namespace",
    "check_version",
    "default_version",
    "from_pep440",
    "to_pep440",
]

DEFAULT_NAMESPACE = "default"
ALL_NAMESPACES = "*"
"""What a query writes for every namespace; it cannot name one."""
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PREFIX = r"((?:(?:0|[1-9][0-9]*)\.){2})?"  # what `@kappa.ver` puts before a version
_DEFAULT_VERSION = re.compile(_PREFIX + r"([1-9][0-9]{13})_([0-9A-F]{6})")
_CANONICAL_PEP440 = re.compile(
    r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*((a|b|rc)(0|[1-9]\d*))?(\.post(0|[1-9]\d*))?(\.dev(0|[1-9]\d*))?", re.ASCII
)  # PEP 440, appendix B, without epoch and local part, which no version of a bundle can hold
_DEFAULT_PEP440 = re.compile(_PREFIX + r"([1-9][0-9]{13})\.(0|[1-9][0-9]{0,7})")
_ENCODED_PEP440 = re.compile(r"0\+kappa\.([0-9a-f]+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{6,64}")
_FORMS = "`Name`, `Name:version` or `namespace/Name:version`"


def check_name(name: str) -> str:
    """Return ``name`` if it can name a bundle, its package and its command: an ASCII Python identifier."""
    if len(name) > 128 or not IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"`{name}` cannot name a service: use up to 128 letters, digits and `_`, beginning with a letter"
        )
    if keyword.iskeyword(name):
        raise ValueError(f"`{name}` cannot name a service: it is a word of the Python language")
    if name.lower() == "kappa":
        raise ValueError(f"`{name}` cannot name a service: its package would take the place of Kappa's own")
    return name


def check_identifier(text: str) -> str:
    """Return ``text`` if it can name an artifact, an API or a method."""
    if not IDENTIFIER.fullmatch(text):
        raise ValueError(f"`{text}` is not a name: use letters, digits and `_`, beginning with a letter")
    return text


def check_namespace(namespace: str) -> str:
    """Return ``namespace`` if it fits the grammar of a DNS label (RFC 1123)."""
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            f"`{namespace}` is not a namespace: use 1 to 63 lower-case letters, digits and `-`, beginning and ending "
            "with a letter or a digit"
        )
    return namespace


def check_version(version: str, *, noun: str = "a version") -> str:
    """Return ``version`` if it fits the grammar, which aliases share; ``latest`` is reserved in any case."""
    if not _VERSION.fullmatch(version):
        raise ValueError(
            f"`{version}` is not {noun}: use 1 to 128 letters, digits, `.`, `_` and `-`, "
            "beginning with a letter or a digit"
        )
    if version.lower() == "latest":
        raise ValueError("`latest` is reserved: it always means the newest version")
    return version


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """``name:version`` of one bundle, in a namespace."""

    name: str
    version: str
    namespace: str = DEFAULT_NAMESPACE

    def __str__(self) -> str:
        return f"{self.service}:{self.version}"

    @property
    def service(self) -> str:
        """The name, with the namespace before it where that is not `default`."""
        return f"{_prefix_of(self.namespace)}{self.name}"

    @classmethod
    def parse(cls, text: str) -> Tag:
        """Read ``Name:version`` or ``namespace/Name:version``; a `ValueError` says which part is wrong."""
        namespace, rest = _split_namespace(text)
        name, colon, version = rest.partition(":")
        if not colon:
            raise ValueError(f"`{text}` has no version: write `{text}:<version>`")
        return cls(check_name(name), check_version(version), namespace)


def _split_namespace(text: str, *, default: str = DEFAULT_NAMESPACE) -> tuple[str, str]:
    namespace, slash, rest = text.partition("/")
    return (check_namespace(namespace), rest) if slash else (check_namespace(default), text)


def _prefix_of(namespace: str) -> str:
    return "" if namespace == DEFAULT_NAMESPACE else f"{namespace}/"


@dataclass(frozen=True, slots=True)
class BundleReference:
    """A user's reference to a stored bundle: at most one of ``version`` and ``digest``; neither means newest."""

    name: str
    version: str | None = None
    """A version or an alias: their grammar is one, and the store knows which it is."""
    digest: str | None = None
    namespace: str = DEFAULT_NAMESPACE

    def __str__(self) -> str:
        if self.digest is not None:
            return f"{_prefix_of(self.namespace)}{self.name}@{self.digest}"
        return f"{_prefix_of(self.namespace)}{self.name}:{self.version or 'latest'}"

    @classmethod
    def parse(cls, text: str, *, namespace: str = DEFAULT_NAMESPACE) -> BundleReference:
        """Read ``[namespace/]Name`` alone, with ``:version``, ``:alias``, ``:latest`` or ``@sha256:…``.

        ``namespace`` is that of a text without one. Raises `UsageError`.
        """
        try:
            if text.startswith((".", "/", "~", "\\")):
                raise ValueError(f"`{text}` is a path, where the name of a bundle is wanted: write {_FORMS}")
            namespace, rest = _split_namespace(text, default=namespace)
            if not rest or rest.startswith((":", "@")):
                raise ValueError(f"`{text}` has no name of a service: write {_FORMS}")
            if "@" in rest:
                name, _, digest = rest.partition("@")
                if not _DIGEST.fullmatch(digest):
                    raise ValueError(f"`{digest}` is not a digest: expected `sha256:` and 6 to 64 hex digits")
                return cls(check_name(name), digest=digest, namespace=namespace)
            name, colon, version = rest.partition(":")
            if colon and not version:
                raise ValueError(f"`{text}` ends where a version is wanted: write `{name}:latest` for the newest")
            if not colon or version.lower() == "latest":
                return cls(check_name(name), namespace=namespace)
            return cls(check_name(name), version=check_version(version), namespace=namespace)
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None


def default_version(content_digest: str, *, at: datetime) -> str:
    """Return ``YYYYMMDDHHMMSS_XXXXXX``: the UTC time and the first six hex digits of the content digest."""
    stamp = at.astimezone(timezone.utc).strftime("%Y%m%d%H%M%S")
    return f"{stamp}_{content_digest.removeprefix('sha256:')[:6].upper()}"


def to_pep440(version: str) -> str:
    """Map a bundle's version to a valid PEP 440 version, one to one; `from_pep440` is the inverse."""
    if match := _DEFAULT_VERSION.fullmatch(version):
        prefix, stamp, digits = match.groups("")
        return f"{prefix}{stamp}.{int(digits, 16)}"
    if _CANONICAL_PEP440.fullmatch(version) and not _DEFAULT_PEP440.fullmatch(version):
        return version
    return f"0+kappa.{version.encode().hex()}"


def from_pep440(version: str) -> str:
    """Map back what `to_pep440` made."""
    if (match := _DEFAULT_PEP440.fullmatch(version)) and int(match[3]) < 0x1000000:
        return f"{match[1] or ''}{match[2]}_{int(match[3]):06X}"
    if match := _ENCODED_PEP440.fullmatch(version):
        return bytes.fromhex(match[1]).decode()
    return version
