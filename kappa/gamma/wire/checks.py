"""Checks of what another process sends: each returns the value, or raises `UsageError` that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar, get_args

from kappa.errors import UsageError
from kappa.labels import Operator, Requirement, check_label
from kappa.spec.store import Order, Query
from kappa.tag import (
    ALL_NAMESPACES,
    DEFAULT_NAMESPACE,
    BundleReference,
    Tag,
    check_name,
    check_namespace,
    check_version,
)

__all__ = [
    "check_alias",
    "check_digest",
    "check_limits",
    "check_offset",
    "check_operation",
    "check_order",
    "check_services",
    "check_session",
    "checked_query",
    "checked_reference",
    "checked_requirement",
    "checked_service",
    "checked_tag",
]

T = TypeVar("T")

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_PREFIX = re.compile(r"sha256:[0-9a-f]{0,64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LONGEST_REQUIREMENT = 1000
_LONGEST_SEARCH = 200
_LARGEST = 2**63 - 1
_OPERATORS: tuple[Operator, ...] = get_args(Operator)
_ORDERS: tuple[Order, ...] = get_args(Order)


def _as_usage(check: Callable[[], T]) -> T:
    try:
        return check()
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None


def check_digest(digest: str) -> str:
    """Return a whole digest."""
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"`{digest[:100]}` is not a digest: expected `sha256:` and 64 hex digits.")
    return digest


def check_session(session: str) -> str:
    """Return the name of an upload."""
    if not _ID.fullmatch(session):
        raise UsageError(f"`{session[:100]}` does not name an upload: give the session that `begin_upload` returned.")
    return session


def check_operation(operation: str) -> str:
    """Return the id of a write."""
    if not _ID.fullmatch(operation):
        raise UsageError(
            f"`{operation[:100]}` is not the id of a write: a client makes a new one for each, of 1 to 128 letters, "
            "digits, `.`, `_` and `-`."
        )
    return operation


def check_alias(alias: str) -> str:
    """Return an alias, whose grammar is that of versions."""
    try:
        return check_version(alias, noun="an alias")
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None


def check_offset(offset: int) -> int:
    """Return how many bytes of a blob come before."""
    if not 0 <= offset <= _LARGEST:
        raise UsageError(f"`{offset}` is not an offset: expected 0 or more bytes.")
    return offset


def check_limits(limit: int | None, offset: int) -> None:
    """Refuse a negative limit or offset of a query."""
    for name, number in (("limit", limit), ("offset", offset)):
        if number is not None and not 0 <= number <= _LARGEST:
            raise UsageError(f"The {name} of a query is `{number}`: expected 0 or more.")


def check_order(order: str) -> Order:
    """Return the order of a query."""
    matches = [word for word in _ORDERS if word == order]
    if not matches:
        raise UsageError(f"Bundles cannot be ordered by `{order[:100]}`: choose from {_enumerate(_ORDERS)}.")
    return matches[0]


def check_services(search: str, namespace: str, limit: int | None, offset: int) -> None:
    """Check what services are asked for by."""
    check_limits(limit, offset)
    if namespace != ALL_NAMESPACES:
        _as_usage(lambda: check_namespace(namespace))
    if len(search) > _LONGEST_SEARCH or not search.isprintable():
        raise UsageError(f"What a name shall contain has at most {_LONGEST_SEARCH} characters, on one line.")


def checked_service(namespace: str, name: str) -> tuple[str, str]:
    """Return the namespace and the name of a service."""
    return _as_usage(lambda: (check_namespace(namespace), check_name(name)))


def checked_tag(namespace: str, name: str, version: str) -> Tag:
    """Return the tag of these parts."""
    return _as_usage(lambda: Tag(check_name(name), check_version(version), check_namespace(namespace)))


def checked_reference(reference: BundleReference) -> BundleReference:
    """Return a reference to a bundle, read anew from its text."""
    if reference.digest is not None and reference.version is not None:
        raise UsageError("A reference to a bundle has a version or a digest, not both.")
    return BundleReference.parse(str(reference))


def checked_query(query: Query) -> Query:
    """Return a query whose every part fits its grammar."""
    check_limits(query.limit, query.offset)
    if query.namespace != ALL_NAMESPACES:
        _as_usage(lambda: check_namespace(query.namespace))
    if query.name is not None:
        checked_service(DEFAULT_NAMESPACE, query.name)
    if query.version is not None:
        checked_tag(DEFAULT_NAMESPACE, query.name or "Any", query.version)
    if query.digest is not None and not _DIGEST_PREFIX.fullmatch(query.digest):
        raise UsageError(f"`{query.digest[:100]}` does not begin a digest: expected `sha256:` and hex digits.")
    if query.requires is not None and (len(query.requires) > _LONGEST_REQUIREMENT or not query.requires.isprintable()):
        raise UsageError("What bundles shall lock is a requirement like `pillow<11.1`, on one line.")
    selector = tuple(checked_requirement(item.key, item.operator, item.values) for item in query.selector)
    return replace(query, order_by=check_order(query.order_by), selector=selector)


def checked_requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    """Return a requirement of a selector."""
    matches = [word for word in _OPERATORS if word == operator]
    if not matches:
        raise UsageError(f"`{operator[:100]}` is not an operator of selectors: choose from {_enumerate(_OPERATORS)}.")
    if bool(values) != (operator in ("in", "notin")):
        raise UsageError(f"The operator `{operator}` of selectors does not go with {len(values)} values.")
    return _as_usage(lambda: Requirement(check_label(key, part="key"), matches[0], tuple(map(check_label, values))))


def _enumerate(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
