"""When a lock is reused, refused, refreshed or made anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kappa.build.packages.lock import Lock, LockInputs, Resolution
from kappa.build.packages.locking import check_committed, lock_packages, relock
from kappa.errors import LockError, ResolutionError, UsageError
from kappa.log import Kind, listening
from kappa.plugins import RESOLVERS

INPUTS = LockInputs(requirements=("pear", "apple>=1"), python="3.11", platform="linux_x86_64")
OLD = "apple==1.0 \\\n    --hash=sha256:aa\n    # via -r requirements.in\npear==1.0 \\\n    --hash=sha256:bb\n"
NEW = "apple==2.0 \\\n    --hash=sha256:cc\nplum==1.0 \\\n    --hash=sha256:dd\n"


class FakeResolver:
    """Answers with a body and remembers what it was asked to keep."""

    def __init__(self) -> None:
        self.body = NEW
        self.preferred: list[str] = []

    def __call__(self) -> FakeResolver:
        return self

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:
        self.preferred.append(preferred)
        if not self.body:
            raise ResolutionError("The packages cannot be resolved.")
        name = "installed" if inputs.resolver == "installed" else "pip-compile 7.6"
        return Resolution(self.body, name)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    made = FakeResolver()
    monkeypatch.setattr(RESOLVERS, "load", lambda name: made)
    return made


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    return tmp_path / "kappafile.lock"


def commit(path: Path, inputs: LockInputs = INPUTS, body: str = OLD) -> Lock:
    lock = Lock(inputs.digest, inputs.python, inputs.platform, f"{inputs.resolver} 7.6", body)
    path.write_text(lock.text, encoding="utf-8")
    return lock


OTHER = replace(INPUTS, requirements=("pear",))


# -- building ----------------------------------------------------------------------------------------------------------


def test_a_stale_lock_gives_a_new_one_the_versions_that_fit(resolver: FakeResolver, committed: Path) -> None:
    commit(committed, OTHER)
    before = committed.read_text()
    lock = lock_packages(INPUTS, committed=committed, environ=os.environ)
    assert (lock.body, lock.origin) == (NEW, "resolved")
    assert resolver.preferred == [OLD]
    assert committed.read_text() == before


def test_where_a_lock_comes_from_is_told(resolver: FakeResolver, committed: Path) -> None:
    origins = [lock_packages(INPUTS, committed=committed, environ=os.environ).origin for _ in range(2)]
    commit(committed)
    assert [*origins, lock_packages(INPUTS, committed=committed, environ=os.environ).origin] == [
        "resolved",
        "cached",
        "committed",
    ]


def test_an_upgrade_takes_neither_the_committed_nor_the_cached_lock(resolver: FakeResolver, committed: Path) -> None:
    resolver.body = OLD
    lock_packages(INPUTS, committed=None, environ=os.environ)
    commit(committed)
    resolver.body = NEW
    assert lock_packages(INPUTS, committed=committed, environ=os.environ, mode="upgrade").body == NEW
    assert lock_packages(INPUTS, committed=None, environ=os.environ).body == NEW
    assert resolver.preferred == ["", ""]


def test_what_is_installed_is_asked_anew_each_time(resolver: FakeResolver, kappa_home: Path) -> None:
    inputs = replace(INPUTS, resolver="installed")
    resolver.body = "apple==1.0\n"
    assert lock_packages(inputs, committed=None, environ=os.environ).is_unlocked
    lock_packages(inputs, committed=None, environ=os.environ)
    assert len(resolver.preferred) == 2
    assert not kappa_home.exists()


def test_hashes_that_the_users_own_lock_states_replace_those_of_the_index(resolver: FakeResolver) -> None:
    inputs = replace(INPUTS, constraints=("apple==2.0 --hash=sha256:11 --hash=sha256:22", "plum==9 --hash=sha256:33"))
    lock = lock_packages(inputs, committed=None, environ=os.environ)
    assert [(pin.name, pin.hashes) for pin in lock.pins] == [
        ("apple", ("sha256:11", "sha256:22")),
        ("plum", ("sha256:dd",)),
    ]


# -- the committed lock or none ----------------------------------------------------------------------------------------


def test_the_committed_lock_is_taken_where_it_fits(resolver: FakeResolver, committed: Path) -> None:
    commit(committed)
    assert lock_packages(INPUTS, committed=committed, environ=os.environ, mode="locked").body == OLD
    assert check_committed(INPUTS, committed).body == OLD
    assert resolver.preferred == []


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        pytest.param(lambda path: None, "does not exist", id="absent"),
        pytest.param(lambda path: path.write_text(OLD), "is not a lock that Kappa made", id="foreign"),
        pytest.param(
            lambda path: commit(path, OTHER),
            "is out of date: the requirements or their constraints have changed since it was made",
            id="requirements",
        ),
        pytest.param(
            lambda path: commit(path, replace(INPUTS, python="3.12")),
            "is out of date: it was made for Python 3.12, not 3.11",
            id="python",
        ),
        pytest.param(
            lambda path: commit(path, replace(INPUTS, platform="darwin_arm64")),
            "is out of date: it was made for darwin_arm64, not linux_x86_64",
            id="platform",
        ),
        pytest.param(
            lambda path: commit(path, replace(INPUTS, resolver="uv")),
            "is out of date: it was made with uv, not pip-compile",
            id="resolver",
        ),
        pytest.param(
            lambda path: path.write_text(commit(path).text.replace("apple==1.0", "apple==1.1")),
            "was edited by hand",
            id="edited",
        ),
    ],
)
def test_why_a_committed_lock_does_not_fit_is_said(
    resolver: FakeResolver, committed: Path, write: Callable[[Path], object], problem: str
) -> None:
    write(committed)
    asked: tuple[Callable[[], object], ...] = (
        lambda: lock_packages(INPUTS, committed=committed, environ=os.environ, mode="locked"),
        lambda: check_committed(INPUTS, committed),
    )
    for ask in asked:
        with pytest.raises(LockError) as raised:
            ask()
        assert str(raised.value) == f"`kappafile.lock` {problem}. Run `kappa lock`, and commit the result."
    assert resolver.preferred == []


# -- relocking ---------------------------------------------------------------------------------------------------------


def test_a_first_lock_is_written(resolver: FakeResolver, committed: Path) -> None:
    done = relock(INPUTS, committed, environ=os.environ)
    assert done.is_written
    assert committed.read_text() == done.lock.text
    assert done.changes == {"apple": ("", "2.0"), "plum": ("", "1.0")}
    assert Lock.parse(committed.read_text()) is not None


def test_a_lock_of_the_last_build_is_committed_as_it_is(resolver: FakeResolver, committed: Path) -> None:
    built = lock_packages(INPUTS, committed=None, environ=os.environ)
    assert relock(INPUTS, committed, environ=os.environ).lock.text == built.text
    assert len(resolver.preferred) == 1


def test_a_lock_that_is_up_to_date_is_left_alone(resolver: FakeResolver, committed: Path) -> None:
    commit(committed)
    stamp = committed.stat().st_mtime_ns
    done = relock(INPUTS, committed, environ=os.environ)
    assert (done.is_written, done.changes, resolver.preferred) == (False, {}, [])
    assert committed.stat().st_mtime_ns == stamp


def test_a_stale_lock_keeps_what_fits_and_shows_what_changed(resolver: FakeResolver, committed: Path) -> None:
    commit(committed, OTHER)
    done = relock(INPUTS, committed, environ=os.environ)
    assert resolver.preferred == [OLD]
    assert done.changes == {"apple": ("1.0", "2.0"), "pear": ("1.0", ""), "plum": ("", "1.0")}


def test_an_upgrade_keeps_nothing(resolver: FakeResolver, committed: Path) -> None:
    commit(committed)
    assert relock(INPUTS, committed, environ=os.environ, upgrade=True).is_written
    assert resolver.preferred == [""]


def test_an_upgrade_of_one_package_keeps_the_others(resolver: FakeResolver, committed: Path) -> None:
    commit(committed)
    relock(INPUTS, committed, environ=os.environ, packages=["Apple"])
    assert resolver.preferred == ["pear==1.0 \\\n    --hash=sha256:bb\n"]


def test_a_package_that_is_not_in_the_lock_cannot_be_upgraded(resolver: FakeResolver, committed: Path) -> None:
    commit(committed)
    with pytest.raises(UsageError, match=r"`quince` is not in `kappafile\.lock`"):
        relock(INPUTS, committed, environ=os.environ, packages=["quince"])


def test_a_lock_that_was_edited_is_made_anew_around_the_edits(resolver: FakeResolver, committed: Path) -> None:
    committed.write_text(commit(committed).text.replace("apple==1.0", "apple==1.1"))
    assert relock(INPUTS, committed, environ=os.environ).is_written
    assert resolver.preferred == [OLD.replace("apple==1.0", "apple==1.1")]
    check_committed(INPUTS, committed)


def test_a_failure_leaves_the_committed_lock_as_it_is(resolver: FakeResolver, committed: Path) -> None:
    commit(committed, OTHER)
    before = committed.read_text()
    resolver.body = ""
    with pytest.raises(ResolutionError):
        relock(INPUTS, committed, environ=os.environ)
    assert committed.read_text() == before
    assert [path.name for path in committed.parent.iterdir()] == ["kappafile.lock"]


def test_pins_without_hashes_are_no_lock_to_commit(resolver: FakeResolver, committed: Path) -> None:
    with pytest.raises(UsageError, match="there is no lock to commit"):
        relock(replace(INPUTS, resolver="installed"), committed, environ=os.environ)
    assert not committed.exists()


def test_what_is_kept_is_logged_once(resolver: FakeResolver, committed: Path) -> None:
    commit(committed, OTHER)
    said: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: said.append((message, kind))):
        lock_packages(INPUTS, committed=committed, environ=os.environ)
    assert said == [
        (
            (
                "`kappafile.lock` is not used: it is out of date: the requirements or their constraints have changed "
                "since it was made. Run `kappa lock`, and commit the result."
            ),
            "warning",
        ),
        ("Resolving 2 requirements with pip-compile (`--resolver uv` takes a seventh of the time)", "step"),
    ]


# -- the base image ----------------------------------------------------------------------------------------------------

IMAGE = f"python:3.11-slim@sha256:{'0' * 64}"


def test_a_pinned_base_image_stays_until_another_one_is_pinned(resolver: FakeResolver, committed: Path) -> None:
    first = relock(INPUTS, committed, environ=os.environ, base_image=IMAGE)
    assert (first.lock.base_image, first.is_written) == (IMAGE, True)
    assert not relock(INPUTS, committed, environ=os.environ).is_written
    assert relock(OTHER, committed, environ=os.environ).lock.base_image == IMAGE
    assert relock(INPUTS, committed, environ=os.environ, upgrade=True).lock.base_image == IMAGE
    newer = IMAGE.replace("0" * 64, "1" * 64)
    assert relock(INPUTS, committed, environ=os.environ, base_image=newer).lock.base_image == newer
    assert check_committed(INPUTS, committed).base_image == newer


def test_a_build_with_a_stale_lock_keeps_the_pinned_base_image(resolver: FakeResolver, committed: Path) -> None:
    relock(OTHER, committed, environ=os.environ, base_image=IMAGE)
    assert lock_packages(INPUTS, committed=committed, environ=os.environ).base_image == IMAGE
