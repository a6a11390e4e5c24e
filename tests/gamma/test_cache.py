"""Fetched bundles: whole or absent, the least recently used out first, never one in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.gamma.transfer import cache as caching
from kappa.gamma.transfer.cache import BundleCache
from kappa.tag import Tag


def release() -> None:
    """Let this process use nothing, as if it had ended."""
    for file in caching._held.values():
        os.close(file)
    caching._held.clear()


def put(cache: BundleCache, number: int, *, size: int = 1000) -> Path:
    with cache.staging() as staging:
        bundle = staging / "bundle"
        bundle.mkdir()
        (bundle / "kappa.yml").write_bytes(b"x" * size)
        return cache.put(bundle, digest(number))


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def numbers(cache: BundleCache) -> list[int]:
    return sorted(int(path.name.removeprefix("sha256-"), 16) for path in cache.root.glob("sha256-*"))


def test_what_was_put_is_found_by_its_digest(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=10**6)
    assert cache.find(digest(1)) is None
    directory = put(cache, 1)
    assert cache.find(digest(1)) == directory == cache.path_of(digest(1))
    assert not list(cache.root.glob(".staging-*"))


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=2500)
    for number in (1, 2):
        os.utime(put(cache, number), (number, number))
        release()
    assert cache.find(digest(1)) is not None  # so it is 2 that was not used for longest
    release()
    put(cache, 3)
    assert numbers(cache) == [1, 3]


def test_what_is_being_put_stays_where_another_process_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=1)
    script = (
        "import sys; from pathlib import Path; from kappa.gamma.transfer.cache import BundleCache\n"
        "cache = BundleCache(Path(sys.argv[1]), max_size_bytes=1)\n"
        "with cache.staging() as staging:\n"
        "    (staging / 'bundle').mkdir()\n"
        "    (staging / 'bundle' / 'kappa.yml').touch()\n"
        f"    cache.put(staging / 'bundle', {digest(2)!r})\n"
    )
    replace = os.replace

    def replace_and_make_room(source: Path, destination: Path) -> None:
        replace(source, destination)
        subprocess.run([sys.executable, "-c", script, str(cache.root)], check=True)

    monkeypatch.setattr(os, "replace", replace_and_make_room)
    assert (put(cache, 1) / "kappa.yml").is_file()


def test_what_another_process_uses_stays(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=1500)
    put(cache, 1)
    release()
    script = (
        "import sys; from pathlib import Path; from kappa.gamma.transfer.cache import BundleCache\n"
        f"print(BundleCache(Path(sys.argv[1]), max_size_bytes=1500).find({digest(1)!r}), flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(cache.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == str(cache.path_of(digest(1)))
        put(cache, 2)
        assert numbers(cache) == [1, 2]
        other.communicate()
    release()
    put(cache, 3)
    assert numbers(cache) == [3]


def test_what_this_process_uses_stays_even_above_the_limit(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=10)
    put(cache, 1)
    put(cache, 2)
    assert numbers(cache) == [1, 2]


def test_one_that_is_not_whole_is_replaced(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=10**6)
    half = cache.path_of(digest(1))
    half.mkdir(parents=True)
    (half / "model").write_bytes(b"half")
    assert cache.find(digest(1)) is None
    assert sorted(path.name for path in put(cache, 1).iterdir()) == ["kappa.yml"]


def test_a_removed_bundle_is_not_found_though_it_was_used(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=10**6)
    put(cache, 1)
    assert (cache.remove(digest(1)), cache.remove(digest(1))) == (True, False)
    assert cache.find(digest(1)) is None


def test_the_digest_of_a_tag_is_remembered_for_its_registry(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache", max_size_bytes=10**6)
    cache.remember("a:1", Tag("Iris", "1"), digest(1))
    cache.remember("b:1", Tag("Iris", "1"), digest(2))
    assert cache.digest_of("a:1", Tag("Iris", "1")) == digest(1)
    assert cache.digest_of("b:1", Tag("Iris", "1")) == digest(2)
    assert cache.digest_of("a:1", Tag("Iris", "1", "team")) is None
    assert cache.digest_of("c:1", Tag("Iris", "1")) is None
