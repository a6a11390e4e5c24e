"""Which bundles a query selects: one statement whose work hardly depends on how many match.

PERF: a list of a whole namespace begins with the rows that one condition names, its *driver*: an index holds them in
the order of lists, so the first page is read from its end, and the other conditions are looked up for each row. With
100,000 bundles that is a scan of one index at worst (`benchmarks/registry.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, exists, func, not_, select

from kappa.gamma.database.packages import AffectedPackages, affected_packages
from kappa.gamma.database.tables import bundles, labels, locks
from kappa.labels import Requirement
from kappa.spec.store import Query

__all__ = ["FEW", "selected_ids", "selection"]

FEW = 1_000
"""So many rows are sorted in an instant, whatever they are sorted by."""


def selected_ids(connection: Connection, query: Query) -> list[int]:
    """Return the ids of the bundles that a query selects, in its order.

    Raises `UsageError` for what ``requires`` cannot mean.
    """
    statement = selection(connection, query)
    return [] if statement is None else list(connection.execute(statement).scalars())


def selection(connection: Connection, query: Query) -> Select[Any] | None:
    """Return the statement that yields those ids; ``None`` if nothing can match."""
    affected = None
    if query.requires is not None:
        affected = affected_packages(connection, query.namespace, query.requires)
        if affected is None:
            return None
    drivers = [_of_labels(query.namespace, wish) for wish in query.selector if wish.operator != "doesnotexist"]
    if affected is not None:
        drivers.append(_of_packages(affected))
    is_broad = query.name is None and query.version is None and query.digest is None
    driver, is_small = _best(connection, drivers) if is_broad else (None, False)
    if driver is not None and query.order_by == "created_at":
        statement = _driven(driver, query, affected)
    else:
        statement = _walk(query, affected, driver if is_small else None)
    return statement.limit(query.limit).offset(query.offset or None)


@dataclass(frozen=True, slots=True)
class _Driver:
    """The rows that meet one condition, of a table that has them in the order of lists."""

    table: FromClause
    condition: ColumnElement[bool]
    requirement: Requirement | None = None
    """What it is of a selector; ``None`` for packages."""
    is_cheap: bool = True
    """Whether rows that do not match are never read."""


def _of_labels(namespace: str, wish: Requirement) -> _Driver:
    condition = and_(labels.c.namespace == namespace, labels.c.key == wish.key, *_values(wish))
    return _Driver(labels, condition, wish, is_cheap=wish.operator != "notin")


def _of_packages(affected: AffectedPackages) -> _Driver:
    return _Driver(locks, and_(*_packages(affected)), is_cheap=False)


def _values(wish: Requirement) -> Iterable[ColumnElement[bool]]:
    if wish.operator == "in":
        yield labels.c.value == wish.values[0] if len(wish.values) == 1 else labels.c.value.in_(wish.values)
    elif wish.operator == "notin":
        yield labels.c.value.not_in(wish.values)


def _packages(affected: AffectedPackages) -> Iterable[ColumnElement[bool]]:
    yield locks.c.distribution_id == affected.distribution_id
    if not affected.is_every_version:
        yield locks.c.package_id.in_(affected.package_ids)


def _best(connection: Connection, drivers: Sequence[_Driver]) -> tuple[_Driver | None, bool]:
    """Return the driver with the fewest rows, counted up to a limit, and whether these are few."""
    if not drivers:
        return None, False
    counts = [FEW if not driver.is_cheap and len(drivers) > 1 else _count(connection, driver) for driver in drivers]
    least = min(counts)
    return drivers[counts.index(least)], least < FEW


def _count(connection: Connection, driver: _Driver) -> int:
    rows = select(driver.table.c.bundle_id).where(driver.condition).limit(FEW).subquery()
    return connection.execute(select(func.count()).select_from(rows)).scalar_one()


def _driven(driver: _Driver, query: Query, affected: AffectedPackages | None) -> Select[Any]:
    table = driver.table
    statement = select(table.c.bundle_id).where(driver.condition)
    if driver.requirement is None:
        statement = statement.group_by(table.c.created_us, table.c.bundle_id)  # several versions of a distribution
    conditions = _looked_up(query, affected, table.c.bundle_id, driver)
    return _ordered(statement.where(*conditions), [table.c.created_us, table.c.bundle_id], query)


def _walk(query: Query, affected: AffectedPackages | None, driver: _Driver | None) -> Select[Any]:
    """Go through the bundles in the order of the list, or through those of a driver that has few."""
    statement = select(bundles.c.id).where(*_conditions(query))
    if driver is not None:
        statement = statement.where(bundles.c.id.in_(select(driver.table.c.bundle_id).where(driver.condition)))
    statement = statement.where(*_looked_up(query, affected, bundles.c.id, driver))
    age = [bundles.c.created_at, bundles.c.id]
    if query.order_by == "created_at":
        return _ordered(statement, age, query)
    name = bundles.c.name if query.ascending else bundles.c.name.desc()
    return statement.order_by(name, *(column.desc() for column in age))


def _ordered(statement: Select[Any], columns: Sequence[Any], query: Query) -> Select[Any]:
    return statement.order_by(*(columns if query.ascending else [column.desc() for column in columns]))


def _conditions(query: Query) -> Iterable[ColumnElement[bool]]:
    yield bundles.c.namespace == query.namespace
    if query.name is not None:
        yield bundles.c.name == query.name
    if query.version is not None:
        yield bundles.c.version == query.version
    if query.digest is not None:  # hex digits end before `g`
        yield and_(bundles.c.bundle_digest >= query.digest, bundles.c.bundle_digest < f"{query.digest}g")


def _looked_up(
    query: Query, affected: AffectedPackages | None, bundle_id: Any, driver: _Driver | None
) -> Iterable[ColumnElement[bool]]:
    """Yield the conditions that no driver stands for, for the bundle of each row."""
    for wish in query.selector:
        if driver is None or driver.requirement is not wish:
            table = labels.alias()
            row = exists().where(table.c.bundle_id == bundle_id, table.c.key == wish.key, *_values_in(table, wish))
            yield not_(row) if wish.operator == "doesnotexist" else row
    if affected is not None and (driver is None or driver.requirement is not None):
        lock = locks.alias()
        is_affected = (lock.c.package_id + 0).in_(affected.package_ids)  # PERF: one look-up instead of one for each id
        of_distribution = lock.c.distribution_id == affected.distribution_id
        yield exists().where(lock.c.bundle_id == bundle_id, of_distribution, is_affected)


def _values_in(table: FromClause, wish: Requirement) -> Iterable[ColumnElement[bool]]:
    if wish.operator == "in":
        yield table.c.value.in_(wish.values)
    elif wish.operator == "notin":
        yield table.c.value.not_in(wish.values)
