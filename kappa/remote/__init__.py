"""Clients of a running service, and how they write requests and read answers."""

__all__: list[str] = []
