"""The Compose file of the Gamma server: what it says fits the image and the command that it starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kappa.cli.commands.gamma_service_start import command

FOLDER = Path(__file__).parents[2] / "docker" / "gamma-service"


@pytest.fixture
def services() -> dict[str, Any]:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text)  # what has a default
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", r"secret", text)  # what must be set
    assert "$" not in text
    services: dict[str, Any] = YAML(typ="safe", pure=True).load(text)["services"]
    return services


def test_the_server_is_started_with_options_that_it_has(services: dict[str, Any]) -> None:
    gamma = services["gamma"]
    parsed = command.make_context("gamma-service-start", list(gamma["command"])).params
    assert parsed["db_url"] == "postgresql://kappa:secret@database:5432/kappa"
    assert parsed["repo_base_url"] == "s3://bundles/"
    assert gamma["environment"]["AWS_ENDPOINT_URL"] == "http://objects:9000"
    assert gamma["environment"]["AWS_SECRET_ACCESS_KEY"] == services["objects"]["environment"]["MINIO_ROOT_PASSWORD"]


def test_the_ports_are_those_of_the_image_and_of_this_machine_alone(services: dict[str, Any]) -> None:
    exposed = re.findall(r"^EXPOSE (.*)$", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[0]
    published = [port.split(":") for port in services["gamma"]["ports"]]
    assert sorted(inside for _, _, inside in published) == sorted(exposed.split())
    assert {address for address, _, _ in published} == {"127.0.0.1"}
