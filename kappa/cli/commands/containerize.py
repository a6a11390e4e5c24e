"""`kappa containerize`: from a bundle to an image."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from kappa import actions
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import EXAMPLE_TAG, kappa_command
from kappa.cli.console import print_note, print_result
from kappa.images import BUILDERS, BuilderName, parse_build_argument, parse_secret

__all__ = ["command"]


@kappa_command(
    "containerize",
    uses_store=True,
    is_live=True,
    examples=[
        f"kappa containerize {EXAMPLE_TAG}",
        f"kappa containerize {EXAMPLE_TAG} --test --tag registry.example.org/team/iris:1.0 --push",
        f"kappa containerize {EXAMPLE_TAG} --secret id=netrc,src=~/.netrc",
        f"kappa containerize {EXAMPLE_TAG} --build-arg UID=1000 --platform linux/arm64",
    ],
)
@target_argument()
@click.option("-t", "--tag", "tags", metavar="NAME[:TAG]", multiple=True, help="Name the image; repeatable.")
@click.option("--push", is_flag=True, help="Push it to the registry that each name begins with.")
@click.option(
    "--build-arg",
    "arguments",
    metavar="KEY[=VALUE]",
    multiple=True,
    help="Set an argument of the Dockerfile; repeatable.",
)
@click.option(
    "--secret",
    "secrets",
    metavar="id=NAME,src=FILE|env=VARIABLE",
    multiple=True,
    help="Give the build, and not the image, a secret; repeatable.",
)
@click.option("--platform", "platforms", metavar="OS/ARCH", multiple=True, help="Build for this platform; repeatable.")
@click.option(
    "--builder", type=click.Choice(BUILDERS), default="auto", show_default=True, help="The program that builds it."
)
@click.option("--no-cache", is_flag=True, help="Use no layer of an earlier build.")
@click.option("--pull", is_flag=True, help="Ask the registry for a newer base image.")
@click.option("--test", is_flag=True, help="Run it and replay the examples, before anything is pushed.")
@click.option("--allow-unlocked", is_flag=True, help="Accept a bundle whose packages have no hashes.")
@format_option("text", "json")
def command(
    target: str,
    tags: Sequence[str],
    arguments: Sequence[str],
    secrets: Sequence[str],
    platforms: Sequence[str],
    builder: BuilderName,
    *,
    push: bool,
    no_cache: bool,
    pull: bool,
    allow_unlocked: bool,
    test: bool,
    output_format: str,
) -> None:
    """Make an image of a bundle, and push it.

    TARGET is the tag of a bundle in the store, or its directory. Without `--tag`, the image has the name of the service
    in small letters and the bundle's version. Docker builds it, with BuildKit where that answers, or podman. The last
    line on stdout is the image's name.
    """
    signal.signal(signal.SIGTERM, _stop)
    done = actions.containerize(
        target,
        tags=tags,
        push=push,
        build_arguments=dict(map(parse_build_argument, arguments)),
        secrets=[parse_secret(text, environ=os.environ) for text in secrets],
        platforms=[name for text in platforms for name in text.split(",")],
        builder=builder,
        no_cache=no_cache,
        pull=pull,
        allow_unlocked=allow_unlocked,
        test=test,
    )
    if output_format == "json":
        print_result(json.dumps(done.to_tree(), indent=2))
        return
    _say(done)
    print_result("\n".join(done.tags))


def _say(done: actions.Containerized) -> None:
    size = f", {done.image.size_bytes / 1e6:.0f} MB" if done.image.size_bytes else ""
    print_note(f"Built an image of `{done.manifest.tag}` with {done.builder}{size}.")
    for tag, digest in done.pushed.items():
        print_note(f"Pushed `{tag}` as `{digest}`.")


def _stop(number: int, _: FrameType | None) -> None:
    """Unwind, so that the builder is stopped; the exit code is that of a process killed by the signal."""
    sys.exit(128 + number)
