"""Platforms and markers: what holds where."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.build.packages.targets import Target, holds_on, marker_for
from kappa.spec.platforms import PLATFORMS, Platform, running_platform, running_system, system_named

SYSTEMS = list(PLATFORMS.values())


def test_a_target_without_platforms_is_the_running_system() -> None:
    target = Target.of("3.11", ())
    assert target.systems == (running_system(),)
    assert target.platform == running_platform()


def test_platforms_are_named_as_python_does_and_sorted() -> None:
    target = Target.of("3.12", ["linux/amd64", "macos/arm64", "linux/amd64"])
    assert target.platform == "darwin_arm64,linux_x86_64"
    assert not target.is_running


@pytest.mark.parametrize("system", SYSTEMS, ids=list(PLATFORMS))
def test_a_system_is_found_by_the_name_in_a_lock(system: object) -> None:
    assert system_named(system.name) == system  # type: ignore[attr-defined]


def test_a_system_that_nobody_knows_is_never_taken_for_this_one() -> None:
    assert not Target("3.11", (system_named("aix_ppc64"),)).is_running


@given(st.lists(st.sampled_from(SYSTEMS), min_size=1, unique=True))
def test_the_marker_of_systems_holds_on_them_and_nowhere_else(chosen: list[object]) -> None:
    marker = marker_for(chosen)  # type: ignore[arg-type]
    assert [system for system in SYSTEMS if holds_on(marker, "3.11", system)] == [s for s in SYSTEMS if s in chosen]


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("python_version >= '3.11'", True),
        ("python_full_version < '3.12'", True),
        ("python_version < '3.10'", False),
        ("python_full_version >= '3.11.4'", None),
        ("sys_platform == 'linux' and platform_machine == 'x86_64'", True),
        ("os_name == 'nt' or platform_system == 'Darwin'", False),
        ("implementation_name == 'pypy'", False),
        ("extra == 'dev'", False),
    ],
)
def test_a_marker_holds_for_all_releases_of_a_python_or_for_none_or_it_depends(marker: str, holds: bool | None) -> None:
    assert holds_on(marker, "3.11", PLATFORMS["linux/amd64"]) is holds


def test_the_systems_are_those_that_a_kappafile_may_name() -> None:
    assert set(PLATFORMS) == set(get_args(Platform))
