"""Fresh copies of the tasks of a failed batch, for the runs that look for the request at fault.

A function may change what it is given, and discard requests, before it fails. So no task is run again as it was left:
it is decoded anew from its payload, where decoding runs, unless neither function nor adapter let its form be changed;
then it is enough that it is not discarded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, replace

from kappa.errors import InferenceFailedError
from kappa.server.decoding import Decoders
from kappa.services.inference import Inference
from kappa.types import InferenceTask, Payload

__all__ = ["RenewableTask", "Renewal", "needs_payloads"]

_JOB_BYTES = 64 * 1024


@dataclass(slots=True, eq=False)
class RenewableTask(InferenceTask):
    """A task that can be decoded again."""

    payload: Payload = Payload(b"")  # noqa: RUF009 - it is frozen


def needs_payloads(inference: Inference) -> bool:
    """Return whether a function can change the forms of its tasks, so that they are decoded anew for another run."""
    return not inference.spec.input.copies or inference.takes_tasks


class Renewal:
    """Renews the tasks of one API, in the threads for decoding."""

    def __init__(self, inference: Inference, decoders: Decoders) -> None:
        self._inference = inference
        self._decoders = decoders

    def __call__(
        self, tasks: Sequence[InferenceTask]
    ) -> Sequence[InferenceTask | Exception] | Awaitable[Sequence[InferenceTask | Exception]]:
        """Return the tasks as they were submitted, or what each is refused with."""
        if not any(isinstance(task, RenewableTask) for task in tasks):
            return [replace(task, error=None) for task in tasks]
        return self._decoded(tasks)

    async def _decoded(self, tasks: Sequence[InferenceTask]) -> Sequence[InferenceTask | Exception]:
        return [task for job in _jobs(tasks) for task in await self._done(job)]

    async def _done(self, job: Sequence[InferenceTask]) -> Sequence[InferenceTask | Exception]:
        try:
            return await self._decoders.run(lambda: [_decoded(self._inference, task) for task in job])
        except InferenceFailedError as exc:  # it took too long
            return [exc] * len(job)


def _jobs(tasks: Sequence[InferenceTask]) -> Iterator[list[InferenceTask]]:
    """Divide tasks so that one that takes long has its time to itself."""
    job: list[InferenceTask] = []
    size = 0
    for task in tasks:
        task_bytes = len(task.payload.data) if isinstance(task, RenewableTask) else 0
        if job and size + task_bytes > _JOB_BYTES:
            yield job
            job, size = [], 0
        job.append(task)
        size += task_bytes
    if job:
        yield job


def _decoded(inference: Inference, task: InferenceTask) -> InferenceTask | Exception:
    if not isinstance(task, RenewableTask):
        return replace(task, error=None)
    try:
        return replace(task, data=inference.form_of(task.payload), error=None)
    except Exception as exc:  # noqa: BLE001 - adapters of others may raise anything
        return exc
