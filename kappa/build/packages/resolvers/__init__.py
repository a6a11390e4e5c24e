"""Resolvers, one per file; `kappa.plugins.RESOLVERS` names them and nothing here is imported until used."""

__all__: list[str] = []
