"""Runs migrations on the connection that `kappa.gamma.database.engine` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from kappa.gamma.database.tables import metadata

__all__: list[str] = []

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
