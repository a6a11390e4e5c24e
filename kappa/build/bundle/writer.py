"""Puts the files of a bundle into a tree, hashes each once, and gives all the same modes and times everywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath

from kappa._files import entries_of, sha256_of_file, strangeness, walk_files
from kappa.build.bundle.plan import PlannedArtifact
from kappa.errors import BuildError, KappaError, printable

__all__ = ["BundleTree", "keep_model"]

Fill = Callable[[PlannedArtifact, Path], None]


def keep_model(artifact: PlannedArtifact, directory: Path) -> None:
    """Let an artifact's plugin put its model into a folder: a file that the user made, or an object."""
    if artifact.source.path is not None:
        artifact.plugin.adopt(artifact.source.path, directory)
    else:
        artifact.plugin.save(artifact.source.value, directory)


class BundleTree:
    """A bundle while it is written: paths are relative to ``root``, which begins as an empty folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._digests: dict[str, str] = {}

    def write(self, path: PurePosixPath, content: str | bytes, *, is_executable: bool = False) -> None:
        """Write one file that no other may have written before."""
        target = self._target(path)
        with target.open("xb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        target.chmod(0o755 if is_executable else 0o644)

    def copy(self, files: Mapping[PurePosixPath, Path]) -> None:
        """Copy files to the paths of the keys; a file that its owner may execute stays executable."""
        for path, source in files.items():
            if strange := strangeness(source.resolve()):
                raise BuildError(f"`{printable(str(source))}` cannot be packed: it is {strange}.")
            target = self._target(path)
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)

    def pack(self, artifact: PlannedArtifact, folder: PurePosixPath, *, fill: Fill = keep_model) -> int:
        """Let ``fill`` write the model of an artifact into ``folder``; return the size of its files in bytes."""
        name, plugin = artifact.plugin.name, artifact.plugin
        directory = self.root / folder
        directory.mkdir(parents=True)
        try:
            fill(artifact, directory)
        except (OSError, KappaError):
            raise
        except Exception as exc:  # the model's own code runs here, and may raise anything
            raise BuildError(
                f"The model of the artifact `{name}` cannot be kept as `{plugin.type}`: {type(exc).__name__}: {exc}"
            ) from exc
        entries = entries_of(directory, inside=folder.as_posix())
        for path, strange in entries:
            if strange and path.suffix != ".pyc":
                raise BuildError(f"The artifact `{name}` wrote `{printable(path.as_posix())}`, which is {strange}.")
        files = {directory / path for path, strange in entries if not strange}
        for path in directory.rglob("*"):
            if path not in files and not path.is_dir():
                path.unlink()  # no digest would cover it
        if not files:
            raise BuildError(f"The artifact `{name}` wrote no file: its type `{plugin.type}` is at fault.")
        for path in files:
            path.chmod(0o644)
        return sum(path.stat().st_size for path in files)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of every file so far, by path; each is read once."""
        for path in walk_files(self.root):
            if (name := path.as_posix()) not in self._digests:
                self._digests[name] = sha256_of_file(self.root / path)
        return dict(sorted(self._digests.items()))

    def settle(self, at: datetime) -> None:
        """Give every folder mode 0755, and every file and folder the time ``at``."""
        moment = at.timestamp()
        for path in sorted(self.root.rglob("*"), reverse=True):  # what is inside a folder before the folder
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (moment, moment))
        os.utime(self.root, (moment, moment))

    def _target(self, path: PurePosixPath) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
