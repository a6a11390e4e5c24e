"""A bundle's own command: `IrisClassifier run predict …` is `kappa run <that bundle> predict …`.

The package of every bundle calls it: ``kappa.cli.bundle.command(Path(__file__).parent)()``.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from pathlib import Path

import click

from kappa import actions
from kappa.cli.command import EXAMPLE_TAG, KappaCommand, LazyGroup, load_command
from kappa.cli.main import SECTIONS

__all__ = ["command"]

_COMMANDS = ("run", "serve", "serve-gunicorn", "test", "info", "open-api-spec", "completion")
_OWN_LINES = {"serve": "Answer requests over HTTP.", "info": "Print the manifest."}


def command(package_directory: str | Path) -> LazyGroup:
    """Return the click group of the bundle whose package lies at ``package_directory``; call it to run it.

    Each command is that of `kappa`, its first argument bound to the bundle.
    """
    target = actions.BundleTarget(Path(package_directory), str(package_directory))
    manifest = target.bundle.manifest
    helps = {name: text for commands in SECTIONS.values() for name, text in commands.items()}
    group = LazyGroup(
        manifest.name,
        sections={"Commands": {name: _OWN_LINES.get(name, helps[name]) for name in _COMMANDS}},
        load=lambda name: _bound(load_command(name), target, program=manifest.name),
        help=manifest.service.doc or f"Run and serve {manifest.name}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    return click.version_option(manifest.version, "-v", "-V", "--version", message="%(version)s")(group)


def _bound(original: click.Command, target: actions.BundleTarget, *, program: str) -> click.Command:
    """Return ``original`` without its argument `TARGET`, which is ``target`` from now on."""
    names = {parameter.name for parameter in original.params}
    if "target" not in names or original.callback is None:
        return original
    fixed = {name: value for name, value in {"target": target, "examples_from": None}.items() if name in names}
    bound = copy(original)
    bound.params = [parameter for parameter in original.params if parameter.name not in {*fixed, "local", "namespace"}]
    bound.callback = partial(original.callback, **fixed)
    paragraphs = (original.help or "").split("\n\n")
    bound.help = "\n\n".join(paragraph for paragraph in paragraphs if "TARGET" not in paragraph)
    if isinstance(bound, KappaCommand):
        bound.fixed = fixed
        named = f"kappa {original.name} {EXAMPLE_TAG}"
        bound.examples = tuple(
            example.replace(named, f"{program} {original.name}") for example in bound.examples if named in example
        )
    return bound
