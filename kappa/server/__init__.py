"""The server: HTTP at its doors (`http`), the batches that answer (`batching`), and its processes (`process`)."""

__all__: list[str] = []
