"""What the package of every bundle calls: this name is written into bundles, so it stays."""

from kappa.services.bundle import load

__all__ = ["load"]
