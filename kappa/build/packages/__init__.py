"""Packages: what a project asks for, what is installed here, and the lock that pins all of it."""

__all__: list[str] = []
