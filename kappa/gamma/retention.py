"""Which bundles are superfluous: those beyond the newest of each service, and those that were built long ago."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from kappa.errors import UsageError
from kappa.spec.store import BundleRecord, Query, Store
from kappa.tag import BundleReference, Tag

__all__ = ["Judged", "Pruning", "plan_pruning"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A bundle, and why it goes or stays."""

    record: BundleRecord
    reason: str


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is superfluous in a store."""

    superfluous: tuple[Judged, ...]
    protected: tuple[Judged, ...]
    """What would be, but an alias or `latest` names it."""

    @property
    def tags(self) -> list[Tag]:
        """The tags of what is superfluous."""
        return [judged.record.tag for judged in self.superfluous]


def plan_pruning(
    store: Store, query: Query, *, now: datetime, keep: int | None = None, older_than: timedelta | None = None
) -> Pruning:
    """Return which of the bundles that a query selects are superfluous, the newest first; nothing is deleted.

    These are neither among the newest ``keep`` of their service in the query, nor built within ``older_than``. A rule
    that is ``None`` spares nothing; without either, raises `UsageError`. What an alias names stays, and so does the
    newest version of each service.
    """
    if keep is None and older_than is None:
        raise UsageError("Nothing was deleted: say how many versions to keep, how old they may be, or both.")
    rules = [f"not among the newest {keep}"] if keep is not None else []
    rules += [f"built more than {_text_of(older_than)} ago"] if older_than is not None else []
    reason = " and ".join(rules)
    ranks: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], Tag] = {}
    superfluous, protected = [], []
    for record in store.list_bundles(query):
        service = record.tag.namespace, record.tag.name
        ranks[service] += 1
        is_spared = keep is not None and ranks[service] <= keep
        if is_spared or (older_than is not None and now - record.created_at <= older_than):
            continue
        if service not in newest:
            newest[service] = store.resolve(BundleReference(record.tag.name, namespace=record.tag.namespace)).tag
        names = [*record.aliases, *(["latest"] if record.tag == newest[service] else [])]
        if names:
            protected.append(
                Judged(record, f"{' and '.join(f'`{name}`' for name in names)} {'mean' if names[1:] else 'means'} it")
            )
        else:
            superfluous.append(Judged(record, reason))
    return Pruning(tuple(superfluous), tuple(protected))


def _text_of(time: timedelta) -> str:
    unit, seconds = next((unit, size) for unit, size in _UNITS.items() if not time.total_seconds() % size)
    number = round(time.total_seconds() / seconds)
    return f"{number} {unit}{'' if number == 1 else 's'}"


_UNITS = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}
