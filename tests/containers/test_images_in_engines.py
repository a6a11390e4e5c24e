"""Images of bundles, built, run, pushed and pulled by real engines."""

from __future__ import annotations

import json
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from kappa._version import __version__
from kappa.services.bundle import open_bundle
from tests.containers.engines import BASE_IMAGE, CODE, KAPPAFILE, Door, Registry, build, write_project
from tests.eventually import eventually

pytestmark = [pytest.mark.engine, pytest.mark.index]


def test_image_of_a_bundle_answers_as_its_own_user_without_pip_and_stops_at_once(door: Door, adder: Path) -> None:
    manifest = open_bundle(adder).manifest
    record = door.containerize(adder, "--tag", f"adder-{door.builder}:one", "--tag", "adder-two")
    facts = door.inspect(f"adder-{door.builder}:one")
    assert record == {
        "bundle": str(manifest.tag),
        "bundle_digest": manifest.bundle_digest,
        "builder": door.title,
        "tags": [f"adder-{door.builder}:one", "adder-two"],
        "image_id": f"sha256:{facts['Id'].removeprefix('sha256:')}",
        "size_bytes": facts["Size"],
        "pushed": [],
    }
    labels = {
        "org.opencontainers.image.title": "Adder",
        "org.opencontainers.image.version": manifest.version,
        "kappa.bundle.tag": str(manifest.tag),
        "kappa.bundle.content-digest": manifest.content_digest,
        "kappa.bundle.digest": manifest.bundle_digest,
        "kappa.version": __version__,
        "team": "growth",
    }
    assert labels.items() <= facts["Config"]["Labels"].items()
    with door.running("adder-two") as container:
        assert container.request("POST", "/add", {"x": 2}) == (200, {"sum": 42, "greeting": "good day"})
        assert container.request("GET", "/healthz")[0] == 200
        who = "import os, sys; print(os.getuid(), os.getgid(), os.access('/home/kappa/bundle/kappa.yml', os.W_OK))"
        assert container.run("python3", "-c", who) == "1034 1034 False"
        missing = "import importlib.util, shutil; print(importlib.util.find_spec('pip'), shutil.which('gcc'))"
        assert container.run("python3", "-c", missing) == "None None"
        assert container.run("kappa", "verify", "/home/kappa/bundle")
        door.ask("stop", container.id)
        assert container.state()["ExitCode"] == 0


HARDENED = ("--read-only", "--user", "4321:8765", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def test_image_runs_read_only_as_another_user_and_without_rights(docker: Door, adder: Path) -> None:
    docker.containerize(adder, "--tag", "adder-hardened")
    with docker.running("adder-hardened", *HARDENED, "--env", "PORT=8080", port=8080) as container:
        assert container.request("POST", "/add", {"x": 2}) == (200, {"sum": 42, "greeting": "good day"})
        assert container.run("python3", "-c", "import os; print(os.getuid(), os.getgid())") == "4321 8765"


def test_health_check_of_the_image_asks_the_port_that_is_set(docker: Door, adder: Path) -> None:
    docker.containerize(adder, "--tag", "adder-health")
    options = ("--env", "PORT=7000", "--health-interval", "1s")
    with docker.running("adder-health", *options, port=7000) as container:
        states = iter(lambda: container.state()["Health"]["Status"], "healthy")
        for _ in zip(states, range(300), strict=False):
            threading.Event().wait(0.1)
        assert container.state()["Health"]["Status"] == "healthy"


def test_user_and_group_of_the_image_are_build_arguments(docker: Door, adder: Path) -> None:
    docker.containerize(adder, "--tag", "adder-user", "--build-arg", "UID=2000", "--build-arg", "GID=3000")
    printed = docker.ask("run", "--rm", "adder-user", "bash", "-c", "id -u; id -g; echo $HOME; test -w $HOME && echo w")
    assert printed.split() == ["2000", "3000", "/home/kappa", "w"]


def test_options_go_to_the_server_and_other_words_take_its_place(docker: Door, adder: Path) -> None:
    docker.containerize(adder, "--tag", "adder-words")
    with docker.running("adder-words", command=("--workers", "2")) as container:
        assert "with 2 workers" in container.logs()
    assert docker.ask("run", "--rm", "adder-words", "kappa", "--version") == f"kappa, version {__version__}"


@pytest.mark.parametrize(
    ("limit", "workers", "reason"),
    [
        pytest.param(("--cpus", "1"), "1 worker", "its control group allows 1 of ", id="quota"),
        pytest.param(("--cpuset-cpus", "0"), "1 worker", "1 processor here", id="set"),
        pytest.param(("--memory", "300m"), "1 worker", "MiB of memory are left, and each needs about 160", id="memory"),
    ],
)
def test_workers_auto_are_as_many_as_the_container_has_room_for(
    docker: Door, adder: Path, limit: tuple[str, str], workers: str, reason: str
) -> None:
    docker.containerize(adder, "--tag", "adder-limited")
    with docker.running("adder-limited", *limit, command=("--workers", "auto")) as container:
        assert container.request("POST", "/add", {"x": 2})[0] == 200
        assert f"with {workers}" in container.logs()
        assert reason in container.logs()


# -- layers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(shared: Path, tmp_path: Path, adder: Path) -> dict[str, Path]:
    """Return bundles that differ from `adder` in one respect each, built with the same lock."""
    home = {"KAPPA_HOME": str(shared / "home")}
    other_code = CODE.replace('"sum":', '"total":')
    other_name = KAPPAFILE.replace('"Adder"', '"Other"')
    return {
        "code": build(write_project(tmp_path / "p1", code=other_code), tmp_path / "code", **home),
        "model": build(write_project(tmp_path / "p2", bias=50), tmp_path / "model", **home),
        "service": build(write_project(tmp_path / "p3", kappafile=other_name), tmp_path / "service", **home),
    }


def test_changed_code_or_model_shares_every_layer_but_its_own(
    door: Door, adder: Path, changed: dict[str, Path]
) -> None:
    before = [door.containerize(adder, "--tag", "adder-layers"), door.layers("adder-layers")][1]
    *shared_layers, packages, kappa, model, code = before
    for name, same in {
        "code": [*shared_layers, packages, kappa, model],
        "model": [*shared_layers, packages, kappa],
        "service": [*shared_layers, packages, kappa],
    }.items():
        door.containerize(changed[name], "--tag", f"adder-{name}")
        layers = door.layers(f"adder-{name}")
        assert layers[: len(same)] == same, name
        assert layers[-1] != code
    with door.running("adder-code") as container:
        assert container.request("POST", "/add", {"x": 2})[1] == {"total": 42, "greeting": "good day"}
    with door.running("adder-model") as container:
        assert container.request("POST", "/add", {"x": 2})[1] == {"sum": 52, "greeting": "good day"}


def test_a_build_without_cache_gives_the_same_layers_of_packages_and_models(docker: Door, adder: Path) -> None:
    docker.containerize(adder, "--tag", "adder-first")
    docker.containerize(adder, "--tag", "adder-second", "--no-cache")
    first, second = (docker.ask("run", "--rm", tag, "bash", "-c", DIGESTS) for tag in ("adder-first", "adder-second"))
    assert first == second
    assert len(first.split()) > 500


DIGESTS = "cd /opt/kappa && find . -type f | sort | xargs stat -c '%n %Y %s' && find . -type f | sort | xargs sha256sum"


def test_files_that_a_copy_made_private_are_readable_in_the_image(docker: Door, adder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(adder, tmp_path / "copied")
    for path in copied.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    docker.containerize(copied, "--tag", "adder-private")
    with docker.running("adder-private") as container:
        assert container.request("POST", "/add", {"x": 2})[0] == 200


# -- registries --------------------------------------------------------------------------------------------------------


def test_pushed_image_is_pulled_by_its_digest_and_answers(door: Door, adder: Path, registry: Registry) -> None:
    image = f"{registry.host}/team/adder:{door.builder}"
    (pushed,) = door.containerize(adder, "--tag", image, "--push")["pushed"]
    assert pushed["tag"] == image
    door.ask("rmi", "--force", image)
    pulled = f"{registry.host}/team/adder@{pushed['digest']}"
    door.ask("pull", pulled)
    with door.running(pulled) as container:
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42


@pytest.mark.docker
def test_lock_pins_the_base_image_and_the_bundle_starts_from_it(
    docker: Door, registry: Registry, tmp_path: Path
) -> None:
    base = f"{registry.host}/base/python:3.11-slim"
    docker.ask("tag", BASE_IMAGE, base)
    pushed = docker.ask("push", base)
    project = write_project(tmp_path / "project", kappafile=KAPPAFILE.replace(BASE_IMAGE, base))
    environ = {"KAPPA_HOME": str(tmp_path / "home")}
    done = docker.kappa("lock", project, "--pin-base-image", "--format", "json", **environ)
    assert done.returncode == 0, done.stderr
    pinned = json.loads(done.stdout)["base_image"]
    assert pinned.startswith(f"{base}@sha256:")
    assert pinned.rpartition(":")[2] in pushed
    assert docker.kappa("lock", project, "--check", **environ).returncode == 0
    assert docker.kappa("lock", project, **environ).returncode == 0
    assert f" base-image={pinned}\n" in (project / "kappafile.lock").read_text()
    bundle = build(project, tmp_path / "bundle", "--locked", **environ)
    assert f"FROM {pinned} AS base\n" in (bundle / "Dockerfile").read_text()
    assert open_bundle(bundle).manifest.env.docker_base_image == pinned
    docker.containerize(bundle, "--tag", "adder-pinned")
    with docker.running("adder-pinned") as container:
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42


# -- examples ----------------------------------------------------------------------------------------------------------

EXAMPLE = """
[[examples]]
name = "two"
api = "add"
input = { x = 2 }
expect = { sum = EXPECTED, greeting = "good day" }
"""


def runs_nothing_but(door: Door, before: list[str]) -> bool:
    return set(door.ask("ps", "--all", "--quiet").split()) <= set(before)


def test_only_an_image_that_answers_as_the_examples_expect_is_pushed(
    door: Door, shared: Path, tmp_path: Path, registry: Registry
) -> None:
    image = f"{registry.host}/team/tested:{door.title.lower().replace(' ', '-').strip('()').replace('(', '')}"
    for expected in (43, 42):
        project = write_project(
            tmp_path / f"p{expected}", kappafile=KAPPAFILE + EXAMPLE.replace("EXPECTED", str(expected))
        )
        bundle = build(project, tmp_path / str(expected), KAPPA_HOME=str(shared / "home"))
        before = door.ask("ps", "--all", "--quiet").split()
        done = door.kappa("containerize", bundle, "--builder", door.builder, "--tag", image, "--test", "--push")
        eventually(partial(runs_nothing_but, door, before))
        if expected == 43:
            assert done.returncode == 9
            assert f"error: `{image}` does not answer as the examples expect, and was not pushed:" in done.stderr
            assert "- `two`: `sum`" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert "Pushed `" in done.stderr


def test_image_that_does_not_start_is_told_with_its_last_words(docker: Door, shared: Path, tmp_path: Path) -> None:
    project = write_project(
        tmp_path / "project",
        kappafile=KAPPAFILE + EXAMPLE.replace("EXPECTED", "42"),
        code=f"{CODE}\n\nraise RuntimeError('no model')\n",
    )
    bundle = build(project, tmp_path / "bundle", KAPPA_HOME=str(shared / "home"))
    done = docker.kappa("containerize", bundle, "--tag", "adder-broken", "--test")
    assert done.returncode == 6
    assert "error: `adder-broken` does not become ready. It says:\n" in done.stderr
    assert "no model" in done.stderr
