"""The command `kappa`."""

from __future__ import annotations

import click

from kappa._version import __version__
from kappa.cli.command import LazyGroup

__all__ = ["SECTIONS", "cli", "main"]

SECTIONS = {
    "Declare and build": {
        "init": "Write the first kappafile of a model.",
        "inspect": "Tell what a model file says of itself, without loading it.",
        "validate": "Report every problem of kappafiles.",
        "explain": "Explain a key of a kappafile, or the code of a problem.",
        "schema": "Print the JSON Schema that editors check a kappafile with.",
        "lock": "Pin every package of a service, with its hashes.",
        "build": "Build a bundle: locked, self-contained, ready to serve.",
    },
    "Run and serve": {
        "serve": "Answer requests over HTTP, with a bundle or a project.",
        "serve-gunicorn": "Answer requests in production, with several workers.",
        "reload": "Load a new version into a running server.",
        "run": "Answer inputs from the command line or from files.",
        "test": "Replay the examples and compare the answers.",
        "tune": "Measure an API, simulate it under load, and recommend its settings.",
    },
    "Bundles": {
        "list": "List the bundles in the store.",
        "get": "Show one bundle, or the versions of a service.",
        "info": "Print the manifest of a bundle.",
        "label": "Set and remove labels of a bundle.",
        "alias": "Let an alias name a version, and show aliases.",
        "rollback": "Let an alias name the version again that it named before.",
        "diff": "Show what changed between two bundles.",
        "retrieve": "Retrieves BentoService artifacts into a target directory",
        "export": "Write a bundle as one file.",
        "import": "Take a bundle from one file into the store.",
        "verify": "Compare every file of bundles with the digests in their manifests.",
        "delete": "Remove bundles from the store.",
        "prune": "Delete old versions of a service, or of every service.",
        "builds": "Show what was built on this machine, and how.",
        "open-api-spec": "Print the OpenAPI document of a service.",
    },
    "Images": {
        "containerize": "Make an image of a bundle, and push it.",
        "generate": "Write a Compose file or a workflow for a service.",
    },
    "Team": {
        "push": "Send bundles of this machine to the Gamma server.",
        "pull": "Bring bundles of the Gamma server into the store of this machine.",
        "copy": "Copy a bundle into another namespace, or from one registry to another.",
        "gc": "Remove what no bundle needs.",
        "gamma-service-start": "Start Kappa GammaService for model management and deployment",
        "gamma-token": "Make, list and revoke the tokens of a Gamma server.",
    },
    "Shell": {
        "config": "Show and change the settings of this machine.",
        "completion": "Print the script that completes commands in a shell.",
    },
}
"""Every command with its line of help, by section; `kappa.cli.commands` holds a module of the same name for each."""

cli = LazyGroup(
    "kappa",
    sections=SECTIONS,
    help="Turn a trained model into a prediction service: declare it, build it, serve it.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
cli = click.version_option(__version__, "-v", "-V", "--version", prog_name="kappa")(cli)


def main() -> None:
    """Run the command that the arguments of this process name."""
    cli.main(prog_name="kappa")
