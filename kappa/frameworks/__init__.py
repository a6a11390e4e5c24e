"""Artifact types, one file per framework: how each kind of model is kept on disk."""

__all__: list[str] = []
