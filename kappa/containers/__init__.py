"""Images of bundles: made, pushed and run by an engine, through its command or its API."""

__all__: list[str] = []
