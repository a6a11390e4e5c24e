"""HTTP at the doors of the server: connections, requests, answers, pages."""

__all__: list[str] = []
