"""The store when many use it at once, and when those who use it are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from kappa._files import write_atomically
from kappa.actions.building import plan_of
from kappa.build.bundle.ledger import read_builds
from kappa.build.packages.lock import Lock
from kappa.gamma.local_store import open_local_store
from kappa.services.bundle import open_bundle

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]

WORKER = """
import random, sys
from pathlib import Path
from kappa.actions.building import build_project, project_to_build
from kappa.actions.store import delete_bundles, list_bundles, verify_bundles
from kappa.labels import parse_selector
from kappa.spec.store import Query

number, rounds = int(sys.argv[1]), int(sys.argv[2])
choose = random.Random(number)
mine, deleted = [], []
for count in range(rounds):
    built = build_project(lambda: project_to_build("."), version=f"{number}.{count}", labels={"worker": str(number)})
    mine.append(built.manifest.tag)
    for stored in list_bundles():
        assert (Path(stored.uri) / "kappa.yml").is_file() or stored.record.tag not in mine, stored.record.tag
    if choose.random() < 0.4:
        tag = mine.pop(choose.randrange(len(mine)))
        assert delete_bundles([tag]) == [tag]
        deleted.append(tag)
    assert {one.record.tag for one in list_bundles(Query(selector=parse_selector(f"worker={number}")))} == set(mine)
for one in verify_bundles([str(tag) for tag in mine]):
    assert one.problem is None, one.problem
print(*mine)
"""


@pytest.fixture
def lockable(tmp_path: Path, kappa_home: Path) -> Path:
    """Write a small project whose lock is in the cache, so that a build takes no resolver; return its folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "kappafile.toml").write_text(
        'kappafile = 1\n\n[service]\nname = "Greeter"\n\n[artifacts.words]\ntype = "json"\npath = "words.json"\n\n'
        '[apis.greet]\nfunction = "handlers:greet"\ninput = "json"\n'
    )
    (root / "handlers.py").write_text("def greet(person, words):\n    return words[person]\n")
    (root / "words.json").write_text(json.dumps({str(number): "Good day" for number in range(20_000)}))
    asked = plan_of(root).lock_inputs
    lock = Lock(asked.digest, asked.python, asked.platform, "pip-compile 7.6", "falcon==4.4.0 --hash=sha256:00\n")
    write_atomically(kappa_home / "locks" / asked.digest.replace(":", "-"), lock.text.encode())
    return root


def start(code: str, *words: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[list[str]]:
    outcomes = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        outcomes.append(out.split())
    return outcomes


def assert_sound(home: Path) -> set[str]:
    """Assert that trees and rows agree and that every bundle is as it was built; return the tags."""
    store = open_local_store(os.environ)
    records = {str(record.tag): record for record in store.list_bundles()}
    trees = {f"{path.parent.name}:{path.name}" for path in (home / "repository").glob("[!.]*/*")}
    assert records.keys() == trees
    for record in records.values():
        bundle = open_bundle(store.path_of(record))
        bundle.verify()
        assert (bundle.manifest.bundle_digest, bundle.manifest.tag) == (record.bundle_digest, record.tag)
    return trees


def test_eight_processes_build_list_and_delete_at_once(lockable: Path, kappa_home: Path) -> None:
    outcomes = finish([start(WORKER, number, 6, cwd=lockable) for number in range(8)])
    assert assert_sound(kappa_home) == {tag for tags in outcomes for tag in tags}
    assert len(read_builds(kappa_home)) == 48
    assert [path.name for path in (kappa_home / "repository").glob(".*")] == []


REGISTRAR = """
import random, sys
from pathlib import Path
from kappa.actions.stores import local_store
from kappa.errors import GammaError
from kappa.labels import parse_selector
from kappa.spec.manifest import read_manifest
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag
from tests.gamma.bare_bundles import write_bundle

number, rounds = int(sys.argv[1]), int(sys.argv[2])
choose = random.Random(number)
store = local_store()
own, labels = f"worker-{number}", {}
for count in range(rounds):
    version = f"{number}.{count}"
    tag = Tag("Greeter", version)
    with store.staging() as staging:
        staged = write_bundle(staging / "bundle", "Greeter", version, digest=f"{number:02x}{count:02x}")
        store.put(staged, read_manifest(staged))
    labels[tag] = {"worker": str(number), "round": str(count)}
    assert dict(store.set_labels(tag, labels[tag]).labels) == labels[tag]
    assert store.set_alias(tag, own).version == version
    assert store.resolve(BundleReference("Greeter", own)).tag == tag
    try:  # compare and set, against all others
        current = [alias.version for alias in store.aliases("Greeter") if alias.alias == "shared"]
        store.set_alias(tag, "shared", expect=current[0] if current else "")
    except GammaError as exc:
        assert "as expected" in str(exc), exc
    if choose.random() < 0.4:
        tag = choose.choice(list(labels))
        try:
            assert store.delete([tag]) == [tag]
        except GammaError:
            assert store.resolve(BundleReference("Greeter", tag.version)).tag == tag
            assert store.delete([tag], force=True) == [tag]
        del labels[tag]
    listed = store.list_bundles(Query(selector=parse_selector(f"worker={number}")))
    assert {record.tag: dict(record.labels) for record in listed} == labels
print(*labels)
"""


def test_many_that_save_label_alias_and_delete_at_once_lose_nothing(kappa_home: Path, tmp_path: Path) -> None:
    """Let 8 processes save, label, alias and delete 30 bundles each; what they announced is there, and nothing else."""
    outcomes = finish([start(REGISTRAR, number, 30, cwd=ROOT) for number in range(8)])
    store = open_local_store(os.environ)
    records = {str(record.tag): record for record in store.list_bundles()}
    assert records.keys() == {tag for tags in outcomes for tag in tags}
    assert records.keys() == {f"Greeter:{path.name}" for path in (kappa_home / "repository" / "Greeter").iterdir()}
    for tag, record in records.items():
        number, _, count = tag.partition(":")[2].partition(".")
        assert dict(record.labels) == {"worker": number, "round": count}
    history = store.alias_history("Greeter", "shared")
    assert len(history) > 8
    for newer, older in pairwise(history):
        assert newer.previous == older.version
    assert [alias.version for alias in store.aliases("Greeter") if alias.alias == "shared"] == [
        change.version for change in history[:1] if change.version is not None
    ]


KILLER = """
import os, random, signal, sys, time
from kappa.actions.building import build_project, project_to_build
from kappa.actions.store import delete_bundles, verify_bundles
from kappa.actions.stores import local_store

def work(number, say):
    for count in range(1000):
        tag = build_project(lambda: project_to_build("."), version=f"{number}.{count}").manifest.tag
        say(f"+{tag}")
        if count % 3 == 2:
            say(f"?{tag}")
            delete_bundles([tag])
            say(f"-{tag}")

build_project(lambda: project_to_build("."), version="warm")
began = time.monotonic()
kept, uncertain = {str(build_project(lambda: project_to_build("."), version="timed").manifest.tag)}, set()
longest = 3 * (time.monotonic() - began)
choose = random.Random(7)
for number in range(int(sys.argv[1])):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        work(number, lambda text: os.write(writer, f"{text}\\n".encode()))
    os.close(writer)
    time.sleep(choose.random() * longest)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(reader) as said:
        for line in said.read().split():
            {"+": kept.add, "?": uncertain.add, "-": kept.discard}[line[0]](line[1:])
            {"+": uncertain.discard, "?": kept.discard, "-": uncertain.discard}[line[0]](line[1:])
    there = {str(record.tag) for record in local_store().list_bundles()}
    assert kept <= there, kept - there
    assert not [one.problem for one in verify_bundles(sorted(there - kept)) if one.problem]
    kept |= there - uncertain
print(*kept)
"""


def test_killing_builds_at_any_moment_loses_nothing_and_shows_nothing_half(lockable: Path, kappa_home: Path) -> None:
    """Kill 100 building processes at random moments: what they announced is there, and all that is there is whole."""
    (kept,) = finish([start(KILLER, 100, cwd=lockable)])
    there = assert_sound(kappa_home)
    assert set(kept) <= there
    assert len(there) > 20
    assert read_builds(kappa_home)
