"""Examples as a gate: a version of a service that fails its own examples is not served.

They also warm the service up: first calls compile, allocate and import.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from kappa.choices import ExamplesUse
from kappa.errors import BadInputError, ExampleFailedError, InferenceFailedError, KappaError
from kappa.services.comparison import Replay, replay_lines, replay_of
from kappa.services.inference import example_payload
from kappa.spec.service import ExampleSpec, ServiceSpec
from kappa.types import Answer, Payload

__all__ = ["try_examples"]

_logger = logging.getLogger("kappa.server")


async def try_examples(
    spec: ServiceSpec,
    directory: Path | None,
    ask: Callable[[ExampleSpec, Payload], Awaitable[Answer | Exception]],
    *,
    use: ExamplesUse,
) -> None:
    """Send each example once, and compare its answer as `kappa test` does.

    ``ask`` returns the outcome of one, and raises errors that must end the start. What fails is a warning, or with
    ``use="gate"`` an `ExampleFailedError` that shows all of it. ``directory`` is where the examples' files are; an
    example whose file is not there is named and not tried.
    """
    if use == "skip":
        return
    replays = []
    for example in spec.examples:
        if _has_its_file(example, directory):
            replays.append(await _replay(example, directory or Path(), ask))
        else:
            text = "The example `%s` of `%s` was not tried: its file `%s` is not here."
            _logger.warning(text, example.name, spec.name, example.input_file)
    failed = [replay for replay in replays if replay.problems]
    if not failed:
        return
    text = f"`{spec.name}` fails {len(failed)} of its {len(replays)} examples"
    if use == "gate":
        hint = "Mend it, or start the server with `--examples warn`."
        raise ExampleFailedError(f"{text}, so it is not served. {hint}\n{replay_lines(failed)}")
    _logger.warning("%s.\n%s", text, replay_lines(failed))


def _has_its_file(example: ExampleSpec, directory: Path | None) -> bool:
    if example.input_file is None:
        return True
    return directory is not None and (directory / example.input_file).is_file()


async def _replay(
    example: ExampleSpec, directory: Path, ask: Callable[[ExampleSpec, Payload], Awaitable[Answer | Exception]]
) -> Replay:
    outcome: Answer | Exception
    try:
        payload = example_payload(example, directory)
    except BadInputError as exc:
        outcome = InferenceFailedError(str(exc))
    else:
        outcome = await ask(example, payload)
    if isinstance(outcome, Exception) and not isinstance(outcome, KappaError):
        _logger.warning("The example `%s` raised an exception.", example.name, exc_info=outcome)
    return replay_of(example, outcome)
