"""Which distribution brings an installed module: read from the installed metadata, never from the network."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from kappa.build.packages.installed import InstalledState, installed_state, metadata_field

__all__ = ["DistributionIndex", "guessed_distribution", "top_modules"]


class DistributionIndex:
    """The installed distributions, read when first asked for."""

    def brings(self, module: str, names: Collection[str] = (), *, preferred: Collection[str] = ()) -> str | None:
        """Return the distribution that installed ``module``, of which ``names`` are used; ``None`` if none did.

        Where several have installed the same file, one of ``preferred``, by normalised names, is meant. A namespace
        such as `google` is of several: the one that has the deepest of the modules in question is meant.
        """
        candidates = self.candidates(module, names)
        return next(
            (candidate for candidate in candidates if canonicalize_name(candidate) in preferred),
            next(iter(candidates), None),
        )

    def candidates(self, module: str, names: Collection[str] = ()) -> list[str]:
        """Return every distribution that has installed a module, sorted."""
        installed = sorted(set(self._by_top_name.get(module.partition(".")[0], ())))
        if len(installed) <= 1 and "." not in module:
            return installed
        records = {name: self._record(name) for name in installed}
        for wanted in [*(f"{module}.{name}" for name in names), module]:
            parts = wanted.split(".")
            for depth in range(len(parts), 0, -1):
                pattern = _file_of(parts[:depth])
                if matches := [name for name, record in records.items() if pattern.search(record)]:
                    return matches
        return [name for name, record in records.items() if not record]  # its installer kept no list of files

    @cached_property
    def _by_top_name(self) -> Mapping[str, list[str]]:
        return top_modules()

    def _record(self, name: str) -> str:
        """Return the list of files that a distribution has installed."""
        if name not in self._records:
            self._records[name] = distribution(name).read_text("RECORD") or ""
        return self._records[name]

    @cached_property
    def _records(self) -> dict[str, str]:
        return {}


def _file_of(parts: Sequence[str]) -> re.Pattern[str]:
    path = re.escape("/".join(parts))
    return re.compile(rf"^{path}(/__init__)?\.[\w.-]*(py|so|pyd)\b", re.MULTILINE)


def top_modules() -> Mapping[str, list[str]]:
    """Return the distributions that are installed here by the modules that they bring."""
    return _names_by_module(installed_state())


@lru_cache(maxsize=4)
def _names_by_module(state: InstalledState) -> Mapping[str, list[str]]:  # noqa: ARG001 - what the answer depends on
    """PERF: `importlib.metadata.packages_distributions` takes 0.25 s for 160 distributions, because it makes a path of
    each file that they have installed."""
    names: dict[str, list[str]] = {}
    for each in distributions():
        name = metadata_field(each, "Name")
        for module in _modules_of(each):
            names.setdefault(module, []).append(name)
    return names


def _modules_of(distribution: Distribution) -> Collection[str]:
    """Return the names of the modules and packages that a distribution says it has, else of those it has installed."""
    if declared := distribution.read_text("top_level.txt"):
        return declared.split()
    record = distribution.read_text("RECORD")
    lines = record.splitlines() if record is not None else [f"{file}," for file in distribution.files or ()]
    return {line[: line.index(".py,")].partition("/")[0] for line in lines if ".py," in line}


def guessed_distribution(module: str) -> str | None:
    """Return what pipreqs' table has for a module: a guess, good enough for a suggestion and for nothing else."""
    return _guesses().get(module.partition(".")[0])


@cache
def _guesses() -> dict[str, str]:
    """Read pipreqs' table; lines ``module:distribution``."""
    spec = PathFinder.find_spec("pipreqs")
    if spec is None or spec.origin is None:
        return {}
    try:
        text = Path(spec.origin).with_name("mapping").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.strip().partition(":") for line in text.splitlines() if ":" in line)
    return {module: canonicalize_name(distribution) for module, _, distribution in pairs}
