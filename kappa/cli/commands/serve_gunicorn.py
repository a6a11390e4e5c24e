"""`kappa serve-gunicorn`: a bundle in production."""

from __future__ import annotations

from typing import Any

from kappa import actions
from kappa.cli.arguments import target_argument
from kappa.cli.command import kappa_command
from kappa.cli.serving import logging_as_asked, server_options, server_options_of

__all__ = ["command"]


@kappa_command(
    "serve-gunicorn",
    uses_store=True,
    examples=[
        "kappa serve-gunicorn IrisClassifier:latest --workers 2 --port 3000",
        "kappa serve-gunicorn ./dist/iris --workers auto --max-latency-ms 50",
    ],
)
@target_argument()
@server_options
def command(target: str | actions.Target, **options: Any) -> None:
    """Answer requests in production, with several workers.

    TARGET is a bundle: a path, or a tag like `IrisClassifier:latest`. Its files are verified before the workers start.
    """
    with logging_as_asked(**options):
        bundle = actions.find_bundle(target, asked_by="kappa serve-gunicorn")
        actions.serve_bundle(bundle, server_options_of(bundle.spec, **options))
