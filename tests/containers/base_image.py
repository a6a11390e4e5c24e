"""A stand-in for `python:3.11-slim`, made from Debian's packages for machines that reach no registry of images.

``python tests/containers/base_image.py [docker|podman]`` makes it, as root and with debootstrap installed. It is Debian
12 with its own Python 3.11, and trusts the certificates that this machine trusts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

NAME = "kappa-tests/python:3.11-slim"
MIRROR = "http://deb.debian.org/debian"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt/archives", "var/lib/apt/lists")


def has_image(command: str, environ: Mapping[str, str]) -> bool:
    return subprocess.run([command, "image", "inspect", NAME], env=environ, capture_output=True).returncode == 0


def make_file_system(archive: Path) -> None:
    """Write the files of the image as a tar archive; takes 40 s in memory, and three times that on a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        root = Path(folder, "root")
        packages = "--include=python3,python3-venv,ca-certificates"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", root, MIRROR], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        for name in _LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        (root / "var/cache/apt/archives/partial").mkdir()
        if _CERTIFICATES.is_file():
            shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))
        subprocess.run(["tar", "--create", "--file", archive, "--directory", root, "."], check=True)


def import_image(archive: Path, command: str, environ: Mapping[str, str]) -> None:
    """Give an engine the image."""
    words = [command, "import", "--change", 'CMD ["python3"]', str(archive), NAME]
    done = subprocess.run(words, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make_file_system(Path(folder, "root.tar"))
        import_image(Path(folder, "root.tar"), (*sys.argv[1:], "docker")[0], os.environ)
    sys.stdout.write(f"{NAME}\n")
