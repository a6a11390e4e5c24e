"""Aliases: names of versions that can move, and the history of their moves."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from kappa.errors import BundleNotFoundError, GammaError, UsageError
from kappa.gamma.database.bundles import lock_service, note_change, take_alias_away
from kappa.gamma.database.clock import aware, database_time
from kappa.gamma.database.queries import reference_of
from kappa.gamma.database.tables import alias_changes, bundles, refs
from kappa.spec.store import Alias, AliasChange
from kappa.tag import Tag, check_version

__all__ = ["aliases_of", "delete_alias", "history_of", "set_alias"]


def aliases_of(connection: Connection, namespace: str, name: str) -> list[Alias]:
    """Return the aliases of a service, by alias."""
    statement = (
        select(refs.c.ref, bundles.c.version, refs.c.changed_at)
        .join_from(refs, bundles)
        .where(refs.c.namespace == namespace, refs.c.name == name, refs.c.kind == "alias")
        .order_by(refs.c.ref)
    )
    rows = connection.execute(statement)
    return [Alias(name, row.ref, row.version, aware(row.changed_at), namespace) for row in rows]


def set_alias(connection: Connection, tag: Tag, alias: str, *, expect: str | None = None, by: str = "") -> AliasChange:
    """Let an alias name a version; with ``expect``, only if it names that one now (``""``: none).

    One that names it already stays as it is, which is no change in its history. Raises `BundleNotFoundError` for
    a version that is not there, `UsageError` for an alias that is a version or cannot be one, and `GammaError` where
    it names another version than expected.
    """
    try:
        check_version(alias, noun="an alias")
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None
    lock_service(connection, tag.namespace, tag.name)
    target = reference_of(connection, tag.namespace, tag.name, tag.version)
    if target is None or target.kind != "version":
        hint = f" `{tag.version}` is an alias of `{target.version}`." if target and target.kind == "alias" else ""
        raise BundleNotFoundError(f"There is no bundle `{tag}`, so `{alias}` cannot name it.{hint}")
    current = reference_of(connection, tag.namespace, tag.name, alias)
    if current is not None and current.kind != "alias":
        state = "a version" if current.kind == "version" else "the version of a deleted bundle"
        raise UsageError(f"`{alias}` cannot be an alias of `{tag.name}`: it is {state}.")
    previous = current.version if current is not None else None
    _check_expected(tag, alias, previous, expect)
    if previous == tag.version and current is not None:
        return AliasChange(
            tag.name, alias, previous, tag.version, aware(current.changed_at), by, namespace=tag.namespace
        )
    now = database_time(connection)
    connection.execute(
        delete(refs).where(refs.c.namespace == tag.namespace, refs.c.name == tag.name, refs.c.ref == alias)
    )
    bundle_id = select(bundles.c.id).where(
        bundles.c.namespace == tag.namespace, bundles.c.name == tag.name, bundles.c.version == tag.version
    )
    connection.execute(
        insert(refs).values(
            namespace=tag.namespace,
            name=tag.name,
            ref=alias,
            kind="alias",
            bundle_id=bundle_id.scalar_subquery(),
            bundle_digest=target.bundle_digest,
            changed_at=now,
        )
    )
    note_change(connection, tag, alias, previous=previous, version=tag.version, at=now, by=by)
    return AliasChange(tag.name, alias, previous, tag.version, now, by, namespace=tag.namespace)


def delete_alias(
    connection: Connection, namespace: str, name: str, alias: str, *, expect: str | None = None, by: str = ""
) -> AliasChange:
    """Remove an alias; raises `BundleNotFoundError` where there is none, and `GammaError` as `set_alias` does."""
    lock_service(connection, namespace, name)
    current = reference_of(connection, namespace, name, alias)
    if current is None or current.kind != "alias":
        hint = f" `{alias}` is a version: `kappa delete` deletes it." if current and current.kind == "version" else ""
        raise BundleNotFoundError(f"`{Tag(name, alias, namespace)}` is not an alias.{hint}")
    tag = Tag(name, current.version, namespace)
    _check_expected(tag, alias, current.version, expect)
    at = take_alias_away(connection, tag, alias, by=by)
    return AliasChange(name, alias, current.version, None, at, by, namespace=namespace)


def history_of(connection: Connection, namespace: str, name: str, alias: str) -> list[AliasChange]:
    """Return the changes of an alias, the newest first."""
    table = alias_changes
    statement = (
        select(table)
        .where(table.c.namespace == namespace, table.c.name == name, table.c.alias == alias)
        .order_by(table.c.id.desc())
    )
    return [
        AliasChange(name, alias, row.previous, row.version, aware(row.changed_at), row.changed_by, namespace=namespace)
        for row in connection.execute(statement)
    ]


def _check_expected(tag: Tag, alias: str, current: str | None, expect: str | None) -> None:
    if expect is None or expect == (current or ""):
        return
    names = f"names `{current}`" if current is not None else "names no version"
    expected = f"`{expect}`" if expect else "none"
    raise GammaError(
        f"The alias `{Tag(tag.name, alias, tag.namespace)}` {names} now, and not {expected} as expected; nothing was "
        "changed."
    )
