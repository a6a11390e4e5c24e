"""A channel of conda packages, and an image like `mambaorg/micromamba` that takes packages from it.

The channel holds three packages: Python, made of the files of the base image; an empty pip; and `quince`, which brings
a module, a command and a script that sets a variable when the environment is activated.

micromamba itself is in none of the registries that tests may use. py-rattler stands in for it: the solver and installer
of another conda client, behind a command that takes micromamba's arguments. As in the real image, nobody is root, no
Python is on the PATH, and commands run through a shell of the image's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

MICROMAMBA = """\
#!/opt/standin/bin/python3
import asyncio, os, sys
from rattler import VirtualPackage, install, solve

verb, *words = sys.argv[1:]
if verb == "clean":
    sys.exit(words != ["--all", "--yes"])
assert (verb, words[:3]) == ("install", ["--yes", "--name", "base"]), sys.argv
parts = {}
if words[3] == "--channel":
    parts = {"channels": [words[4]], "dependencies": words[5:]}
else:
    assert words[3] == "--file"
    for line in open(words[4]):
        if line.startswith("- "):
            parts[key].append(line[2:].strip())
        else:
            key, _, value = line.strip().partition(":")
            parts[key] = [value.strip()] if value.strip() else []
assert "nodefaults" not in parts["channels"]

async def main():
    asked = {"platforms": ["linux-64", "noarch"], "virtual_packages": VirtualPackage.detect()}
    records = await solve(parts["channels"], parts["dependencies"], **asked)
    await install(records, os.environ["MAMBA_ROOT_PREFIX"], show_progress=False)

asyncio.run(main())
os._exit(0)  # rattler's threads may still run, and abort a Python that ends as usual
"""
SHELL = '#!/bin/bash\nexec /bin/bash -o pipefail -c "$@"\n'
DOCKERFILE = """\
FROM {base}
RUN python3 -m venv /opt/standin && /opt/standin/bin/pip install --no-cache-dir py-rattler==0.28.0 \\
    && mv /usr/bin/python3.11 /opt/python3.11 && rm /usr/bin/python3 && ln -sf /opt/python3.11 /opt/standin/bin/python3
COPY micromamba _dockerfile_shell.sh /usr/local/bin/
RUN echo 'mambauser:x:57439:57439::/:/bin/bash' >>/etc/passwd && mkdir -p /opt/conda && ! command -v python3
ENV MAMBA_ROOT_PREFIX=/opt/conda
USER mambauser
SHELL ["/usr/local/bin/_dockerfile_shell.sh"]
"""


def write_image(folder: Path, base: str) -> None:
    """Write what the image like micromamba's is built from."""
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    for name, text in {"micromamba": MICROMAMBA, "_dockerfile_shell.sh": SHELL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def write_channel(folder: Path, python: bytes) -> None:
    """Write the channel; ``python`` is a tar archive of Python's files, relative to its prefix."""
    quince = {
        # Debian's Python looks there, and not into `site-packages`.
        "lib/python3.11/dist-packages/quince.py": b"def price():\n    return 7\n",
        "bin/quince": b"#!/bin/sh\necho a quince\n",
        "etc/conda/activate.d/quince.sh": b'export QUINCE_HOME="$CONDA_PREFIX/share/quince"\n',
    }
    packages = {
        "python-3.11.99-0.tar.bz2": _package("python", "3.11.99", _files_of(python)),
        "pip-99.0-0.tar.bz2": _package("pip", "99.0", {}),
        "quince-1.0-0.tar.bz2": _package("quince", "1.0", {name: (data, 0o755) for name, data in quince.items()}),
    }
    records = {}
    for filename, (data, record) in packages.items():
        (folder / "linux-64").mkdir(parents=True, exist_ok=True)
        (folder / "linux-64" / filename).write_bytes(data)
        hashes = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
        records[filename] = {**record, **hashes, "size": len(data)}
    for subdir, listed in {"linux-64": records, "noarch": {}}.items():
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        repodata = {"info": {"subdir": subdir}, "packages": listed, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata))


Files = Mapping[str, tuple[bytes | str, int]]
"""The content of each file, or where a link leads to, and its mode."""


def _files_of(archive: bytes) -> Files:
    found: dict[str, tuple[bytes | str, int]] = {
        "bin/python3": ("python3.11", 0o777),
        "bin/python": ("python3.11", 0o777),
    }
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                found[member.name] = (file.read(), member.mode)
    return found


def _package(name: str, version: str, files: Files) -> tuple[bytes, dict[str, object]]:
    """Return a package in conda's older format, and its record for the channel."""
    record: dict[str, object] = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": "linux-64",
        "timestamp": 1700000000000,
    }
    paths = [
        {
            "_path": path,
            "path_type": "softlink" if isinstance(data, str) else "hardlink",
            "sha256": hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, (data, _) in files.items()
    ]
    info = {
        "info/index.json": json.dumps(record),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "".join(f"{path}\n" for path in files),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2", compresslevel=1) as tar:
        for path, (data, mode) in {**{name: (text.encode(), 0o644) for name, text in info.items()}, **files}.items():
            member = tarfile.TarInfo(path)
            member.mode = mode
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue(), record
