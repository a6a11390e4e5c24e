"""Files that Kappa writes from templates: those of a bundle, and those that run or check a service elsewhere."""

__all__: list[str] = []
