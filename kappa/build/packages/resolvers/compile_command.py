"""pip-compile, with the hashes that the index itself states: run as `python -m`.

pip-tools takes hashes from PyPI's JSON API, and downloads every file of a release that it does not find there under the
same URL. Behind a mirror that is every file for every platform (PERF: 4 GB and two minutes for scikit-learn and pandas,
against fifteen seconds). The page that names a file states its sha256 too (PEP 503, PEP 691), and is what pip trusts.
"""

from __future__ import annotations

from pip._internal.models.link import Link
from piptools.repositories.pypi import PyPIRepository
from piptools.scripts.compile import cli

__all__ = ["main"]

_download_and_hash = PyPIRepository._get_file_hash  # noqa: SLF001 - there is no public place for this


def _stated_hash(self: PyPIRepository, link: Link) -> str:
    """Return a file's sha256 from its link, or else from its content."""
    if link.hash_name == "sha256" and link.hash:
        return f"sha256:{link.hash}"
    return _download_and_hash(self, link)


def main() -> None:
    """Run pip-compile with the arguments of this process."""
    PyPIRepository._get_file_hash = _stated_hash  # type: ignore[method-assign]  # noqa: SLF001
    cli()


if __name__ == "__main__":
    main()
