"""One step of `benchmarks/transfer.py`, in a process of its own: `transfer_steps.py STEP ARGUMENT…`.

It prints the seconds that the step took without the start of Python, the bytes that moved, and the peak memory, as
JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kappa._files import walk_files
from kappa.gamma.clients.connecting import connect
from kappa.gamma.transfer.fetching import fetch_bundle
from kappa.gamma.transfer.sending import send_bundle
from kappa.services.bundle import open_bundle
from kappa.tag import BundleReference

__all__ = ["peak_bytes"]

AT_ONCE = 4
PART_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20


def push(source: str, server: str) -> dict[str, Any]:
    """Do what `kappa push` does: compare code and names of a bundle, and send what the server lacks of it."""
    registry, moved = connect(server), 0

    def watch(done: int, _: int) -> None:
        nonlocal moved
        moved = max(moved, done)

    began = time.perf_counter()
    bundle = open_bundle(Path(source))
    bundle.verify_code()
    send_bundle(registry, bundle, on_progress=watch)
    seconds = time.perf_counter() - began
    registry.close()
    return {"seconds": seconds, "moved_bytes": moved}


def pull(target: str, server: str, version: str) -> dict[str, Any]:
    """Do what fills the cache of a machine: fetch a bundle, every file compared with its digest."""
    registry = connect(server)
    began = time.perf_counter()
    fetch_bundle(registry, registry.resolve(BundleReference("Bench", version)), Path(target))
    seconds = time.perf_counter() - began
    registry.close()
    return {"seconds": seconds}


def put(source: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Copy a folder to S3, four files at once."""
    import obstore

    store, folder = plain_store(bucket), Path(source)

    def send(path: Path) -> None:
        key = f"{prefix}/{path.as_posix()}"
        obstore.put(store, key, folder / path, chunk_size=PART_BYTES, max_concurrency=AT_ONCE)

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, walk_files(folder)))
    return {"seconds": time.perf_counter() - began}


def get(target: str, bucket: str, prefix: str) -> dict[str, Any]:
    """Copy a folder back from S3, four files at once."""
    import obstore

    store = plain_store(bucket)

    def fetch(key: str) -> None:
        path = Path(target) / Path(key).relative_to(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in obstore.get(store, key).stream(min_chunk_size=CHUNK_BYTES):
                file.write(chunk)

    began = time.perf_counter()
    keys = [entry["path"] for page in obstore.list(store, prefix) for entry in page]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, keys))
    return {"seconds": time.perf_counter() - began}


def plain_store(bucket: str) -> Any:
    from obstore.store import S3Store

    options: Any = {"allow_http": True, "timeout": "1h"}
    return S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)


def peak_bytes(process: int | str = "self") -> int:
    """Return the most memory that a process had since it began, or since its mark was reset."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {"push": push, "pull": pull, "put": put, "get": get}


if __name__ == "__main__":
    result = STEPS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({**result, "peak_bytes": peak_bytes()}))
