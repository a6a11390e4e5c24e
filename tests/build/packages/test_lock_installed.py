"""Pins of what is installed: a closure read from metadata, without an index."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.build.packages.lock import LockInputs
from kappa.build.packages.resolvers.installed import InstalledResolver
from kappa.errors import ResolutionError
from kappa.spec.platforms import running_platform, running_python

INPUTS = LockInputs(
    requirements=("pear>=1",), python=running_python(), platform=running_platform(), resolver="installed"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that distributions are looked for in, before all others."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, name: str, version: str, requires: Sequence[str] = (), *, origin: object = None) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    info.joinpath("METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n")
    if origin is not None:
        info.joinpath("direct_url.json").write_text(json.dumps(origin))


def resolve(*requirements: str) -> str:
    return InstalledResolver().resolve(replace(INPUTS, requirements=requirements), environ=os.environ).body


def test_everything_that_is_needed_is_pinned_with_what_needs_it(site: Path) -> None:
    install(site, "pear-fruit", "1.5+local.1", ["apple-fruit<3", "plum-fruit; sys_platform == 'nothing'"])
    install(site, "apple_fruit", "2.0", ["pear-fruit"])
    assert resolve("pear-fruit>=1", "apple.fruit") == (
        "apple-fruit==2.0\n    # via the service, pear-fruit\npear-fruit==1.5\n    # via the service, apple-fruit\n"
    )


def test_extras_bring_what_they_need_and_only_when_asked_for(site: Path) -> None:
    install(site, "pear-fruit", "1.0", ["apple-fruit; extra == 'basket'", "plum-fruit; extra == 'jam'"])
    install(site, "apple-fruit", "1.0")
    install(site, "plum-fruit", "1.0")
    assert [line for line in resolve("pear-fruit[basket]").splitlines() if "==" in line] == [
        "apple-fruit==1.0",
        "pear-fruit==1.0",
    ]


def test_an_archive_is_pinned_by_its_url_and_a_folder_by_its_version(site: Path) -> None:
    url = "https://example.org/pear.zip"
    install(site, "pear-fruit", "1.0", origin={"url": url, "archive_info": {}})
    install(site, "apple-fruit", "1.0", origin={"url": "file:///home/me/apple", "dir_info": {"editable": True}})
    install(site, "plum-fruit", "1.0", origin={"url": "file:///home/me/plum.zip", "archive_info": {}})
    assert [line for line in resolve("pear-fruit", "apple-fruit", "plum-fruit").splitlines() if line[0] != " "] == [
        "apple-fruit==1.0",
        f"pear-fruit @ {url}",
        "plum-fruit==1.0",
    ]


def test_everything_that_does_not_fit_is_said_at_once(site: Path) -> None:
    install(site, "pear-fruit", "1.0", ["apple-fruit>=2", "quince-fruit"])
    install(site, "apple-fruit", "1.0")
    with pytest.raises(ResolutionError) as raised:
        resolve("pear-fruit>=2", "pear-fruit", "rowan-fruit")
    assert str(raised.value) == (
        "What is installed here is not what the service needs:\n"
        "- The service needs `pear-fruit>=2`, and 1.0 is installed.\n"
        "- `rowan-fruit`, which the service needs, is not installed.\n"
        "- `pear-fruit` needs `apple-fruit>=2`, and 1.0 is installed.\n"
        "- `quince-fruit`, which `pear-fruit` needs, is not installed."
    )


def test_kappa_itself_is_never_pinned(site: Path) -> None:
    install(site, "pear-fruit", "1.0", ["kappa-ml"])
    assert "kappa" not in resolve("pear-fruit", "kappa-ml")


def test_another_target_is_refused() -> None:
    with pytest.raises(ResolutionError, match=r"and not Python 3.99 on"):
        InstalledResolver().resolve(replace(INPUTS, python="3.99"), environ={})
