"""The clock of a database, which all that share it go by."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import Connection, text

__all__ = ["aware", "database_time", "microseconds"]


def database_time(connection: Connection) -> datetime:
    """Return what time it is by the database's clock, in UTC, to the millisecond at least."""
    if connection.dialect.name == "sqlite":
        stamp: str = connection.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
        return datetime.fromisoformat(f"{stamp}+00:00")
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment.astimezone(timezone.utc)


def aware(moment: datetime) -> datetime:
    """Return a time in UTC that was read from a database; SQLite keeps no time zone."""
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def microseconds(moment: datetime) -> int:
    """Return a time as microseconds since 1970, exactly."""
    since = aware(moment) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
