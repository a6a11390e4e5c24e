"""Measure a service under load, simulate it under other loads with the server's own policy, and recommend settings."""

__all__: list[str] = []
