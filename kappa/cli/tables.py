"""Bundles as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kappa.spec.manifest import BundleManifest

__all__ = ["age_of", "bundle_table", "text_table"]

_UNITS = (("year", 31_557_600), ("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def bundle_table(manifests: Sequence[BundleManifest], *, now: datetime | None = None) -> str:
    """Return one line per bundle: with its age if ``now`` is given, else with the time it was built (UTC)."""
    rows = [["MODEL_VERSION", "CREATED_AT" if now is None else "AGE", "APIS", "ARTIFACTS"]]
    for manifest in manifests:
        created = datetime.fromisoformat(manifest.created_at.replace("Z", "+00:00"))
        service = manifest.service
        rows.append(
            [
                str(manifest.tag),
                f"{created:%Y-%m-%d %H:%M}" if now is None else age_of(created, now=now),
                ", ".join(f"{api.name}<{type(api.input).__name__}>" for api in service.apis),
                ", ".join(f"{artifact.name}<{type(artifact).__name__}>" for artifact in service.artifacts),
            ]
        )
    return text_table(rows)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns with two blanks between them, none at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def age_of(created: datetime, *, now: datetime) -> str:
    """Return the two largest units of the time since ``created``: ``1 day and 22 hours``."""
    rest = max(0, int((now - created).total_seconds()))
    parts = []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " and ".join(parts[:2]) or "0 seconds"
