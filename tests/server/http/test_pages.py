"""What the server answers besides predictions and files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kappa.server.http import pages
from kappa.server.served import Served
from kappa.services.bundle import open_bundle
from kappa.services.source import ServiceSource

HOST: Any = SimpleNamespace(loaded={})


def shown(answering: Any, headers: dict[bytes, bytes] | None = None) -> Any:
    return json.loads(asyncio.run(answering(SimpleNamespace(raw_headers=headers or {}))).body)


@pytest.mark.parametrize(
    ("requirement", "public"),
    [
        ("iris @ https://host/iris-1.0.whl?token=SECRET", "iris"),
        ("iris@https://host/iris.whl?a=1&token=SECRET#sha256=0", "iris"),
        ("iris @ https://host/i.whl?token=SECRET ; python_version < '3.13'", "iris ; python_version < '3.13'"),
        ("iris @ git+https://user:SECRET@host/iris.git@v1", "iris"),
        ("iris @ git+ssh://git@SECRET/iris.git", "iris"),
        ("iris @ file:///home/SECRET/iris.whl", "iris"),
        ("iris==1.0", "iris==1.0"),
        ("iris[all]>=1,<2", "iris[all]>=1,<2"),
    ],
)
def test_addresses_of_packages_are_for_operators_only(
    tmp_path: Path, stage_bundle: Callable[..., Path], requirement: str, public: str
) -> None:
    manifest = open_bundle(stage_bundle(tmp_path / "b", "Iris", "1")).manifest
    channels = "channels:\n- https://conda.host/t/SECRET/channel\n- conda-forge\ndependencies:\n- pip:\n  - a\n"
    env = manifest.env.model_copy(update={"requirements": (requirement,), "conda_environment": channels})
    served = Served(manifest.service, "1", lambda: None, manifest.model_copy(update={"env": env}))  # type: ignore[arg-type,return-value]
    everybody = shown(pages.metadata(served, HOST, is_whole=True, is_public=True))
    operators = shown(pages.metadata(served, HOST, is_whole=True))
    assert everybody["env"]["pipDependencies"] == public
    assert "SECRET" not in json.dumps(everybody)
    assert everybody["env"]["condaEnv"] == channels.replace("https://conda.host/t/SECRET/channel", "…")
    assert operators["env"]["pipDependencies"] == requirement
    assert {**operators, "env": {}} == {**everybody, "env": {}}


@pytest.mark.parametrize(
    ("prefix", "forwarded", "servers"),
    [
        ("", b"", None),
        ("/Iris", b"", [{"url": "/Iris"}]),
        ("", b"/team/iris/", [{"url": "/team/iris"}]),
        ("/Iris", b"/team", [{"url": "/team/Iris"}]),
        ("", b"//evil", None),
        ("", b"https://evil", None),
        ("", b'/x"><script>', None),
    ],
)
def test_the_document_says_where_the_service_is_behind_a_proxy(
    tmp_path: Path, stage_bundle: Callable[..., Path], prefix: str, forwarded: bytes, servers: Any
) -> None:
    served = Served.of(ServiceSource.of_bundle(open_bundle(stage_bundle(tmp_path / "b", "Iris", "1"))))
    answering = pages.openapi(served, HOST, prefix=prefix)
    for _ in range(2):
        document = shown(answering, {b"x-forwarded-prefix": forwarded} if forwarded else {})
        assert document.get("servers") == servers
        assert shown(answering).get("servers") == ([{"url": prefix}] if prefix else None)
