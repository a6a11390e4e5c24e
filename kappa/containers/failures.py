"""Messages of engines, translated into sentences that say what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kappa.images import registry_of

__all__ = ["explain_build", "explain_engine", "explain_pull", "explain_push"]

_OWN_WORDS = re.compile(r"kappa-init\.sh: (?!warning: )(?P<text>.+)")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A known message of an engine or a build step; ``sentence`` may use the groups of ``pattern``."""

    pattern: str
    sentence: str


_BUILD = (
    _Failure(
        "no space left on device",
        "The disk of {engine} is full: free it with `{command} system prune`, and try again.",
    ),
    _Failure(
        '"bash": executable file not found|bash: (?:not found|command not found|No such file)',
        "The base image `{base}` has no bash, which Kappa's scripts need: install it in an image of your own, and name "
        "that one in `docker_base_image`.",
    ),
    _Failure(
        "pull access denied|repository does not exist|manifest unknown|not found: manifest|name unknown|"
        "failed to resolve (?:source|reference)|error getting credentials|short-name .* did not resolve|"
        r"dial tcp.*(?:no such host|i/o timeout|connection refused|server misbehaving)|pinging container registry",
        "The base image `{base}` cannot be pulled. Does it exist, is it written with its registry where it needs one, "
        "and may you read it (`{command} login`)?",
    ),
    _Failure(
        "no match for platform|does not match the specified platform|no image found in image index|"
        "exec format error|no matching manifest for",
        "The base image `{base}` is not made for the platform that was asked for, or this machine cannot run it.",
    ),
    _Failure(
        "Temporary failure in name resolution|Failed to establish a new connection|Could not resolve|"
        "Network is unreachable|Connection timed out",
        "The build has no network where it needs one: a proxy of yours is passed on if `HTTPS_PROXY` is set.",
    ),
    _Failure(
        r"No matching distribution found for (?P<what>\S+)",
        "The package `{what}` has nothing that fits the base image `{base}`: neither a wheel for its system and "
        "Python, nor sources. Lock for that platform (`platforms` in `[bundle]`), or choose another base image.",
    ),
    _Failure(
        "THESE PACKAGES DO NOT MATCH THE HASHES",
        "The index gave other files than those that were locked. If that is meant, lock anew with `kappa lock`.",
    ),
    _Failure(
        "CERTIFICATE_VERIFY_FAILED|certificate verify failed|suitable TLS CA certificate bundle",
        "The build does not trust the index's certificate: name the file of your certificates in `SSL_CERT_FILE`.",
    ),
    _Failure(
        "the --mount option requires BuildKit",
        "The Dockerfile has mounts, which need BuildKit: install it (`docker-buildx`), or use `--builder podman`.",
    ),
)
_ENGINE = (
    _Failure(
        r"[Pp]ermission denied",
        "You may not talk to {engine}: join the group `docker`, or use `--builder podman`.",
    ),
    _Failure(
        "[Cc]annot connect|[Cc]onnection refused|No such file or directory|is the docker daemon running|"
        "Error while fetching server API version|connect: ",
        "{engine} does not answer: start it (`systemctl start docker`, or Docker Desktop), or set `DOCKER_HOST`.",
    ),
)
_PUSH = (
    _Failure(
        "unauthorized|authentication required|no basic auth|denied|forbidden|insufficient_scope",
        "The registry `{registry}` refuses `{image}`: log in with `{command} login {registry}`, and check that you "
        "may write there.",
    ),
    _Failure("HTTP response to HTTPS client", "The registry `{registry}` has no TLS, and {engine} insists on it."),
    _Failure("no space left on device|quota|toomanyrequests", "The registry `{registry}` takes no more."),
    _Failure(
        "connection refused|no such host|i/o timeout|EOF|server misbehaving|connection reset|dial tcp",
        "The registry `{registry}` does not answer.",
    ),
)


def explain_build(lines: Sequence[str], *, engine: str, command: str, base: str) -> str:
    """Return what went wrong in a build, in whole sentences; the builder's last lines follow where they help."""
    reason = _sentence_of(_BUILD, "\n".join(lines), engine=engine, command=command, base=base)
    messages = [match["text"] for line in lines if (match := _OWN_WORDS.search(line))]
    if messages and "pip" not in messages[-1]:
        return messages[-1][0].upper() + messages[-1][1:]
    return reason or f"The image could not be built. {engine} says:\n{_quote(lines)}"


def explain_pull(text: str, *, engine: str, command: str, image: str) -> str:
    """Return why a base image could not be had."""
    reason = _sentence_of(_BUILD, text, engine=engine, command=command, base=image)
    return f"{reason or f'The base image `{image}` could not be pulled.'} {engine} says: {_last(text)}."


def explain_engine(text: str, *, engine: str) -> str:
    """Return why an engine does not answer."""
    return _sentence_of(_ENGINE, text, engine=engine) or f"{engine} does not answer: {_last(text)}."


def explain_push(text: str, *, engine: str, command: str, image: str) -> str:
    """Return why a registry did not take an image."""
    registry = registry_of(image)
    reason = _sentence_of(_PUSH, text, engine=engine, command=command, image=image, registry=registry)
    if registry == "docker.io" and "/" not in image:
        reason += f" A name without a registry goes to Docker Hub: use `--tag YOUR-REGISTRY/{image}`."
    return f"{reason or f'`{image}` could not be pushed.'} {engine} says: {_last(text)}."


def _sentence_of(table: Sequence[_Failure], text: str, **words: str) -> str:
    for failure in table:
        if match := re.search(failure.pattern, text):
            return failure.sentence.format(**words, **match.groupdict())
    return ""


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "nothing"


def _quote(lines: Sequence[str]) -> str:
    filled = [line for line in lines if line.strip()]
    return "\n".join(f"  {line}" for line in filled[-12:])
