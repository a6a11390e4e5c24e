"""What a kappafile names, held against the project: files, the environment, secrets, names."""

__all__: list[str] = []
