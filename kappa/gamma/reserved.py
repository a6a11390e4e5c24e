"""Reserved tags, freed by who runs a Gamma server.

The tag of a deleted bundle stays reserved for its bytes: whoever has it written down gets these or nothing. A server
without authentication cannot tell its admin from anybody else, so no door frees a tag. Whoever can open the server's
database, on its host, is its admin.
"""

from __future__ import annotations

from collections.abc import Sequence

from kappa.errors import GammaError
from kappa.gamma.database.bundles import free_versions
from kappa.gamma.database.engine import failing_explained, open_present
from kappa.gamma.database.queries import bundle_of
from kappa.gamma.serving import check_database_url
from kappa.tag import Tag

__all__ = ["forget_reserved"]


def forget_reserved(db_url: str, tags: Sequence[Tag]) -> list[Tag]:
    """Free tags in the database of a Gamma server, which may run; return those that were reserved.

    Raises `ConfigurationError` for a URL that cannot be one, and `GammaError` for a database that cannot be used, or
    where a bundle still has one of the tags; then nothing changes.
    """
    engine = open_present(check_database_url(db_url))
    try:
        with failing_explained(), engine.begin() as connection:
            present = [f"`{tag}`" for tag in tags if bundle_of(connection, tag) is not None]
            if present:
                raise GammaError(
                    f"No tag was freed: {', '.join(present)} is still there. Delete it first, as any client can."
                )
            return free_versions(connection, tags)
    finally:
        engine.dispose()
