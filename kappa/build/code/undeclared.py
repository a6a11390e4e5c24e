"""Imports of distributions that are installed here and not required: the bundle would lack them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from packaging.utils import canonicalize_name

from kappa.build.code.modules import CodeBase
from kappa.build.code.tracing import Trace, at_import
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.known_modules import distribution_of
from kappa.build.packages.requirements import OWN_NAMES
from kappa.wording import quoted

__all__ = ["HowToAdd", "say_undeclared", "undeclared_imports"]


class HowToAdd(NamedTuple):
    """Where the packages of a service are named."""

    file: str
    where: str = ""
    """A table or a decorator in it; empty for a file of requirements."""

    def __call__(self, name: str) -> str:
        """Return the advice for a distribution, as a sentence."""
        if not self.where:
            return f"Write a line `{name}` into `{self.file}`."
        equals, true = (" = ", "true") if self.where == "[env]" else ("=", "True")
        preposition = "under" if self.where == "[env]" else "in"
        return (
            f'In `{self.file}`, {preposition} `{self.where}`, write `pip_packages{equals}["{name}"]`, or '
            f"`infer_pip_packages{equals}{true}` for all that the code imports."
        )


def say_undeclared(imported: Mapping[str, str], present: Collection[str]) -> Iterator[str]:
    """Say which distributions code imports, by the place where it does, that are not among those ``present``."""
    for name, origin in imported.items():
        if canonicalize_name(name) not in {*present, *OWN_NAMES}:
            yield (
                f"`{origin}` imports what `{name}` brings, which is not among the packages of the bundle: write "
                f'`pip_packages = ["{name}"]` or `infer_pip_packages = true` under `[env]` (`@kappa.env` of a class).'
            )


def undeclared_imports(
    traced: Trace, code: CodeBase, present: Collection[str], how_to_add: HowToAdd
) -> Iterator[Diagnostic]:
    """Yield a warning at each first import of a distribution that is not among those ``present``, normalised names."""
    index, reported = DistributionIndex(), {*present, *OWN_NAMES}
    for foreign in traced.foreign.values():
        top = foreign.module.partition(".")[0]
        quick = {canonicalize_name(top), distribution_of(foreign.module)}  # PERF: the index takes 0.2 s to read
        if not foreign.is_installed or foreign.statement.is_optional or quick & reported or code.direct(foreign.module):
            continue
        names = index.candidates(foreign.module, foreign.names)
        if not names or any(canonicalize_name(name) in reported for name in names):
            continue
        reported.add(canonicalize_name(names[0]))
        brought = f", which brings {quoted(top)}," if names[0] != top else ""
        message = (
            f"`{names[0]}`{brought} is not among the packages of the bundle: its service would fail at this import."
        )
        problem = at_import("KF343", message, foreign.statement, foreign.file, help=how_to_add(names[0]))
        yield replace(problem, severity="warning")
