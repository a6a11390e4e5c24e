"""Imported modules that are not installed: a table or the user names their distribution, or it is an error. Nothing is
guessed: the distribution `common` on the index need not be the one that brings `common`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kappa.build.code.modules import CodeBase
from kappa.build.code.nearby import find_nearby, say_notebook
from kappa.build.code.tracing import Trace, at_import
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.manifest.words import nearest
from kappa.build.packages.distributions import guessed_distribution
from kappa.build.packages.known_modules import KNOWN_MODULES, distribution_of, siblings_of
from kappa.build.packages.listed import Listed
from kappa.build.packages.lock_record import NO_RECORD, Asker, LockRecord
from kappa.wording import one_of, quoted

__all__ = ["AbsentModules", "Unknown", "direct_imports", "unknown_imports"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A module of unknown origin; whole sentences."""

    message: str
    help: str
    is_sure: bool = True
    """Whether it is wrong, and not only unseen."""


class AbsentModules:
    """Finds the distributions of modules that are not here."""

    def __init__(
        self, code: CodeBase, listed: Listed, traced: Trace | None = None, *, record: LockRecord = NO_RECORD
    ) -> None:
        self._code, self.listed, self.record = code, listed, record
        self._perhaps = listed.perhaps(traced.foreign if traced is not None else ())

    def find(self, module: str, names: Sequence[str] = (), *, asker: Asker = "import") -> str | Unknown:
        """Return the normalised name of the distribution that brings a module which the code or a model asks for.

        ``names`` are taken from it, and may be modules themselves.
        """
        if (recorded := self.record.module(asker, module, names)) is not None and recorded.distribution:
            return recorded.distribution
        for candidate in (*(f"{module}.{name}" for name in names), module):
            if (named := self.listed.bringing(candidate)) is not None:
                return named
        if (nearby := find_nearby(module, self._code.search.root)) is not None:
            return Unknown(self._message(module), nearby.help)
        if (distribution := distribution_of(module)) is not None:
            return next(iter(sorted(siblings_of(distribution) & self.listed.names)), distribution)
        if self._perhaps:
            named = one_of((f"`{name}`" for name in self._perhaps), joined_by="or")
            message = (
                f"{quoted(module)} is not installed here, and is taken for a part of {named}, which is not either."
            )
            return Unknown(message, "", is_sure=False)
        return Unknown(self._message(module), self._help(module), is_sure=not self.listed.is_open)

    def _message(self, module: str) -> str:
        search = self._code.search
        folders = [f"`{search.root}`", *(f"`{folder}`" for folder in search.local[1:3])]
        looked = f"{', '.join(folders)} and the packages of `{sys.prefix}`"
        return f"There is no module {quoted(module)}: looked in {looked}."

    def _help(self, module: str) -> str:
        top = module.partition(".")[0]
        root = self._code.search.root
        if notebook := say_notebook(module, root) or say_notebook(top, root):
            return notebook
        names = [*self._code.top_names(), *(name for name in KNOWN_MODULES if "." not in name)]
        if (near := nearest(top, names, cutoff=0.75)) is not None and near != top:
            return f"Did you mean `{near}`?"
        mine = f"If it is yours, put `{top}.py` beside the kappafile, or name its folder in `paths` under `[bundle]`."
        if (guessed := guessed_distribution(module)) is not None:
            return (
                f"{mine} If you mean the package `{guessed}` of PyPI, `pip install {guessed}` and write "
                f'`pip_packages = ["{guessed}"]` under `[env]`: see first that it is the one, because this is a guess.'
            )
        return (
            f"{mine} If it is a package's, find the package's name, which may be another (`sklearn` is of "
            "`scikit-learn`): `pip install THAT-NAME`, and in the kappafile, under `[env]`, write "
            '`pip_packages = ["THAT-NAME"]`.'
        )


def direct_imports(traced: Trace, code: CodeBase, listed: Listed) -> Iterator[Diagnostic]:
    """Yield the imports of distributions that were installed from a repository or a file, which no index has."""
    for foreign in traced.foreign.values():
        if not foreign.is_installed or (direct := code.direct(foreign.module)) is None:
            continue
        if direct.origin != "archive" and direct.name not in listed.names:
            message = f"{quoted(foreign.module)} cannot be packed or asked for. {direct.problem}"
            yield at_import("KF342", message, foreign.statement, foreign.file, help=direct.help)
    for path, module in traced.modules.items():
        file, by = module.file, traced.imported_at.get(path)
        if file is None or by is None or file.suffix == ".py" or file.is_relative_to(code.search.root):
            continue
        message = f"{quoted(module.name)} is a compiled module outside of the project (`{file}`)."
        help_ = "It fits this machine alone: publish its wheels to an index, and name it in `pip_packages`."
        yield at_import("KF342", message, by[0], by[1].file or file, help=help_)


def unknown_imports(traced: Trace, absent: AbsentModules) -> Iterator[Diagnostic]:
    """Yield the problems of imports of absent modules; one line for all that may be right."""
    is_said = False
    for foreign in traced.foreign.values():
        if foreign.is_installed or foreign.statement.is_optional:
            continue
        if isinstance(unknown := absent.find(foreign.module, foreign.names), str):
            continue
        problem = at_import("KF314", unknown.message, foreign.statement, foreign.file, help=unknown.help)
        if unknown.is_sure:
            yield problem
        elif unknown.help or not is_said:
            is_said = is_said or not unknown.help
            yield replace(problem, severity="warning")
