"""Which distribution brings a module: asked of what is installed, then of pipreqs' table, never of the network."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

__all__ = ["DistributionIndex"]


class DistributionIndex:
    """The installed distributions, read when first asked for."""

    def brings(self, module: str, names: Collection[str] = ()) -> str | None:
        """Return the distribution that brings ``module``, of which ``names`` are used; ``None`` if nothing is known.

        A namespace such as `google` has several: the one that has the deepest of the modules in question is meant.
        """
        top = module.partition(".")[0]
        candidates = sorted(set(self._by_top_name.get(top, ())))
        if len(candidates) == 1:
            return candidates[0]
        wanted = [*(f"{module}.{name}" for name in names), module]
        found = self._by_files(wanted, candidates)
        return found or (candidates[0] if candidates else None) or self._mapped.get(top)

    def _by_files(self, wanted: Collection[str], candidates: Collection[str]) -> str | None:
        """Search the lists of installed files for the longest beginning of one of the dotted names."""
        for depth in range(max(name.count(".") for name in wanted) + 1, 0, -1):
            for name in wanted:
                parts = name.split(".")
                if len(parts) < depth:
                    continue
                path = re.escape("/".join(parts[:depth]))
                pattern = re.compile(rf"^{path}(/__init__)?\.[\w.-]*(py|so|pyd)\b", re.MULTILINE)
                for distribution, record in self._records:
                    if (not candidates or distribution in candidates) and pattern.search(record):
                        return distribution
        return None

    @cached_property
    def _by_top_name(self) -> dict[str, list[str]]:
        return dict(packages_distributions())

    @cached_property
    def _records(self) -> list[tuple[str, str]]:
        return sorted(_records())

    @cached_property
    def _mapped(self) -> dict[str, str]:
        """Read pipreqs' table of modules whose distribution has another name; lines ``module:distribution``."""
        spec = PathFinder.find_spec("pipreqs")
        if spec is None or spec.origin is None:
            return {}
        try:
            text = Path(spec.origin).with_name("mapping").read_text(encoding="utf-8")
        except OSError:
            return {}
        pairs = (line.strip().partition(":") for line in text.splitlines() if ":" in line)
        return {module: distribution for module, _, distribution in pairs}


def _records() -> Iterator[tuple[str, str]]:
    for distribution in distributions():
        name = _name(distribution)
        if name is not None:
            yield name, distribution.read_text("RECORD") or ""


def _name(distribution: Distribution) -> str | None:
    name = distribution.metadata["Name"] if distribution.metadata is not None else None
    return str(name) if name else None
