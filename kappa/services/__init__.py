"""A service in this process: from any source, a class, a project, a bundle, to answers."""

__all__: list[str] = []
