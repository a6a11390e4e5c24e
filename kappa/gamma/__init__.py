"""The model registry: where bundles are kept, and how a team shares them."""

__all__: list[str] = []
