"""Where an installed distribution came from: its ``direct_url.json`` (PEP 610) says so, unless it is of an index.

What was installed from a folder is the user's own. A repository or a file may exist on this machine alone; an index may
have another project of that name and version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from importlib.metadata import distribution as distribution_called
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from kappa.build.packages.requirements import OWN_NAMES, check_requirement
from kappa.wording import quoted

__all__ = ["DirectDistribution", "direct_distributions", "direct_origin", "direct_origin_of", "local_path"]

Origin = Literal["folder", "repository", "file", "archive"]

_CARRIED = ".dist-info"


@dataclass(frozen=True)
class DirectDistribution:
    """A distribution that was installed from somewhere else than an index."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    origin: Origin
    url: str
    is_editable: bool
    distribution: Distribution

    @property
    def folder(self) -> Path:
        """The folder it was installed from."""
        return local_path(self.url)

    @cached_property
    def files(self) -> Sequence[Path]:
        """What it installed, but for what installers keep of it and for what lies elsewhere, such as commands."""
        listed = [Path(str(path)) for path in self.distribution.files or ()]
        inside = [path for path in listed if ".." not in path.parts and not path.is_absolute()]
        return [
            Path(str(self.distribution.locate_file(path))).resolve()
            for path in inside
            if not path.parts[0].endswith(_CARRIED) and "__pycache__" not in path.parts and path.suffix != ".pth"
        ]

    @cached_property
    def is_pure(self) -> bool:
        return not any(path.name.endswith(tuple(EXTENSION_SUFFIXES)) for path in self.files)

    @property
    def is_packed(self) -> bool:
        """Whether its code is the user's own, and goes into a bundle."""
        return self.origin == "folder" and self.is_pure

    @property
    def requirement(self) -> str:
        """The requirement for it: for an archive its URL."""
        return f"{self.name} @ {self.url}" if self.origin == "archive" else self.name

    @property
    def problem(self) -> str:
        """Why a bundle cannot have it; a whole sentence."""
        words = {"folder": "the folder", "repository": "the repository", "file": "the file", "archive": "the archive"}
        came = f"`{self.name}` {self.version} was installed from {words[self.origin]} {quoted(self.url)}"
        if self.origin == "folder":
            return f"{came} and has compiled modules, which fit this machine alone."
        return f"{came}, and an index has nothing of that name, or a stranger's."

    @property
    def help(self) -> str:
        """What to do, in whole sentences."""
        if self.origin == "folder":
            return f"Publish its wheels to an index, and name it in `pip_packages`: `{self.name}=={self.version}`."
        archive = f'`pip_packages = ["{self.name} @ https://…"]` names an archive of it'
        return f"Install it from its folder (`pip install -e PATH`), whose code is then packed; or {archive}."


def direct_distributions(installed: Sequence[Path]) -> Iterator[DirectDistribution]:
    """Yield what is installed in some folders and did not come from an index; Kappa itself is left out.

    A folder that is gone was one of a build machine, as conda's are: such a distribution is taken for one of an index.
    """
    for distribution in distributions(path=[str(folder) for folder in installed]):
        if (origin := direct_origin(distribution)) is not None and origin.name not in OWN_NAMES:
            yield origin


def direct_origin(distribution: Distribution) -> DirectDistribution | None:
    """Return where a distribution came from, if not from an index."""
    text = distribution.read_text("direct_url.json")
    if text is None or (distribution.read_text("INSTALLER") or "").strip() == "conda":
        return None
    try:
        direct = json.loads(text)
        url, name = str(direct["url"]), canonicalize_name(distribution.metadata["Name"])
        origin = _origin(direct, name, url)
        is_editable = direct.get("dir_info", {}).get("editable") is True
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if origin is None or (origin == "folder" and not local_path(url).is_dir()):
        return None
    return DirectDistribution(name, distribution.version, origin, url, is_editable, distribution)


def direct_origin_of(name: str) -> DirectDistribution | None:
    """Return where the installed distribution of a name came from, if not from an index."""
    try:
        return direct_origin(distribution_called(name))
    except PackageNotFoundError:
        return None


def _origin(direct: Mapping[str, object], name: str, url: str) -> Origin | None:
    if "vcs_info" in direct:
        return "repository"
    if "archive_info" in direct:
        return "archive" if check_requirement(f"{name} @ {url}") is None else "file"
    return "folder" if "dir_info" in direct else None


def local_path(url: str) -> Path:
    """Return the path of a ``file:`` URL (`urllib.request` could, but brings a whole HTTP client)."""
    path = unquote(urlsplit(url).path)
    return Path(path[1:] if len(path) > 2 and path[2] == ":" else path)  # /C:/… on Windows
