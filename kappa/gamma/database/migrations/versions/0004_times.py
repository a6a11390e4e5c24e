"""The time of build of a bundle as the number that its labels and locks have, so that all are read in one order."""

from __future__ import annotations

from datetime import datetime, timezone

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0004"
down_revision = "0003"

_INDEXES = {"ix_bundles_namespace_": ["namespace"], "ix_bundles_namespace_name_": ["namespace", "name"]}


def upgrade() -> None:
    op.add_column("bundles", sa.Column("created_us", sa.BigInteger(), nullable=False, server_default="0"))
    _fill()
    if op.get_bind().dialect.name != "sqlite":  # which cannot drop it; Kappa always writes the column
        op.alter_column("bundles", "created_us", server_default=None)
    for beginning, columns in _INDEXES.items():
        op.drop_index(f"{beginning}created_at_id", "bundles")
        op.create_index(f"{beginning}created_us_id", "bundles", [*columns, "created_us", "id"])


def _fill() -> None:
    bundles = sa.table(
        "bundles",
        sa.column("id", sa.Integer),
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("created_us", sa.BigInteger),
    )
    connection = op.get_bind()
    rows = connection.execute(sa.select(bundles.c.id, bundles.c.created_at)).all()
    if rows:
        connection.execute(
            bundles.update().where(bundles.c.id == sa.bindparam("row_id")).values(created_us=sa.bindparam("us")),
            [{"row_id": row.id, "us": _microseconds(row.created_at)} for row in rows],
        )


def _microseconds(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
