"""The pages of a registry for people: HTML made on the server, which works without a script."""

__all__: list[str] = []
