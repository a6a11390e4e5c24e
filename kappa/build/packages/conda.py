"""The conda packages of a service: from the keys of a kappafile and an environment file to `environment.yml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kappa.secret_urls import masked, secret_in
from kappa.spec.conda import environment_text
from kappa.spec.service import EnvSpec

__all__ = ["CondaEnvironment", "conda_environment", "uses_conda"]

_KEYS = frozenset({"name", "channels", "dependencies", "prefix", "platforms"})
_MATCH = re.compile(r"(?:[\w.-]+::)?(?P<name>[\w.-]+)\s*(?P<version>.*)")
"""One dependency (a match specification of conda's): a channel, a name, and whatever says which versions."""


@dataclass(slots=True)
class CondaEnvironment:
    """The text of `environment.yml`, empty for a service without conda packages; ``problems`` are whole sentences."""

    text: str = ""
    problems: list[str] = field(default_factory=list)


def uses_conda(env: EnvSpec) -> bool:
    """Return whether a service asks for anything of conda's."""
    return bool(env.conda_dependencies or env.conda_channels or env.conda_env_yml_file or env.conda_override_channels)


def conda_environment(service: str, env: EnvSpec, *, python: str, root: Path) -> CondaEnvironment:
    """Join the keys of a kappafile with the environment file that it names, which lies below ``root``."""
    made = CondaEnvironment()
    if not uses_conda(env):
        return made
    base = _read(env.conda_env_yml_file, root, made.problems) if env.conda_env_yml_file is not None else {}
    channels = [
        *(env.conda_channels or _texts(base.get("channels"))),
        *_defaults(env),
    ]
    if env.conda_override_channels and not env.conda_channels:
        made.problems.append("`conda_override_channels` needs `conda_channels`, which there are none of.")
    dependencies = [*env.conda_dependencies, *_texts(base.get("dependencies"))]
    made.problems += _clashes(dependencies, python)
    made.problems += [
        f"`{masked(text)}` has {part} in its URL, which a bundle would publish: name the channel without it, and log "
        "in where the image is built."
        for text in (*channels, *dependencies)
        if (part := secret_in(text))
    ]
    wanted = [text for text in dependencies if _name(text) not in ("python", "pip")]
    made.text = environment_text(service, python=python, channels=channels or ["defaults"], dependencies=wanted)
    return made


def _defaults(env: EnvSpec) -> Sequence[str]:
    """Return what stands after channels: conda's own are asked too, also for Python, unless they are switched off."""
    if env.conda_override_channels:
        return ["nodefaults"]
    return ["defaults"] if env.conda_channels and "defaults" not in env.conda_channels else []


def _read(name: str, root: Path, problems: list[str]) -> Mapping[str, Any]:
    from ruamel.yaml import YAML  # PERF: 30 ms, and few services need conda
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load((root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, YAMLError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else " ".join(str(exc).split())
        problems.append(f"`{name}` cannot be read: {reason}.")
        return {}
    if not isinstance(tree, Mapping):
        problems.append(f"`{name}` is not a conda environment: it has no `dependencies`.")
        return {}
    problems += [f"`{name}` has the key `{key}`, which Kappa does not know." for key in tree if key not in _KEYS]
    dependencies = tree.get("dependencies") or ()
    if any(isinstance(entry, Mapping) and "pip" in entry for entry in dependencies):
        problems.append(
            f"`{name}` names packages of pip, which would be installed without hashes: put them into `pip_packages`."
        )
    return tree


def _clashes(dependencies: Iterable[str], python: str) -> list[str]:
    """Report another Python than the service's, in any of conda's ways to write it."""
    return [
        f"`{text}` is not Python {python}, on which the service runs: set `python` in `[env]`, and leave it out here."
        for text in dependencies
        if _name(text) == "python" and (version := re.search(r"\d+\.\d+", text)) and version[0] != python
    ]


def _name(dependency: str) -> str:
    match = _MATCH.match(dependency.strip())
    return match["name"].lower() if match else ""


def _texts(value: object) -> Sequence[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
