"""The code of bundles is loaded from its source: the bytecode that Python keeps beside it is neither read nor written.

No digest covers ``__pycache__``, so write access to it would be enough to run other code.
"""

from __future__ import annotations

import sys
from importlib.abc import PathEntryFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType

__all__ = ["SourceLoader", "import_from_source"]

_folders: set[Path] = set()


class SourceLoader(SourceFileLoader):
    """Compiles a module each time it is loaded."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


_finder_of = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceLoader, SOURCE_SUFFIXES))


def import_from_source(folder: Path) -> None:
    """Have every import in this process that finds a module below ``folder`` load it from its source."""
    _folders.add(folder)
    if _path_hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _path_hook)
    for entry in list(sys.path_importer_cache):  # at once: other threads import meanwhile
        if _is_covered(entry):
            sys.path_importer_cache.pop(entry, None)


def _path_hook(entry: str) -> PathEntryFinder:
    if not _is_covered(entry):
        raise ImportError
    return _finder_of(entry)


def _is_covered(entry: str) -> bool:
    return any(folder == Path(entry) or folder in Path(entry).parents for folder in _folders)
