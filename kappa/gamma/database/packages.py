"""The packages that bundles lock: their rows, and which of them a requirement means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from sqlalchemy import Connection, Table, select

from kappa.errors import UsageError
from kappa.gamma.database.engine import insert_unless_there
from kappa.gamma.database.tables import distributions, packages

__all__ = ["AffectedPackages", "affected_packages", "package_ids", "parse_requirement"]

_PART = 10_000
"""How many pins a statement gets; SQLite takes 32,766 parameters."""


@dataclass(frozen=True, slots=True)
class AffectedPackages:
    """The rows of packages that a requirement means, all of one distribution."""

    distribution_id: int
    package_ids: tuple[int, ...]
    is_every_version: bool


def parse_requirement(text: str) -> Requirement:
    """Read a distribution with versions, as PEP 508 has them: ``pillow<11.1``, ``numpy``.

    Raises `UsageError`, also for what a lock does not tell: extras, markers and URLs.
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).partition("\n")[0].strip().rstrip(".")
        raise UsageError(
            f"`{text}` is not a requirement: {reason}. Write a package with versions, e.g. `pillow<11.1` or "
            "`numpy>=1.26,<2`."
        ) from None
    if requirement.extras or requirement.marker or requirement.url:
        raise UsageError(f"`{text}` says more than a package with versions: write e.g. `{requirement.name}<2`.")
    return requirement


def affected_packages(connection: Connection, namespace: str, text: str) -> AffectedPackages | None:
    """Return the packages that ``text`` means and any bundle ever locked; ``None`` if there are none.

    A locked URL has no version, so it is meant only by a distribution without versions.
    """
    requirement = parse_requirement(text)
    statement = (
        select(packages.c.id, packages.c.version, packages.c.distribution_id)
        .join(distributions)
        .where(distributions.c.namespace == namespace, distributions.c.name == canonicalize_name(requirement.name))
    )
    rows = connection.execute(statement).all()
    affected = [row for row in rows if _is_affected(requirement, row.version)]
    if not affected:
        return None
    ids = tuple(row.id for row in affected)
    return AffectedPackages(affected[0].distribution_id, ids, is_every_version=len(affected) == len(rows))


def _is_affected(requirement: Requirement, version: str) -> bool:
    if not requirement.specifier:
        return True
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def package_ids(
    connection: Connection, namespace: str, pins: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the ids of distribution and package of each pin; rows that are not there are added."""
    unique = sorted(set(pins))
    ids: dict[tuple[str, str], tuple[int, int]] = {}
    for start in range(0, len(unique), _PART):
        ids |= _package_ids(connection, namespace, unique[start : start + _PART])
    return ids


def _package_ids(
    connection: Connection, namespace: str, pins: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    names = sorted({name for name, _ in pins})
    _add_missing(connection, distributions, [{"namespace": namespace, "name": name} for name in names])
    rows = connection.execute(
        select(distributions.c.name, distributions.c.id).where(
            distributions.c.namespace == namespace, distributions.c.name.in_(names)
        )
    )
    ids = {row.name: row.id for row in rows}
    _add_missing(connection, packages, [{"distribution_id": ids[name], "version": version} for name, version in pins])
    rows = connection.execute(
        select(packages.c.distribution_id, packages.c.version, packages.c.id).where(
            packages.c.distribution_id.in_(ids.values()), packages.c.version.in_({version for _, version in pins})
        )
    )
    package_of = {(row.distribution_id, row.version): row.id for row in rows}
    for name, version in pins:
        yield (name, version), (ids[name], package_of[ids[name], version])


def _add_missing(connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
    """Add rows that no other has the key of; sorted ones, so that two that add at once never wait for each other."""
    if rows:
        connection.execute(insert_unless_there(connection, table), rows)
