"""One process that fuzzes one format with Atheris (libFuzzer): it ends at the first body for which something fails.

    python tests/fuzzing/child.py FORMAT STATE [libFuzzer's arguments: corpora and -options]

The address space may grow by a GiB from what the format's own corpus needed, so that a body that unfolds to more ends
in a `MemoryError`. What has been seen so far is kept in the file STATE. `run.py` starts it again and again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others take more of the address space than they use

import atheris

with atheris.instrument_imports(include=["kappa.adapters", "kappa.server.http.exchange", "formats"]):
    from tests.fuzzing.formats import FORMATS
from tests.fuzzing.bounded import limit_address_space

CORPUS = Path(__file__).parent / "corpus"
_KEPT_EVERY = 200


def main(name: str, state: Path, arguments: list[str]) -> None:
    """Fuzz until libFuzzer has had enough."""
    fuzzed = FORMATS[name]
    seen = {"bodies": 0, "taken": 0, "longest_s": 0.0}

    def one(body: bytes) -> None:
        taken, seconds = fuzzed.check(body)
        seen["bodies"] += 1
        seen["taken"] += bool(taken)
        is_longer = seconds > seen["longest_s"]
        seen["longest_s"] = max(seconds, seen["longest_s"])
        if is_longer or seen["bodies"] % _KEPT_EVERY == 0:
            state.write_text(json.dumps(seen), encoding="utf-8")

    def mutated(body: bytes, most: int, seed: int) -> bytes:
        return fuzzed.mutated(body, seed, lambda data: atheris.Mutate(data, max(len(data), most)))[:most]

    for path in sorted((CORPUS / name).iterdir()):
        fuzzed.check(path.read_bytes())  # imports and pools are there before the limit
    limit_address_space()
    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
