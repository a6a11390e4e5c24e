"""The code of a service, read without running it: modules, imports, functions, classes."""

__all__: list[str] = []
