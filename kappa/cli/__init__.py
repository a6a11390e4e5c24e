"""The command line: reads arguments, calls `kappa.actions`, shows results. Nothing is decided here."""

__all__: list[str] = []
