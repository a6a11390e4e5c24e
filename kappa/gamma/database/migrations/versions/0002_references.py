"""Aliases and reserved versions, times of registration, answers of writes, locks by package; indexes in list order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["sorted_text", "upgrade"]

revision = "0002"
down_revision = "0001"

_BATCH = 500
_NO_TIME = sa.text("'1970-01-01 00:00:00+00'")


def sorted_text(length: int) -> sa.types.TypeEngine[str]:
    """Return the type of a column that is sorted by code points in every database."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    bundles = _upgrade_bundles()
    _create_references()
    _create_locks()
    _create_memory()
    op.add_column("labels", sa.Column("created_us", sa.BigInteger(), nullable=False, server_default="0"))
    _fill(bundles)
    _drop_default("labels", "created_us")
    op.drop_index("ix_labels_namespace_key_value", "labels")
    for columns in (
        ["namespace", "key", "value", "created_us", "bundle_id"],
        ["namespace", "key", "created_us", "bundle_id", "value"],
    ):
        op.create_index(f"ix_labels_{'_'.join(columns)}", "labels", columns)
    op.drop_table("locked_packages")


def _upgrade_bundles() -> sa.TableClause:
    """Add the new columns; a bundle that is there was registered when it was built, as far as anybody knows."""
    for name in ("registered_at", "ranked_at"):
        column = sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=_NO_TIME)
        op.add_column("bundles", column)
    op.add_column("bundles", sa.Column("created_by", sa.String(255), nullable=False, server_default=""))
    bundles = sa.table(
        "bundles",
        sa.column("id", sa.Integer),
        sa.column("namespace", sa.String),
        sa.column("name", sa.String),
        sa.column("version", sa.String),
        sa.column("bundle_digest", sa.String),
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("registered_at", sa.DateTime(timezone=True)),
        sa.column("ranked_at", sa.DateTime(timezone=True)),
    )
    op.execute(bundles.update().values(registered_at=bundles.c.created_at, ranked_at=bundles.c.created_at))
    for name in ("registered_at", "ranked_at", "created_by"):
        _drop_default("bundles", name)
    op.drop_index("ix_bundles_namespace_name_created_at", "bundles")
    for columns in (
        ["namespace", "created_at", "id"],
        ["namespace", "name", "created_at", "id"],
        ["namespace", "name", "ranked_at", "id"],
    ):
        op.create_index(f"ix_bundles_{'_'.join(columns)}", "bundles", columns)
    return bundles


def _create_references() -> None:
    op.create_table(
        "refs",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("ref", sorted_text(128), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=True),
        sa.Column("bundle_digest", sa.String(71), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "ref", name="pk_refs"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_refs_bundle_id", ondelete="CASCADE"),
    )
    op.create_index("ix_refs_bundle_id", "refs", ["bundle_id"])
    op.create_table(
        "alias_changes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("alias", sorted_text(128), nullable=False),
        sa.Column("previous", sa.String(128), nullable=True),
        sa.Column("version", sa.String(128), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_changes"),
    )
    columns = ["namespace", "name", "alias", "id"]
    op.create_index(f"ix_alias_changes_{'_'.join(columns)}", "alias_changes", columns)


def _create_locks() -> None:
    op.create_table(
        "distributions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_distributions"),
        sa.UniqueConstraint("namespace", "name", name="uq_distributions_namespace_name"),
    )
    op.create_table(
        "packages",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("distribution_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(1024), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_packages"),
        sa.ForeignKeyConstraint(["distribution_id"], ["distributions.id"], name="fk_packages_distribution_id"),
        sa.UniqueConstraint("distribution_id", "version", name="uq_packages_distribution_id_version"),
    )
    op.create_table(
        "locks",
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("distribution_id", sa.Integer(), nullable=False),
        sa.Column("package_id", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bundle_id", "distribution_id", "package_id", name="pk_locks"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_locks_bundle_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["package_id"], ["packages.id"], name="fk_locks_package_id"),
        sqlite_with_rowid=False,
    )
    columns = ["distribution_id", "created_us", "bundle_id", "package_id"]
    op.create_index(f"ix_locks_{'_'.join(columns)}", "locks", columns)


def _create_memory() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )
    op.create_index("ix_operations_done_at", "operations", ["done_at"])
    op.create_table(
        "absent_bundles",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("bundle_digest", sa.String(71), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "version", name="pk_absent_bundles"),
    )
    op.create_table(
        "folders",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("state", sa.String(96), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", name="pk_folders"),
    )


def _fill(bundles: sa.TableClause) -> None:
    """Write references, times of labels and locks of the bundles that are there."""
    connection = op.get_bind()
    refs = sa.table(
        "refs",
        *(sa.column(name) for name in ("namespace", "name", "ref", "kind", "bundle_id", "bundle_digest")),
        sa.column("changed_at", sa.DateTime(timezone=True)),
    )
    labels = sa.table("labels", sa.column("bundle_id"), sa.column("created_us"))
    folders = sa.table("folders", *(sa.column(name) for name in ("namespace", "name", "state")))
    rows = connection.execute(sa.select(bundles).order_by(bundles.c.id)).all()
    for row in rows:
        connection.execute(
            refs.insert().values(
                namespace=row.namespace,
                name=row.name,
                ref=row.version,
                kind="version",
                bundle_id=row.id,
                bundle_digest=row.bundle_digest,
                changed_at=row.created_at,
            )
        )
        connection.execute(
            labels.update().where(labels.c.bundle_id == row.id).values(created_us=_microseconds(row.created_at))
        )
    services = sorted({(row.namespace, row.name) for row in rows})
    for namespace, name in services:
        connection.execute(folders.insert().values(namespace=namespace, name=name, state=""))
    _fill_locks(connection, {row.id: _microseconds(row.created_at) for row in rows})


def _fill_locks(connection: sa.Connection, created_us: dict[int, int]) -> None:
    old = sa.table(
        "locked_packages", *(sa.column(name) for name in ("namespace", "bundle_id", "distribution", "version"))
    )
    distributions = sa.table("distributions", sa.column("id"), sa.column("namespace"), sa.column("name"))
    packages = sa.table("packages", sa.column("id"), sa.column("distribution_id"), sa.column("version"))
    locks = sa.table(
        "locks", *(sa.column(name) for name in ("bundle_id", "package_id", "distribution_id", "created_us"))
    )
    pairs = sa.select(old.c.namespace, old.c.distribution).distinct()
    connection.execute(distributions.insert().from_select(["namespace", "name"], pairs))
    is_named = sa.and_(distributions.c.namespace == old.c.namespace, distributions.c.name == old.c.distribution)
    versions = sa.select(distributions.c.id, old.c.version).select_from(old.join(distributions, is_named)).distinct()
    connection.execute(packages.insert().from_select(["distribution_id", "version"], versions))
    is_version = sa.and_(packages.c.distribution_id == distributions.c.id, packages.c.version == old.c.version)
    whole = (
        sa.select(old.c.bundle_id, packages.c.id, distributions.c.id)
        .select_from(old.join(distributions, is_named).join(packages, is_version))
        .order_by(old.c.bundle_id)
    )
    for batch in _batches(connection.execute(whole).all()):
        connection.execute(
            locks.insert(),
            [
                {
                    "bundle_id": bundle_id,
                    "package_id": package_id,
                    "distribution_id": distribution_id,
                    "created_us": created_us[bundle_id],
                }
                for bundle_id, package_id, distribution_id in batch
            ],
        )


def _batches(rows: Any) -> Iterator[Any]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _microseconds(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _drop_default(table: str, column: str) -> None:
    """Drop what only filled the rows that were there; SQLite cannot, and Kappa always writes the column."""
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, column, server_default=None)
