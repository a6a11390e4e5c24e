"""The common part of all conformance suites: the plugins' options."""

from __future__ import annotations

import json
from typing import Any

from packaging.requirements import Requirement

from kappa.spec.contracts import Plugin

__all__ = ["PluginSuite"]


class PluginSuite:
    """What every plugin must do."""

    def plugin(self) -> Plugin:
        """Return the plugin that is tested."""
        raise NotImplementedError

    def test_its_options_are_what_a_manifest_holds(self) -> None:
        plugin = self.plugin()
        written = json.loads(json.dumps(plugin.model_dump(mode="json", by_alias=True)))
        assert type(plugin).model_validate(written) == plugin, "a manifest gives another plugin back"

    def test_it_cannot_be_changed(self) -> None:
        plugin: Any = self.plugin()
        try:
            plugin.type = "other"
        except ValueError:
            return
        raise AssertionError("its options can be changed: leave `frozen` as it is")

    def test_what_it_requires_are_requirements(self) -> None:
        for text in self.plugin().requires():
            Requirement(text)
