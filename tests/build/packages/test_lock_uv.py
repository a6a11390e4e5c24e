"""The real uv, against a folder of tiny wheels."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.build.packages.lock import LockInputs
from kappa.build.packages.locking import lock_packages
from kappa.build.packages.resolvers import uv
from kappa.build.packages.resolvers.indexes import redacted, secrets_in, uv_environment
from kappa.build.packages.resolvers.uv import UvResolver, reduced
from kappa.build.packages.targets import Target
from kappa.errors import MissingDependencyError, ResolutionError
from kappa.spec.platforms import running_platform, running_python

INPUTS = LockInputs(requirements=("pear",), python=running_python(), platform=running_platform(), resolver="uv")
BOTH = replace(INPUTS, python="3.11", platform="darwin_arm64,linux_x86_64")


def test_uv_and_pip_compile_pin_the_same_in_the_same_form(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=("pear", "plum; sys_platform == 'nothing'", "apple[skin]>=1"))
    by_uv = lock_packages(inputs, committed=None, environ=index_environ)
    by_pip = lock_packages(replace(inputs, resolver="pip-compile"), committed=None, environ=index_environ)
    assert by_uv.pins == by_pip.pins
    assert re.fullmatch(r"uv \d+\.\d+", by_uv.resolver)


def test_one_lock_serves_several_systems(index_environ: dict[str, str]) -> None:
    inputs = replace(BOTH, requirements=("pear; sys_platform == 'linux'", "apple; sys_platform != 'win32'"))
    lock = lock_packages(inputs, committed=None, environ=index_environ)
    assert lock.requirements == (
        "apple==1.0 ; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "apple==2.0 ; sys_platform == 'darwin' and platform_machine == 'arm64'",
        "pear==1.0 ; sys_platform == 'linux' and platform_machine == 'x86_64'",
    )
    assert lock.versions == {"pear": "1.0"}
    assert all(pin.hashes for pin in lock.pins)


def test_what_all_systems_need_alike_has_no_marker(index_environ: dict[str, str]) -> None:
    assert lock_packages(BOTH, committed=None, environ=index_environ).requirements == ("apple==1.0", "pear==1.0")


def test_another_python_than_the_running_one_can_be_locked(index_environ: dict[str, str]) -> None:
    inputs = replace(
        INPUTS, python="3.13", requirements=("apple; python_version >= '3.13'", "pear; python_version < '3'")
    )
    assert lock_packages(inputs, committed=None, environ=index_environ).requirements == ("apple==2.0",)


def test_earlier_pins_are_kept_where_they_fit(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=("apple",))
    kept = UvResolver().resolve(inputs, environ=index_environ, preferred="apple==1.0\n")
    assert kept.body.startswith("apple==1.0 ")
    assert UvResolver().resolve(inputs, environ=index_environ).body.startswith("apple==2.0 ")


def test_constraints_and_hashes_of_the_user_hold(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=("apple",), constraints=(f"apple==1.0 --hash=sha256:{'0' * 64}",))
    (pin,) = lock_packages(inputs, committed=None, environ=index_environ).pins
    assert (pin.requirement, pin.hashes) == ("apple==1.0", (f"sha256:{'0' * 64}",))


def test_conflict_is_told_in_uvs_words(index_environ: dict[str, str]) -> None:
    with pytest.raises(ResolutionError) as raised:
        lock_packages(replace(INPUTS, requirements=("pear", "apple==2.0")), committed=None, environ=index_environ)
    assert str(raised.value).startswith("The packages cannot be resolved. uv says:\n")
    assert re.search(r"pear.* depends? on apple<2", str(raised.value))


def test_index_that_does_not_answer_names_the_way_out(index_environ: dict[str, str]) -> None:
    bare = {key: value for key, value in index_environ.items() if not key.startswith("PIP_")}
    environ = {
        **bare,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://user:hunter2@127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
    }
    with pytest.raises(ResolutionError, match="The package index could not be asked") as raised:
        lock_packages(INPUTS, committed=None, environ=environ)
    assert 'resolver = "installed"' in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_settings_of_pips_indexes_reach_uv_and_no_others(index_environ: dict[str, str], tmp_path: Path) -> None:
    seen = uv_environment(
        {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": "https://one.example.org/simple",
            "PIP_EXTRA_INDEX_URL": "https://two.example.org/simple https://three.example.org/simple",
            "PIP_FIND_LINKS": "https://four.example.org https://five.example.org",
            "PIP_TRUSTED_HOST": "one.example.org",
            "PIP_PRE": "1",
            "UV_PRERELEASE": "allow",
            "UV_EXCLUDE_NEWER": "2020-01-01",
            "UV_INDEX_ONE_PASSWORD": "hunter2",
        }
    )
    own = {key: value for key, value in seen.items() if key.startswith(("UV_", "PIP_PRE"))}
    assert own == {
        "UV_DEFAULT_INDEX": "https://one.example.org/simple",
        "UV_INDEX": "https://two.example.org/simple https://three.example.org/simple",
        "UV_FIND_LINKS": "https://four.example.org,https://five.example.org",
        "UV_INSECURE_HOST": "one.example.org",
        "UV_INDEX_ONE_PASSWORD": "hunter2",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    } | ({"PIP_PRE": "1"} if "PIP_PRE" in own else {})


def test_options_of_the_service_become_uvs(index_environ: dict[str, str]) -> None:
    seen: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
        seen.append((command, environ))
        (directory / "requirements.txt").write_text("apple==1.0\n")
        return 0, ""

    options = (
        "--index-url https://one.example.org/simple",
        "--extra-index-url https://two.example.org/simple",
        "--trusted-host two.example.org",
        "--pre",
        "--no-binary apple,pear",
    )
    environ = {**index_environ, "PIP_EXTRA_INDEX_URL": "https://machine.example.org/simple"}
    UvResolver(run).resolve(replace(INPUTS, options=options), environ=environ)
    ((command, settings),) = seen
    assert [word for word in command if word.startswith(("--pre", "--no-binary"))] == [
        "--prerelease=allow",
        "--no-binary=apple",
        "--no-binary=pear",
    ]
    assert settings["UV_DEFAULT_INDEX"] == "https://one.example.org/simple"
    assert settings["UV_INDEX"] == "https://two.example.org/simple https://machine.example.org/simple"
    assert settings["UV_INSECURE_HOST"] == "two.example.org"


def test_absent_uv_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setattr(uv, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"Run `pip install uv`\."):
        UvResolver()


def test_a_body_is_reduced_to_what_the_target_needs() -> None:
    body = (
        "apple==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:aa\n    # via pear\n"
        "apple==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:bb\n"
        "pear==1.0 ; python_full_version >= '3.11.4' \\\n    --hash=sha256:cc\n"
        "plum @ https://example.org/plum.zip ; sys_platform == 'linux' \\\n    --hash=sha256:dd\n"
    )
    assert reduced(body, Target.of("3.11", ["linux/amd64", "linux/arm64"])) == (
        "apple==1.0 \\\n    --hash=sha256:aa\n    # via pear\n"
        "pear==1.0 ; python_full_version >= '3.11.4' \\\n    --hash=sha256:cc\n"
        "plum @ https://example.org/plum.zip \\\n    --hash=sha256:dd\n"
    )


def test_secrets_of_indexes_are_never_shown() -> None:
    secrets = secrets_in(
        {
            "PIP_INDEX_URL": "https://user:hunter%402@a/simple https://token@b/simple",
            "UV_INDEX_CORP_PASSWORD": "swordfish",
            "HTTPS_PROXY": "http://me:proxy-word@proxy:8080",
            "GREETING": "https://x:harmless@c",
        }
    )
    assert secrets == {"hunter%402", "hunter@2", "token", "swordfish", "proxy-word"}
    said = redacted("GET https://user:hunter%402@a/simple with hunter@2 and swordfish via token", secrets)
    assert said == "GET https://****@a/simple with **** and **** via ****"
