"""From a checked project to a bundle on disk: planned, written, tried."""

__all__: list[str] = []
