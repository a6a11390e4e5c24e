"""The processes of a server: who starts, watches, exchanges and ends them."""

__all__: list[str] = []
