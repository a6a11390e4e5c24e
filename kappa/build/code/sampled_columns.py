"""Facts on an API's requests beyond its declaration: the columns of a sample, the dtypes of examples, and the JSON
Schema of a model in its code. A build writes them into the specification, so that they are read once.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kappa.adapters.arrow import TABLE_MEDIA_TYPES
from kappa.adapters.columns import Columns
from kappa.adapters.dataframe import DataframeInput
from kappa.adapters.signature import sampled_dtypes, signature_of, with_times
from kappa.build.code.child import Runner, run_program
from kappa.build.manifest.words import nearest
from kappa.errors import BadInputError, ConfigurationError, KappaError, MisplacedError
from kappa.log import log
from kappa.services.inference import example_payload, read_payload
from kappa.services.loading import paths_on_path
from kappa.spec.contracts import Plugin, PluginOfService
from kappa.spec.service import ApiSpec, ExampleSpec, ServiceSpec
from kappa.wording import one_of

__all__ = ["columns_of_sample", "with_schemas", "with_signatures"]


def with_signatures(spec: ServiceSpec, root: Path) -> ServiceSpec:
    """Return the specification with the columns of each `columns_from`, and the dtypes of examples where no columns are
    declared; raises `ConfigurationError` that names every sample that cannot be used.
    """
    problems: list[str] = []
    inputs = [_learned(api, spec.examples, root, problems) for api in spec.apis]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return _with_inputs(spec, inputs)


def _learned(api: ApiSpec, examples: Sequence[ExampleSpec], root: Path, problems: list[str]) -> Any:
    adapter = api.input
    if not isinstance(adapter, DataframeInput):
        return adapter
    if adapter.columns_from is not None:
        try:
            columns = columns_of_sample(adapter, root / adapter.columns_from)
        except ValueError as exc:
            problems.append(f"The API `{api.name}`: `columns_from` names `{adapter.columns_from}`, and {exc}.")
            return adapter
        return adapter.with_options(columns=columns, columns_from=None)
    if adapter.columns is None and adapter.prefer_dtypes is None:
        dtypes = _dtypes_of(adapter, [example for example in examples if example.api == api.name], root)
        return adapter.with_options(prefer_dtypes=dtypes) if dtypes else adapter
    return adapter


def columns_of_sample(adapter: DataframeInput, path: Path) -> Mapping[str, Any]:
    """Return the option `columns` that fits the rows in a file, with the dtypes that the adapter itself declares.

    Raises `ValueError` that says why the file does not serve, `MisplacedError` for a declared column that it has not.
    """
    try:
        payload = read_payload(path)
        decoded: Columns = adapter.decode(payload)
    except BadInputError as exc:
        raise ValueError(f"it does not hold rows of a table: {_clause(str(exc))}") from None
    sampled = signature_of(decoded if payload.media_type in TABLE_MEDIA_TYPES else with_times(decoded))
    declared = adapter.columns if isinstance(adapter.columns, Mapping) else {}
    for name in declared:
        if name not in sampled:
            near = nearest(name, list(sampled))
            hint = (
                f"did you mean `{near}`?"
                if near
                else f"it has {one_of((f'`{name}`' for name in sampled), joined_by='and')}"
            )
            raise MisplacedError(f"it has no column `{name}`: {hint}", ("columns", name))
    return {**sampled, **declared}


def _clause(sentence: str) -> str:
    return f"{sentence[0].lower()}{sentence[1:]}".rstrip(".")


def _dtypes_of(adapter: DataframeInput, examples: Sequence[ExampleSpec], root: Path) -> Mapping[str, Any]:
    """Return the dtypes of the columns in an API's examples; one that is no table is for `kappa test` to report."""
    decoded: list[Columns] = []
    for example in examples:
        with suppress(KappaError):
            decoded.append(adapter.decode(example_payload(example, root)))
    return sampled_dtypes(decoded)


# -- schemas -----------------------------------------------------------------------------------------------------------


def with_schemas(spec: ServiceSpec, root: Path, *, run: Runner = run_program) -> ServiceSpec:
    """Return the specification with what classes in the user's code tell of requests: models, and adapters of its own.

    The code is imported in a process of its own; raises `ConfigurationError` if that fails.
    """
    adapters = [adapter for api in spec.apis for adapter in (api.input, api.output)]
    own_types = [adapter.type for adapter in adapters if isinstance(adapter, PluginOfService)]
    references = list(dict.fromkeys([*(name for api in spec.apis for name in api.input.references()), *own_types]))
    if not references:
        return spec
    log(f"Importing {', '.join(f'`{name}`' for name in references)} to see what requests look like.", kind="step")
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        order, answer = Path(folder, "spec.json"), Path(folder, "inputs.json")
        order.write_text(spec.model_dump_json(by_alias=True), encoding="utf-8")
        files = [str(order), str(root), str(answer)]
        done = run([sys.executable, "-m", "kappa.build.code.describe_inputs", *files, *paths_on_path(root)], root)
        for line in (done.stdout + done.stderr).splitlines():
            log(line, kind="output")
        if not answer.is_file():
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
            raise ConfigurationError(f"What requests look like cannot be read: {last}.")
        outcome = json.loads(answer.read_text(encoding="utf-8"))
    if "problem" in outcome:
        raise ConfigurationError(outcome["problem"])
    described = iter(outcome["adapters"])
    apis = [
        api.model_copy(
            update={"input": _described(api.input, next(described)), "output": _described(api.output, next(described))}
        )
        for api in spec.apis
    ]
    return spec.model_copy(update={"apis": tuple(apis)})


def _described(adapter: Plugin, answer: Mapping[str, Any]) -> Plugin:
    """Return an adapter with its description by `describe_inputs`."""
    if isinstance(adapter, PluginOfService):
        return adapter.described_by(content=answer["content"], requirements=answer["requires"])
    return type(adapter).model_validate(answer["options"])


def _with_inputs(spec: ServiceSpec, inputs: Sequence[Any]) -> ServiceSpec:
    apis = tuple(
        api if api.input == adapter else api.model_copy(update={"input": adapter})
        for api, adapter in zip(spec.apis, inputs, strict=True)
    )
    return spec.model_copy(update={"apis": apis})
