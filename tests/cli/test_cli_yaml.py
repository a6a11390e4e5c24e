"""YAML of `-o yaml` is read as it was meant, also by programs that read YAML 1.1."""

from __future__ import annotations

import io

import pytest
from ruamel.yaml import YAML

from kappa.cli.tables import yaml_text


@pytest.mark.parametrize("version", [(1, 1), (1, 2)], ids=["1.1", "1.2"])
def test_text_stays_text(version: tuple[int, int]) -> None:
    tree = {
        "versions": [
            "20261201024651_123456",
            "20261201024651_3FF05E",
            "1.0",
            "1_0",
            "010",
            "1:30",
            "0x1F",
            "2026-12-01",
        ],
        "labels": {"y": "yes", "on": "Off", "n": "NO", "true": "true", "null": "~"},
        "numbers": [1, 1.5, True, None],
    }
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    assert yaml.load(io.StringIO(yaml_text(tree))) == tree
