"""Inputs answered without a server: values, files, and files of rows in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.offline.answering import Event as Event
    from kappa.offline.answering import Failure as Failure
    from kappa.offline.answering import Rows as Rows
    from kappa.offline.answering import answer_events as answer_events
    from kappa.offline.answering import answer_together as answer_together
    from kappa.offline.inputs import InputFile as InputFile
    from kappa.offline.inputs import InputForm as InputForm
    from kappa.offline.inputs import Source as Source
    from kappa.offline.inputs import is_file_of_rows as is_file_of_rows
    from kappa.offline.inputs import payload_of as payload_of

_HOMES = {
    "Event": "kappa.offline.answering",
    "Failure": "kappa.offline.answering",
    "InputFile": "kappa.offline.inputs",
    "InputForm": "kappa.offline.inputs",
    "Rows": "kappa.offline.answering",
    "Source": "kappa.offline.inputs",
    "answer_events": "kappa.offline.answering",
    "answer_together": "kappa.offline.answering",
    "is_file_of_rows": "kappa.offline.inputs",
    "payload_of": "kappa.offline.inputs",
}

__all__ = [
    "Event",
    "Failure",
    "InputFile",
    "InputForm",
    "Rows",
    "Source",
    "answer_events",
    "answer_together",
    "is_file_of_rows",
    "payload_of",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
