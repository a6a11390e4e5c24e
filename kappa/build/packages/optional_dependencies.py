"""Extras (PEP 621) and dependency groups (PEP 735) of a `pyproject.toml`: what those that are named ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kappa.build.manifest.words import nearest

__all__ = ["OptionalDependencies"]

_KINDS = {"extra": "`[project.optional-dependencies]`", "group": "`[dependency-groups]`"}


class OptionalDependencies:
    """The extras and groups of one `pyproject.toml`; ``problems`` are sentences about those that were asked for."""

    def __init__(self, tree: Mapping[str, Any], *, shown: str) -> None:
        self._shown = shown
        self._name = canonicalize_name(str(_table(_table(tree, "project"), "name", str) or ""))
        self._tables = {
            "extra": _table(_table(tree, "project"), "optional-dependencies"),
            "group": _table(tree, "dependency-groups"),
        }
        self.problems: list[str] = []

    def of_extra(self, name: str) -> list[str]:
        """Return the requirements of an extra, with those of the extras of the same project that it names."""
        return list(dict.fromkeys(self._of("extra", name, set())))

    def of_group(self, name: str) -> list[str]:
        """Return the requirements of a group, with those of the groups that it includes."""
        return list(dict.fromkeys(self._of("group", name, set())))

    def written(self, kind: str, name: str) -> list[str]:
        """Return the requirements of an extra or a group as they are written, those of included groups among them."""
        return list(dict.fromkeys(self._of(kind, name, set(), is_expanded=False)))

    def expanded(self, requirements: Iterable[str], seen: set[tuple[str, str]] | None = None) -> Iterator[str]:
        """Yield requirements, with the project's own extras in place of those that name the project itself."""
        for text in requirements:
            try:
                parsed = Requirement(text)
            except InvalidRequirement:
                yield text  # reported with the others
                continue
            if self._name and canonicalize_name(parsed.name) == self._name:
                for extra in sorted(parsed.extras):
                    yield from self._of("extra", extra, set() if seen is None else seen)
            else:
                yield text

    def _of(self, kind: str, name: str, seen: set[tuple[str, str]], *, is_expanded: bool = True) -> Iterator[str]:
        key = (kind, canonicalize_name(name))
        if key in seen:
            return  # a circle, or included twice
        seen.add(key)
        for item in self._items(kind, name):
            if isinstance(item, str):
                yield from self.expanded([item], seen) if is_expanded else [item]
            elif kind == "group" and isinstance(item, Mapping) and isinstance(item.get("include-group"), str):
                yield from self._of("group", item["include-group"], seen, is_expanded=is_expanded)
            else:
                self.problems.append(f"The {kind} `{name}` of `{self._shown}` holds `{item}`, not a requirement.")

    def _items(self, kind: str, name: str) -> Sequence[Any]:
        table = self._tables[kind]
        matches = [key for key in table if canonicalize_name(key) == canonicalize_name(name)]
        if not matches:
            near = nearest(name, [*table])
            alternatives = f"it has {', '.join(f'`{key}`' for key in table)}" if table else "it has none"
            rest = f"did you mean `{near}`" if near else alternatives
            self.problems.append(f"There is no {kind} `{name}` in {_KINDS[kind]} of `{self._shown}`: {rest}.")
        if len(matches) > 1:
            self.problems.append(f"`{self._shown}` has the {kind} `{name}` twice: {', '.join(map(repr, matches))}.")
        items = table[matches[0]] if len(matches) == 1 else []
        if not isinstance(items, list):
            self.problems.append(f"The {kind} `{name}` of `{self._shown}` is not a list.")
            return []
        return items


def _table(tree: Mapping[str, Any], key: str, kind: Any = Mapping) -> Any:
    value = tree.get(key)
    return value if isinstance(value, kind) else kind() if kind is str else {}
