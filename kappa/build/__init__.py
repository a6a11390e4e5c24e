"""From a kappafile to a bundle."""

__all__: list[str] = []
