"""One file per command; each holds a click command called `command`, imported only when it is called."""

__all__: list[str] = []
