"""The kappafile as a document: its syntax, where each value stands, its problems and their words."""

__all__: list[str] = []
