"""The Java that some frameworks run on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kappa.errors import BundleError
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["CONDA_JAVA", "DEBIAN_JAVA", "check_java", "end_with_this_process", "threads_here"]

DEBIAN_JAVA = ("default-jre-headless",)
CONDA_JAVA = ("openjdk",)


def check_java(artifact: ArtifactPlugin) -> None:
    """Raise `BundleError` where there is no Java."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise BundleError(
            f"The artifact `{artifact.name}` ({artifact.type}) runs on Java, and there is none here: install it with "
            f"`apt-get install {DEBIAN_JAVA[0]}` on Debian, or `conda install {CONDA_JAVA[0]}`."
        )


def threads_here() -> int:
    """Return how many threads a worker's model may use; the server has divided the cores between its workers."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    return int(share) if share.isdecimal() and int(share) else os.cpu_count() or 1


def end_with_this_process(pid: int) -> None:
    """End a child when this process ends, however it does: a killed one runs nothing at its exit."""
    if os.name == "posix":
        command = ["sh", "-c", f"cat; kill {pid} 2>/dev/null"]  # `cat` ends with the pipe, and that with this process
        _watchers.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))


_watchers: list[subprocess.Popen[bytes]] = []
