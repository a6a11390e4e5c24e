"""A process whose memory is bounded, in which a body that unfolds to too much ends in a `MemoryError`.

    python tests/fuzzing/bounded.py FORMAT FOLDER...     # reads every file of the folders

Run as a script it prints what failed, a line each, and exits with 1 if anything did.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOM_BYTES = 1 << 30


def limit_address_space(room_bytes: int = ROOM_BYTES) -> None:
    """Let this process take so much more than it has; Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + room_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(name: str, folders: list[str]) -> int:
    """Read every body in the folders as one format."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others take more of the address space than they use
    from tests.fuzzing.formats import FORMATS
    from tests.fuzzing.seeds import seeds

    for format_, _, body in seeds():
        if format_ == name:
            with suppress(Exception):  # it is read again; here it imports and starts what needs memory once
                FORMATS[name].check(body)
    limit_address_space()
    failed = [path for folder in folders for path in sorted(Path(folder).iterdir()) if not _holds(FORMATS[name], path)]
    return 1 if failed else 0


def _holds(format_: Any, path: Path) -> bool:
    try:
        format_.check(path.read_bytes())
    except Exception:  # noqa: BLE001 - whatever an adapter raises
        print(f"{path}\n{traceback.format_exc()}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
