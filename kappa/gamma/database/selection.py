"""Which bundles a query selects: one statement whose work hardly depends on how many match.

PERF: each condition of a list has an index that holds its rows in the order of lists. Where one condition has few rows
(`FEW`), the others are looked up for each of them. Else the rows of all are merged: a step in a range of an index costs
a tenth of a look-up, and the merge ends with the page. With 100,000 bundles that is a scan of two ranges at worst
(`benchmarks/registry`). SQLite merges compound statements (https://sqlite.org/lang_select.html#compound). PostgreSQL
merges semi- and anti-joins, if its planner is kept from look-ups, whose number it guesses too low.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    asc,
    desc,
    except_,
    exists,
    func,
    intersect,
    not_,
    select,
)
from sqlalchemy.sql.selectable import CompoundSelect

from kappa.gamma.database.globs import matching
from kappa.gamma.database.packages import AffectedPackages, affected_packages
from kappa.gamma.database.tables import bundles, labels, locks
from kappa.gamma.protocols.callers import ANYBODY, Scope
from kappa.labels import Requirement
from kappa.spec.store import Query

__all__ = ["FEW", "selected_ids", "selection"]

_Visible = tuple[ColumnElement[bool], ...]
"""The condition that a scope puts on names of bundles; empty where it has all that are asked for."""

FEW = 1_000
"""So many rows are sorted or looked up in an instant."""


def selected_ids(connection: Connection, query: Query, scope: Scope = ANYBODY.scope) -> list[int]:
    """Return the ids of the bundles of a scope that a query selects, in its order.

    Raises `UsageError` for what ``requires`` cannot mean.
    """
    statement = selection(connection, query, scope)
    return [] if statement is None else list(connection.execute(statement).scalars())


def selection(
    connection: Connection, query: Query, scope: Scope = ANYBODY.scope
) -> Select[Any] | CompoundSelect[Any] | None:
    """Return the statement that yields those ids first in its rows; ``None`` if nothing can match."""
    globs = scope.names_in(query.namespace)
    affected = None
    if query.requires is not None:
        affected = affected_packages(connection, query.namespace, query.requires)
        if affected is None:
            return None
    if not globs or (query.name is not None and not scope.includes(query.namespace, query.name)):
        return None
    visible = tuple(matching(connection, bundles.c.name, globs)) if query.name is None else ()
    conditions = [_of_labels(query.namespace, wish) for wish in query.selector]
    if affected is not None:
        conditions.append(_of_packages(affected))
    is_narrow = query.version is not None or query.digest is not None
    walks = is_narrow or not conditions
    if walks:
        statement: Select[Any] | CompoundSelect[Any] = _walk(query, visible, affected, None)
    else:
        statement = _choice(connection, query, visible, affected, conditions)
    return statement.limit(query.limit).offset(query.offset or None)


@dataclass(frozen=True, slots=True)
class _Condition:
    """The rows that meet one condition, of a table that has them in the order of lists."""

    table: FromClause
    clause: ColumnElement[bool]
    requirement: Requirement | None = None
    """What it is of a selector; ``None`` for packages."""
    is_negative: bool = False
    """Whether bundles with such a row are those that are *not* meant."""
    is_cheap: bool = True
    """Whether rows that do not match are never read."""

    @property
    def bundle_id(self) -> ColumnElement[int]:
        return self.table.c.id if self.table is bundles else self.table.c.bundle_id


def _choice(
    connection: Connection,
    query: Query,
    visible: _Visible,
    affected: AffectedPackages | None,
    conditions: Sequence[_Condition],
) -> Select[Any] | CompoundSelect[Any]:
    """Choose how to go through a namespace, or one of its services."""
    is_by_age = query.order_by == "created_at"
    positives = [condition for condition in conditions if not condition.is_negative]
    if query.name is None and is_by_age and len(conditions) == len(positives) == 1:
        return _driven(positives[0], query, visible, affected)
    everyone = _of_bundles(query, visible)
    small = _smallest(connection, [*positives, everyone] if query.name is not None else positives)
    if small is everyone:
        return _walk(query, visible, affected, None)
    if not is_by_age or (small is not None and query.name is not None):
        return _walk(query, visible, affected, small)
    if small is not None:
        return _driven(small, query, visible, affected)
    is_whole = query.name is not None or not positives or bool(visible)
    return _merged(connection, query, [everyone, *conditions] if is_whole else conditions)


def _of_bundles(query: Query, visible: _Visible) -> _Condition:
    return _Condition(bundles, and_(*_conditions(query), *visible))


def _of_labels(namespace: str, wish: Requirement) -> _Condition:
    clause = and_(labels.c.namespace == namespace, labels.c.key == wish.key, *_values(wish))
    is_negative, is_cheap = wish.operator == "doesnotexist", wish.operator != "notin"
    return _Condition(labels, clause, wish, is_negative=is_negative, is_cheap=is_cheap)


def _of_packages(affected: AffectedPackages) -> _Condition:
    return _Condition(locks, and_(*_packages(affected)), is_cheap=False)


def _values(wish: Requirement) -> Iterable[ColumnElement[bool]]:
    if wish.operator == "in":
        yield labels.c.value == wish.values[0] if len(wish.values) == 1 else labels.c.value.in_(wish.values)
    elif wish.operator == "notin":
        yield labels.c.value.not_in(wish.values)


def _packages(affected: AffectedPackages) -> Iterable[ColumnElement[bool]]:
    yield locks.c.distribution_id == affected.distribution_id
    if not affected.is_every_version:
        yield locks.c.package_id.in_(affected.package_ids)


def _smallest(connection: Connection, conditions: Sequence[_Condition]) -> _Condition | None:
    """Return the condition with the fewest rows if these are few; only those that are cheap to count are."""
    counts = [(_count(connection, condition), condition) for condition in conditions if condition.is_cheap]
    count, smallest = min(counts, key=lambda pair: pair[0], default=(FEW, None))
    return smallest if count < FEW else None


def _count(connection: Connection, condition: _Condition) -> int:
    rows = select(condition.bundle_id).where(condition.clause).limit(FEW).subquery()
    return connection.execute(select(func.count()).select_from(rows)).scalar_one()


def _merged(
    connection: Connection, query: Query, conditions: Sequence[_Condition]
) -> Select[Any] | CompoundSelect[Any]:
    """Merge the rows of all conditions, each read in the order of the list."""
    ordered = sorted(conditions, key=lambda condition: (condition.is_negative, condition.table is locks))
    rows = [
        select(condition.bundle_id.label("bundle_id"), condition.table.c.created_us).where(condition.clause)
        for condition in ordered
    ]
    count = sum(not condition.is_negative for condition in conditions)
    if connection.dialect.name == "sqlite":
        return _compound(query, rows[:count], rows[count:])
    return _joins(connection, query, rows[:count], rows[count:])


class _Chain(CompoundSelect[Any]):
    """Statements joined from the left: SQLite knows no parentheses around them."""

    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return self


def _compound(
    query: Query, positives: Sequence[Select[Any]], negatives: Sequence[Select[Any]]
) -> Select[Any] | CompoundSelect[Any]:
    statement: Select[Any] | CompoundSelect[Any] = positives[0]
    for join, parts in ((intersect, positives[1:]), (except_, negatives)):
        for part in parts:
            statement = _Chain(join(part, part).keyword, statement, part)
    direction = asc if query.ascending else desc
    return statement.order_by(direction("created_us"), direction("bundle_id"))


def _joins(
    connection: Connection, query: Query, positives: Sequence[Select[Any]], negatives: Sequence[Select[Any]]
) -> Select[Any]:
    names = "enable_nestloop", "enable_hashjoin", "jit"  # until the transaction ends
    connection.execute(select(*(func.set_config(name, "off", True) for name in names)))
    base = positives[0].subquery()
    statement = select(base.c.bundle_id)
    if positives[0].get_final_froms() == [locks]:
        statement = statement.group_by(base.c.created_us, base.c.bundle_id)  # several versions of a distribution
    for part in positives[1:]:
        statement = statement.where(_has_row(base, part.subquery()))
    for part in negatives:
        # PERF: with an order and an offset PostgreSQL 15, too, reads the rows of an anti-join from an index in order
        fence = _ordered(part, [part.selected_columns[1], part.selected_columns[0]], query).offset(0).subquery()
        statement = statement.where(not_(_has_row(base, fence)))
    return _ordered(statement, [base.c.created_us, base.c.bundle_id], query)


def _has_row(base: FromClause, rows: FromClause) -> ColumnElement[bool]:
    return exists().where(rows.c.created_us == base.c.created_us, rows.c.bundle_id == base.c.bundle_id)


def _driven(driver: _Condition, query: Query, visible: _Visible, affected: AffectedPackages | None) -> Select[Any]:
    table = driver.table
    statement = select(table.c.bundle_id).where(driver.clause)
    if driver.requirement is None:
        statement = statement.group_by(table.c.created_us, table.c.bundle_id)  # several versions of a distribution
    conditions = list(_looked_up(query, affected, table.c.bundle_id, driver))
    if visible:
        conditions.append(exists().where(bundles.c.id == table.c.bundle_id, *visible))
    return _ordered(statement.where(*conditions), [table.c.created_us, table.c.bundle_id], query)


def _walk(query: Query, visible: _Visible, affected: AffectedPackages | None, driver: _Condition | None) -> Select[Any]:
    """Go through the bundles in the order of the list, or through those of a driver that has few."""
    statement = select(bundles.c.id).where(*_conditions(query), *visible)
    if driver is not None:
        statement = statement.where(bundles.c.id.in_(select(driver.table.c.bundle_id).where(driver.clause)))
    statement = statement.where(*_looked_up(query, affected, bundles.c.id, driver))
    age = [bundles.c.created_us, bundles.c.id]
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
    query: Query, affected: AffectedPackages | None, bundle_id: Any, driver: _Condition | None
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
