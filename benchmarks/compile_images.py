"""Images of bundles: how large each is above its base image, and how soon its container answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import Request, urlopen

from images import base_image, docker, size_of

__all__ = ["Image", "base_of", "engine_answers", "measure", "table"]

_START_S = 120.0
_PORT = 5000
"""The port of a bundle's server in its container."""


@dataclass(frozen=True)
class Image:
    above_base_mb: float
    start_s: float
    """From `docker run` to the first answer."""


def engine_answers() -> bool:
    """Return whether there is a Docker engine."""
    with suppress(FileNotFoundError):
        return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    return False


def base_of(folder: Path) -> str:
    """Return the name of the base image, which is made where no registry has it."""
    folder.mkdir()
    return base_image(folder)


def measure(bundles: Mapping[str, Path], bodies: Mapping[str, bytes], *, base: str, rounds: int) -> dict[str, Image]:
    """Make the image of each bundle, and start its container ``rounds`` times; ``bodies`` are what each is asked."""
    images = {}
    for name, bundle in bundles.items():
        print(f"Making the image of {name}.", file=sys.stderr)
        tag = f"kappa-benchmark/{name}"
        kappa = [sys.executable, "-m", "kappa", "containerize", str(bundle), "--tag", tag]
        subprocess.run(kappa, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        starts = [_start_s(tag, bodies[name]) for _ in range(rounds)]
        images[name] = Image((size_of(tag) - size_of(base)) / 1e6, median(starts))
    return images


def _start_s(tag: str, body: bytes) -> float:
    """Run a container with one worker until it has answered, and return the seconds."""
    began = time.perf_counter()
    published = ("--publish", f"127.0.0.1::{_PORT}")
    container = docker("run", "--detach", *published, tag, "--workers", "1")
    try:
        port = docker("port", container, f"{_PORT}/tcp").rpartition(":")[2]
        request = Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
        while True:
            with suppress(URLError, OSError), urlopen(request, timeout=10):
                return time.perf_counter() - began
            if time.perf_counter() - began > _START_S:
                raise SystemExit(f"{tag} does not answer: {docker('logs', container)}")
            time.sleep(0.02)
    finally:
        docker("rm", "--force", container)


def table(images: Mapping[str, Image], models: Sequence[str], *, titles: Mapping[str, str]) -> list[str]:
    """Return the lines of a table with a line for each kind of bundle in ``titles``."""
    heads = [f"image above its base, {model} | container start-up, {model}" for model in models]
    lines = [f"| bundle | {' | '.join(heads)} |", f"|---|{'---:|' * 2 * len(models)}"]
    for kind, title in titles.items():
        of_kind = [images[f"{model}-{kind}"] for model in models]
        cells = [f"{image.above_base_mb:.0f} MB | {image.start_s:.1f} s" for image in of_kind]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines
