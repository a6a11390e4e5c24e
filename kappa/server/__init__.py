"""The HTTP server: the application (`app`), the processes that run it (`launch`, `worker`, `dev`), and batching."""

__all__: list[str] = []
