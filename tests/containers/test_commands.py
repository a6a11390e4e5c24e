"""How the commands of engines are called: a script stands in for them and writes down its words."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.containers.choosing import choose_engine
from kappa.containers.request import ImageRequest
from kappa.errors import ContainerError, MissingDependencyError, UsageError
from kappa.images import BuilderName, Secret
from kappa.log import listening

SCRIPT = """\
#!{python}
import json, os, sys
from pathlib import Path
name, words, version = Path(sys.argv[0]).name, sys.argv[1:], os.environ.get("VERSION", "")
with Path(os.environ["CALLS"]).open("a") as file:
    file.write(json.dumps([name, *words, "BUILDKIT=" + os.environ.get("DOCKER_BUILDKIT", "")]) + "\\n")
if words == ["--version"]:
    print("podman version 4.3.1" if name == "podman" else f"Docker version {{version}}, build x")
elif words[0] == "version":
    if os.environ.get("DOWN"):
        sys.exit(os.environ["DOWN"])
    print(json.dumps({{"Client": {{"Version": version}}, "Server": {{"Version": "1"}}}}))
elif words[:2] == ["buildx", "version"]:
    sys.exit(0 if os.environ.get("BUILDX") else 1)
elif words[:2] == ["image", "inspect"]:
    print(json.dumps([{{"Id": "sha256:abc", "Size": 7, "RepoDigests": ["x/y@sha256:def"]}}]))
elif "build" in words:
    print("#5 [base 1/2] RUN --mount=type=secret,id=x true")
    print("#6 0.1 kappa-init.sh: warning: it rains.")
    print("#7 [internal] load metadata")
    Path(words[words.index("--iidfile") + 1]).write_text("sha256:abc")
elif words[0] == "pull" and os.environ.get("NO_PULL"):
    sys.exit(os.environ["NO_PULL"])
elif words[0] == "push":
    print("1: digest: sha256:" + "d" * 64 + " size: 528")
    if "--digestfile" in words:
        Path(words[words.index("--digestfile") + 1]).write_text("sha256:" + "e" * 64)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has nothing but the stand-ins."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "podman"):
        (folder / name).write_text(SCRIPT.format(python=sys.executable))
        (folder / name).chmod(0o755)
    return {"PATH": str(folder), "CALLS": str(tmp_path / "calls"), "VERSION": "20.10.24"}


def calls(environ: dict[str, str]) -> list[list[str]]:
    return [json.loads(line) for line in Path(environ["CALLS"]).read_text().splitlines()]


@pytest.fixture
def asked(tmp_path: Path) -> ImageRequest:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "Dockerfile").write_text("FROM x\n")
    return ImageRequest(
        tmp_path / "bundle",
        "x",
        ("a:1", "b"),
        build_arguments={"UID": "1000", "HTTPS_PROXY": None},
        secrets=(Secret("token", variable="TOKEN"),),
        labels={"k": "v"},
        platforms=("linux/amd64",),
        no_cache=True,
        pull=True,
    )


@pytest.mark.parametrize(
    ("version", "buildx", "switch", "title"),
    [
        pytest.param("20.10.24", "", "", "Docker (BuildKit)", id="built in"),
        pytest.param("28.2.2", "", "", "Docker (classic builder)", id="no plugin"),
        pytest.param("28.2.2", "1", "", "Docker (BuildKit)", id="plugin"),
        pytest.param("20.10.24", "1", "0", "Docker (classic builder)", id="switched off"),
    ],
)
def test_buildkit_is_used_where_it_answers(
    environ: dict[str, str], version: str, buildx: str, switch: str, title: str
) -> None:
    engine = choose_engine("auto", environ={**environ, "VERSION": version, "BUILDX": buildx, "DOCKER_BUILDKIT": switch})
    assert engine.builder.title == title


def test_podman_is_used_where_docker_is_absent_and_known_under_that_name(environ: dict[str, str]) -> None:
    docker, podman = Path(environ["PATH"], "docker"), Path(environ["PATH"], "podman")
    docker.unlink()
    assert choose_engine("auto", environ=environ).builder.title == "podman"
    podman.rename(docker)
    docker.write_text(docker.read_text().replace('if name == "podman"', "if name"))
    assert choose_engine("docker", environ=environ).builder.title == "podman"


def test_docker_gets_words_for_everything_that_was_asked(environ: dict[str, str], asked: ImageRequest) -> None:
    said: list[tuple[str, str]] = []
    with listening(lambda message, kind: said.append((kind, message))):
        facts = choose_engine("docker", environ=environ).builder.build(asked)
    (built,) = [call for call in calls(environ) if call[1] == "build"]
    folder = Path(built[built.index("--iidfile") + 1]).parent
    assert built == [
        *("docker", "build", "--tag", "a:1", "--tag", "b", "--build-arg", "HTTPS_PROXY", "--build-arg", "UID=1000"),
        *("--label", "k=v", "--platform", "linux/amd64", "--no-cache", "--pull", "--progress", "plain"),
        *("--iidfile", f"{folder}/id", "--secret", "id=token,env=TOKEN", "--file", f"{folder}/Dockerfile"),
        *(str(asked.directory), "BUILDKIT=1"),
    ]
    assert (facts.id, facts.size_bytes, facts.digests) == ("sha256:abc", 7, ("x/y@sha256:def",))
    assert said == [
        ("step", "[base 1/2] RUN true"),
        ("warning", "It rains."),
        ("output", "#7 [internal] load metadata"),
    ]
    assert not folder.exists()


def test_podman_gets_the_same_words_but_for_its_own(environ: dict[str, str], asked: ImageRequest) -> None:
    choose_engine("podman", environ=environ).builder.build(asked)
    (built,) = [call for call in calls(environ) if call[1] == "build"]
    own = ["--pull=always", "--format", "docker", "--layers", "--force-rm", "--iidfile"]
    assert built[built.index("--pull=always") :][: len(own)] == own
    assert "--progress" not in built


def test_several_platforms_are_built_and_pushed_in_one_call(environ: dict[str, str], asked: ImageRequest) -> None:
    several = replace(asked, platforms=("linux/amd64", "linux/arm64"), push=True, secrets=())
    choose_engine("docker", environ=environ).builder.build(several)
    (built,) = [call for call in calls(environ) if call[1:3] == ["buildx", "build"]]
    assert built[3] == "--push"
    assert built[built.index("--platform") + 1] == "linux/amd64,linux/arm64"
    with pytest.raises(UsageError, match="needs BuildKit and `--push`"):
        choose_engine("docker", environ=environ).builder.build(replace(several, push=False))
    with pytest.raises(UsageError, match="needs BuildKit and `--push`"):
        choose_engine("podman", environ=environ).builder.build(several)


@pytest.mark.parametrize(("builder", "digest"), [("docker", "d"), ("podman", "e")])
def test_push_returns_the_digest_of_the_registry(environ: dict[str, str], builder: BuilderName, digest: str) -> None:
    assert choose_engine(builder, environ=environ).registry.push("a:1") == f"sha256:{digest * 64}"


def test_pinning_pulls_and_reads_the_digest(environ: dict[str, str]) -> None:
    assert choose_engine("docker", environ=environ).registry.pin("x/y:1") == "x/y:1@sha256:def"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host',
            "The base image `x/y:1` cannot be pulled. Does it exist, is it written with its registry where it needs "
            "one, and may you read it (`docker login`)? Docker says: Get",
            id="no registry",
        ),
        pytest.param("thunder", "The base image `x/y:1` could not be pulled. Docker says: thunder.", id="unknown"),
    ],
)
def test_base_image_that_cannot_be_pinned_is_told_as_one(environ: dict[str, str], words: str, said: str) -> None:
    with pytest.raises(ContainerError) as caught:
        choose_engine("docker", environ={**environ, "NO_PULL": words}).registry.pin("x/y:1")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "Docker does not answer: start it (`systemctl start docker`, or Docker Desktop), or set `DOCKER_HOST`.",
            id="not running",
        ),
        pytest.param(
            "permission denied while trying to connect to the Docker daemon socket",
            "You may not talk to Docker: join the group `docker`, or use `--builder podman`.",
            id="not allowed",
        ),
        pytest.param("something new", "Docker does not answer: something new.", id="unknown"),
    ],
)
def test_engine_that_does_not_answer_is_told_with_what_to_do(environ: dict[str, str], words: str, said: str) -> None:
    with pytest.raises(ContainerError) as caught:
        choose_engine("docker", environ={**environ, "DOWN": words})
    assert str(caught.value) == f"There is no engine to build images with. {said}"
    assert caught.value.exit_code == 6


def test_absent_engines_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ContainerError) as caught:
        choose_engine("auto", environ={"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none"})
    assert str(caught.value) == (
        "There is no engine to build images with. `docker` is not installed. `podman` is not installed. Docker does "
        "not answer: start it (`systemctl start docker`, or Docker Desktop), or set `DOCKER_HOST`."
    )


def test_absent_sdk_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(MissingDependencyError, match=r"Run `pip install docker`"):
        choose_engine("sdk", environ={})


def test_command_that_cannot_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "docker").write_bytes(b"\x7fELF")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(ContainerError, match="could not be started"):
        choose_engine("docker", environ={"PATH": str(tmp_path), "HOME": os.environ["HOME"]})
