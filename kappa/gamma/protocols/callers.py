"""Who calls a registry: the role of their token says what they may do, its scope with which services.

A *scope* is a list of globs over ``namespace/name``, in which ``*`` stands for any characters, also none. What is
outside of it is not there for its caller, and may not be changed, whether it is there or not: neither answer says what
else there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal, get_args

from kappa.errors import AccessDeniedError

__all__ = ["ANYBODY", "EVERY_NAME", "ROLES", "AccessToken", "Caller", "Role", "Scope"]

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""

EVERY_NAME = ("*",)
_EVERYTHING = "*/*"
_PATTERN = re.compile(r"[a-z0-9*-]{1,63}/[A-Za-z0-9_*]{1,128}")
_MOST_PATTERNS = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """Services by globs over ``namespace/name``."""

    patterns: tuple[str, ...] = (_EVERYTHING,)

    @classmethod
    def checked(cls, patterns: tuple[str, ...]) -> Scope:
        """Return the scope of these globs; raises a `ValueError` that says which cannot be one."""
        if not 1 <= len(patterns) <= _MOST_PATTERNS:
            raise ValueError(f"a scope has 1 to {_MOST_PATTERNS} patterns, and not {len(patterns)}")
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(
                    f"`{pattern}` is not a pattern of a scope: write `NAMESPACE/NAME`, in which `*` stands for any "
                    "characters, as `team-a/*`, `*/Iris` or `default/Iris*`"
                )
        return cls(tuple(dict.fromkeys(patterns)))

    def __str__(self) -> str:
        return ", ".join(self.patterns)

    @property
    def is_unrestricted(self) -> bool:
        """Whether every service is in it."""
        return _EVERYTHING in self.patterns

    @property
    def globs(self) -> Iterator[tuple[str, str]]:
        """The globs of a namespace and a name, of each pattern."""
        for pattern in self.patterns:
            namespace, _, name = pattern.partition("/")
            yield namespace, name

    def includes(self, namespace: str, name: str) -> bool:
        """Return whether a service is in it."""
        return any(fnmatchcase(name, glob) for glob in self.names_in(namespace))

    def names_in(self, namespace: str) -> tuple[str, ...]:
        """Return the globs of the names that it has in a namespace: none, some, or `EVERY_NAME`."""
        globs = tuple(name for of_namespaces, name in self.globs if fnmatchcase(namespace, of_namespaces))
        return EVERY_NAME if "*" in globs else globs


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as their token says it; without a token, as in this process, anybody who may do everything."""

    token_id: str = ""
    name: str = ""
    """The token's, which the history of aliases shows."""
    role: Role = "admin"
    scope: Scope = Scope()

    @property
    def mark(self) -> tuple[str, ...]:
        """What keeps the answers of this caller's writes from others who repeat them."""
        return (self.token_id,) if self.token_id else ()

    def check_role(self, needed: Role) -> None:
        """Raise `AccessDeniedError` for a caller whose role is a lower one."""
        if ROLES.index(self.role) < ROLES.index(needed):
            raise AccessDeniedError(
                f"The token `{self.name}` has the role `{self.role}`, and this needs `{needed}`. Ask who runs the "
                "Gamma server for a token with that role."
            )

    def check_scope(self, namespace: str, name: str) -> None:
        """Raise `AccessDeniedError` for a service that the caller may not change."""
        if not self.scope.includes(namespace, name):
            raise AccessDeniedError(
                f"The token `{self.name}` may not change `{namespace}/{name}`: it is for `{self.scope}`. Ask who runs "
                "the Gamma server for a token with another scope."
            )

    def check_unrestricted(self) -> None:
        """Raise `AccessDeniedError` for a caller who may not use every service."""
        if not self.scope.is_unrestricted:
            raise AccessDeniedError(
                f"The token `{self.name}` is for `{self.scope}` alone, and this concerns every service. Ask who runs "
                f"the Gamma server for a token with the scope `{_EVERYTHING}`."
            )


ANYBODY = Caller()


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as its operator sees it: without its secret, of which nobody has more than a hash."""

    id: str
    name: str
    role: Role
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    """When it ceases to be valid; ``None`` for never."""
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To within some minutes."""

    @property
    def caller(self) -> Caller:
        return Caller(self.id, self.name, self.role, self.scope)
