"""Every body that fuzzing has found, and every good one it starts from, is taken or refused within its bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FORMATS = ("arrow", "csv", "gzip", "image", "json", "multipart", "npy", "parquet")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the address space of a process is limited on Linux")


def test_every_format_has_a_corpus() -> None:
    assert tuple(sorted(path.name for path in (HERE / "corpus").iterdir())) == FORMATS


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacks")
    subprocess.run([sys.executable, str(HERE / "seeds.py"), "--attacks", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_each_body_of_the_corpus_and_each_attack_is_taken_or_refused_within_its_bounds(
    name: str, attacks: Path
) -> None:
    folders = [str(HERE / "corpus" / name), str(attacks / name)]
    child = subprocess.run(
        [sys.executable, str(HERE / "bounded.py"), name, *folders], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, f"{child.stdout[-5000:]}\n{child.stderr[-3000:]}"


def test_the_check_tells_what_does_not_hold() -> None:
    script = (
        "import formats\n"
        "def refused(body): raise formats.BadInputError('no sentence')\n"
        "def broken(body): raise KeyError(body)\n"
        "for decode in (refused, broken):\n"
        "    try: formats.Format('x', (formats.Reader('r', decode, print),)).check(b'')\n"
        "    except (formats.NotHeldError, KeyError) as exc: print(type(exc).__name__)\n"
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HERE)
    assert child.stdout.split() == ["NotHeldError", "KeyError"]
