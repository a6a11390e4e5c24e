"""Locks as files: what they say, when they are reused, and what they never hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.build.packages.lock import Lock, LockInputs, Resolution
from kappa.build.packages.locking import lock_packages
from kappa.errors import ResolutionError
from kappa.log import Kind, listening
from kappa.plugins import RESOLVERS

INPUTS = LockInputs(requirements=("pear", "apple>=1"), python="3.11", platform="linux_x86_64")
BODY = """\
apple==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   -r requirements.in
    #   pear
pear @ https://example.org/pear.zip \\
    --hash=sha256:cc
plum==2.0 ; sys_platform != "win32" \\
    --hash=sha256:dd
quince==1.0  # via pear
rowan==1.0 --hash=sha256:ee
"""


class CountingResolver:
    def __init__(self, body: str = BODY) -> None:
        self.body = body
        self.calls: list[LockInputs] = []

    def __call__(self) -> CountingResolver:
        return self

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:
        self.calls.append(inputs)
        return Resolution(self.body, "pip-compile 7.6")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> CountingResolver:
    made = CountingResolver()
    monkeypatch.setattr(RESOLVERS, "load", lambda name: made)
    return made


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def hears(warnings: list[str]) -> Callable[[str, Kind], None]:
    return lambda message, kind: warnings.append(message) if kind == "warning" else None


def lock_of(inputs: LockInputs = INPUTS, *, body: str = BODY) -> Lock:
    return Lock(inputs.digest, inputs.python, inputs.platform, "pip-compile 7.6", body)


def test_first_line_says_what_the_lock_was_made_from() -> None:
    lock = lock_of()
    header, _, rest = lock.text.partition("\n")
    assert header == (
        f"# kappa-lock: 2 inputs={INPUTS.digest} body={lock.body_digest} python=3.11 platform=linux_x86_64 "
        "resolver=pip-compile 7.6"
    )
    assert rest == BODY


def test_lock_is_read_back_as_it_was_made() -> None:
    lock = Lock.parse(lock_of().text)
    assert lock == replace(lock_of(), stated_body_digest=lock_of().body_digest)
    assert lock is not None
    assert not lock.is_edited


def test_changed_body_is_edited_by_hand() -> None:
    lock = Lock.parse(lock_of().text.replace("apple==1.0", "apple==1.1"))
    assert lock is not None
    assert lock.is_edited


def test_windows_line_ends_are_not_an_edit() -> None:
    lock = Lock.parse(lock_of().text.replace("\n", "\r\n"))
    assert lock is not None
    assert not lock.is_edited


def test_file_that_kappa_did_not_make_is_no_lock() -> None:
    assert Lock.parse("apple==1.0\n") is None


def test_pins_are_the_requirements_without_hashes_and_comments() -> None:
    assert lock_of().requirements == (
        "apple==1.0",
        "pear @ https://example.org/pear.zip",
        'plum==2.0 ; sys_platform != "win32"',
        "quince==1.0",
        "rowan==1.0",
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(INPUTS, requirements=("pear",)), id="requirements"),
        pytest.param(replace(INPUTS, constraints=("apple<2",)), id="constraints"),
        pytest.param(replace(INPUTS, options=("--index-url https://example.org",)), id="options"),
        pytest.param(replace(INPUTS, python="3.12"), id="python"),
        pytest.param(replace(INPUTS, platform="darwin_arm64"), id="platform"),
        pytest.param(replace(INPUTS, resolver="uv"), id="resolver"),
    ],
)
def test_other_inputs_have_another_digest(other: LockInputs) -> None:
    assert other.digest != INPUTS.digest


def test_order_and_repetition_of_requirements_are_the_same_inputs() -> None:
    assert replace(INPUTS, requirements=("apple>=1", "pear", "pear")).digest == INPUTS.digest


def test_same_inputs_are_resolved_once(resolver: CountingResolver) -> None:
    first = lock_packages(INPUTS, committed=None, environ=os.environ)
    second = lock_packages(INPUTS, committed=None, environ=os.environ)
    assert len(resolver.calls) == 1
    assert first.text == second.text


def test_cached_lock_with_a_changed_body_is_resolved_again(resolver: CountingResolver, kappa_home: Path) -> None:
    lock_packages(INPUTS, committed=None, environ=os.environ)
    (cached,) = (kappa_home / "locks").iterdir()
    cached.write_text(cached.read_text().replace("apple==1.0", "apple==6.6"))
    assert lock_packages(INPUTS, committed=None, environ=os.environ).requirements[0] == "apple==1.0"
    assert len(resolver.calls) == 2


def test_committed_lock_of_the_same_inputs_is_taken(resolver: CountingResolver, tmp_path: Path) -> None:
    committed = tmp_path / "kappafile.lock"
    committed.write_text(lock_of(body="apple==1.5\n").text)
    assert lock_packages(INPUTS, committed=committed, environ=os.environ).requirements == ("apple==1.5",)
    assert resolver.calls == []


def test_committed_lock_that_was_edited_is_taken_with_a_warning(
    resolver: CountingResolver, tmp_path: Path, warnings: list[str], hears: Callable[[str, Kind], None]
) -> None:
    committed = tmp_path / "kappafile.lock"
    committed.write_text(lock_of().text.replace("apple==1.0", "apple==1.1"))
    with listening(hears):
        lock = lock_packages(INPUTS, committed=committed, environ=os.environ)
    assert lock.requirements[0] == "apple==1.1"
    assert warnings == ["`kappafile.lock` was edited by hand; it is used as it is."]


def test_committed_lock_of_other_inputs_is_left_aside_with_a_warning(
    resolver: CountingResolver, tmp_path: Path, warnings: list[str], hears: Callable[[str, Kind], None]
) -> None:
    committed = tmp_path / "kappafile.lock"
    committed.write_text(lock_of(replace(INPUTS, requirements=("plum",))).text)
    with listening(hears):
        lock = lock_packages(INPUTS, committed=committed, environ=os.environ)
    assert lock.inputs == INPUTS.digest
    assert len(resolver.calls) == 1
    assert warnings == [
        (
            "`kappafile.lock` is not used: it is out of date: the requirements or their constraints have changed since "
            "it was made. Run `kappa lock`, and commit the result."
        )
    ]


def test_index_options_of_the_requirements_file_stand_in_the_lock(resolver: CountingResolver) -> None:
    inputs = replace(INPUTS, options=("--extra-index-url https://example.org/simple",))
    lock = lock_packages(inputs, committed=None, environ=os.environ)
    assert lock.body == f"--extra-index-url https://example.org/simple\n{BODY}"
    assert lock.requirements == lock_of().requirements


@pytest.mark.parametrize("line", ["kappa-ml==0.1", "Kappa==1.0 \\", "kappa_ml==0.1"])
def test_kappa_from_an_index_is_refused(resolver: CountingResolver, line: str) -> None:
    resolver.body = f"{BODY}{line}\n"
    with pytest.raises(ResolutionError, match="carries Kappa itself"):
        lock_packages(INPUTS, committed=None, environ=os.environ)


def test_file_of_this_machine_in_a_lock_is_refused(resolver: CountingResolver, kappa_home: Path) -> None:
    resolver.body = "apple @ file:///home/me/apple.whl\n"
    with pytest.raises(ResolutionError, match=r"apple @ file:///home/me/apple.whl"):
        lock_packages(INPUTS, committed=None, environ=os.environ)
    assert not (kappa_home / "locks").exists()


def test_unwritable_cache_fails_no_build(resolver: CountingResolver, kappa_home: Path) -> None:
    kappa_home.write_text("a file where the folder should be")
    assert lock_packages(INPUTS, committed=None, environ=os.environ).body == BODY


PINNED = f"python:3.11-slim@sha256:{'0' * 64}"


def test_pinned_base_image_stands_at_the_end_of_the_first_line_and_is_read_back() -> None:
    lock = replace(lock_of(), base_image=PINNED)
    assert lock.text.partition("\n")[0].endswith(f" resolver=pip-compile 7.6 base-image={PINNED}")
    read = Lock.parse(lock.text)
    assert read is not None
    assert (read.base_image, read.resolver, read.inputs) == (PINNED, "pip-compile 7.6", lock.inputs)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python:3.11-slim", PINNED),
        ("python:3.12-slim", "python:3.12-slim"),
        ("python", "python"),
        (PINNED, PINNED),
    ],
)
def test_pinned_base_image_is_taken_for_the_image_that_it_pins_alone(name: str, expected: str) -> None:
    assert replace(lock_of(), base_image=PINNED).pinned_image(name) == expected
    assert lock_of().pinned_image(name) == name
