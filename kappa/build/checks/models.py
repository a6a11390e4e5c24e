"""Checks of a kappafile's tables against the files of its models; nothing in these is imported or run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kappa.adapters.arrays import ArrayInput
from kappa.adapters.dataframe import DataframeInput
from kappa.build.code.model_names import model_of, size_of_model
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft
from kappa.build.manifest.words import nearest
from kappa.errors import BadInputError, KappaError
from kappa.inspection.report import Model
from kappa.plugins import ARTIFACTS
from kappa.services.inference import example_payload
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.document import ApiTable
from kappa.spec.service import ExampleSpec, batch_by_default
from kappa.wording import one_of, quoted, sentence

__all__ = ["check_models_read", "model_file", "report_truncated"]

_MOST_BYTES_READ = 1 << 28
"""Larger models are read by a build alone, which reads them anyway."""
_MOST_BYTES_OF_EXAMPLE = 1 << 20


def model_file(draft: Draft, name: str, plugin: ArtifactPlugin) -> Path | None:
    """Return a model's file or folder if it is there, and not too large to be read by every check."""
    text, root = draft.get("artifacts", name, "path"), draft.document.file.parent
    if not isinstance(text, str):
        return None
    path = root / text
    is_folder = plugin.takes != "file" and path.is_dir() and path.resolve().is_relative_to(root.resolve())
    return path if (path.is_file() or is_folder) and size_of_model(path) <= _MOST_BYTES_READ else None


def check_models_read(draft: Draft, plugins: Mapping[str, ArtifactPlugin], packed: Collection[str]) -> None:
    """Report models that are not whole, and tables and examples with other columns than their model was fitted with."""
    models: dict[str, Model] = {}
    for name, plugin in plugins.items():
        path: TreePath = ("artifacts", name, "path")
        file = model_file(draft, name, plugin) if name not in packed and not draft.diagnostics.is_bad(path) else None
        model = model_of(file) if file is not None else None
        if file is not None:
            _check_outputs(draft, name, plugin, file)
        if file is None or model is None or not (model.artifact_type == plugin.type or _are_pickles(model, plugin)):
            continue
        models[name] = model
        if model.is_truncated:
            report_truncated(draft, path, file, model)
    for api in draft.names("apis"):
        table = draft.parts.get(("apis", api))
        model = models.get(str(draft.get("apis", api, "artifact")))
        if model is not None and isinstance(table, ApiTable) and table.method not in (None, "forward", "predict"):
            model = replace(model, inputs=())  # those of another method are not known
        if isinstance(table, ApiTable) and model is not None and model.rows is not None:
            _check_rows(draft, api, table, model.rows)
        if isinstance(table, ApiTable) and isinstance(table.input, ArrayInput) and model is not None:
            _check_shape(draft, api, table.input, model)
        elif isinstance(table, ApiTable) and isinstance(table.input, DataframeInput) and model is not None:
            is_right = _check_columns(draft, api, table.input, model)
            if is_right and model.columns:
                _check_examples(draft, api, table.input.for_features(model.columns), model)


def report_truncated(draft: Draft, path: TreePath, file: Path, model: Model) -> None:
    """Report a model that is not whole, at the ``path`` of its path."""
    message = f"{quoted(file.name)} is not a whole model: {model.problem}."
    draft.diagnostics.add("KF333", message, path, help="Copy it again, or save the model again.")


def _check_outputs(draft: Draft, artifact: str, plugin: ArtifactPlugin, file: Path) -> None:
    """Report outputs that a model's file does not have."""
    for api in draft.names("apis"):
        table = draft.parts.get(("apis", api))
        if not isinstance(table, ApiTable) or table.artifact != artifact or table.method not in (None, "predict"):
            continue
        names = plugin.outputs_of_file(file) if table.outputs else ()
        for index, name in enumerate(table.outputs if names else ()):
            if name not in names:
                near = nearest(name, names, cutoff=0.6)
                draft.diagnostics.add(
                    "KF336",
                    f"{quoted(file.name)} has no output {quoted(name)}.",
                    ("apis", api, "outputs", index),
                    help=f"Did you mean `{near}`?"
                    if near
                    else f"It has {one_of(map(quoted, names), joined_by='and')}.",
                    replacement=f'"{near}"' if near else None,
                )


def _are_pickles(model: Model, plugin: ArtifactPlugin) -> bool:
    """Return whether a type that takes pickles of some kind has one of another."""
    return plugin.is_pickle and bool(model.artifact_type) and ARTIFACTS.load(model.artifact_type).is_pickle


def _check_rows(draft: Draft, api: str, table: ApiTable, rows: int) -> None:
    """Report an API that is batched, and whose network takes one number of ``rows``."""
    path: TreePath = ("apis", api)
    adapter = draft.own_adapters.get(path) or table.input
    by_default = batch_by_default(adapter, is_row_wise=table.is_row_wise(draft.plugins))
    if not (by_default if table.batch is None else table.batch):
        return
    file = _file_of(draft, api)
    message = f"{quoted(file)} takes exactly {rows} at a time, and `{api}` is batched: calls have any number of rows."
    help_ = "Write `batch = false`, or export the model with a first dimension that may vary."
    if not adapter.supports_single:
        help_ = f"Export the model with a first dimension that may vary: `{adapter.type}` is always batched."
    if table.batch is None or not adapter.supports_single:
        draft.diagnostics.add("KF337", message, path, at="key", help=help_)
    else:
        draft.diagnostics.add("KF337", message, (*path, "batch"), help=help_, replacement="false")


def _file_of(draft: Draft, api: str) -> str:
    """Return the name of the file of the model that answers an API."""
    return Path(str(draft.get("artifacts", str(draft.get("apis", api, "artifact")), "path"))).name


def _check_shape(draft: Draft, api: str, adapter: ArrayInput, model: Model) -> None:
    """Report rows of an array of another length than the model was fitted with, or of another shape than it takes."""
    count = model.feature_count
    taken = (count,) if count is not None else _row_shape(model)
    is_column = bool(model.inputs) and taken == (1,) and adapter.shape == ()
    if adapter.shape is None or taken is None or is_column or _may_fit(adapter.shape, taken):
        return
    file = _file_of(draft, api)
    takes = f"was fitted with {count} columns" if count is not None else f"takes rows of the shape {list(taken)}"
    message = f"{quoted(file)} {takes}, and `shape` of `{api}` is {list(adapter.shape)}."
    help_ = f"Write `shape = {list(taken)}`."
    draft.diagnostics.add("KF334", message, ("apis", api, "input", "shape"), help=help_)


def _row_shape(model: Model) -> tuple[int, ...] | None:
    """Return the shape of a row of a network's only input, -1 where any size will do; ``None`` if it is not known."""
    if len(model.inputs) != 1 or not model.inputs[0].shape:
        return None
    return tuple(size if isinstance(size, int) and size > 0 else -1 for size in model.inputs[0].shape[1:])


def _may_fit(shape: Sequence[int], taken: Sequence[int]) -> bool:
    """Return whether rows of a ``shape`` may be ones that a model takes."""
    return len(shape) == len(taken) and all(
        size == other or -1 in (size, other) for size, other in zip(shape, taken, strict=True)
    )


def _check_columns(draft: Draft, api: str, adapter: DataframeInput, model: Model) -> bool:
    """Report columns of a table that its model cannot take; return whether there are none."""
    if adapter.columns is None or adapter.columns_from is not None or adapter.extra_columns == "pass":
        return True
    columns, names, count = [*adapter.columns], model.columns, model.feature_count
    shape = _row_shape(model) or ()
    if count is None and len(shape) == 1 and shape[0] > 0:
        count = shape[0]
    takes = "takes" if model.inputs else "was fitted with"
    file = _file_of(draft, api)
    lacking = [name for name in names if name not in columns]
    help_ = ""
    if lacking:
        listed = one_of([quoted(name) for name in lacking[:5]], joined_by="and")
        message = f"{quoted(file)} {takes} {listed}, which `columns` of `{api}` has not."
        near = {name: nearest(name, columns, cutoff=0.6) for name in lacking}
        pairs = [f"`{other}` is perhaps {quoted(name)}" for name, other in near.items() if other and other not in names]
        help_ = f"{sentence(one_of(pairs, joined_by='and'))}" if pairs else ""
    elif not names and count is not None and count != len(columns):
        message = f"{quoted(file)} {takes} {count} columns, and `columns` of `{api}` has {len(columns)}."
    elif not names and _row_shape(model) is not None and len(shape) != 1:
        message = (
            f"{quoted(file)} takes rows of the shape {[*shape]}, and `columns` of `{api}` makes rows of {len(columns)}."
        )
        help_ = f'Take arrays: `input = {{ type = "ndarray", shape = {[*shape]} }}`.'
    else:
        return True
    draft.diagnostics.add("KF334", message, ("apis", api, "input", "columns"), help=help_)
    return False


def _check_examples(draft: Draft, api: str, adapter: DataframeInput, model: Model) -> None:
    """Report examples that an API would refuse, because they lack a column of its model."""
    examples = draft.document.at(("examples",))
    for index in range(len(examples) if isinstance(examples, list) else 0):
        example = draft.parts.get(("examples", index))
        if not isinstance(example, ExampleSpec) or example.api != api:
            continue
        root, file = draft.document.file.parent, example.input_file
        if file is not None and not (
            (root / file).is_file() and (root / file).stat().st_size <= _MOST_BYTES_OF_EXAMPLE
        ):
            continue
        try:
            adapter.decode(example_payload(example, root))
        except BadInputError as exc:
            if exc.http_status == 422:
                at: TreePath = ("examples", index, "input_file" if file is not None else "input")
                columns = one_of([quoted(name) for name in model.columns[:8]], joined_by="and")
                takes = "takes" if model.inputs else "was fitted with"
                message = f"`{api}` would refuse this example: {exc}"
                draft.diagnostics.add("KF335", message, at, help=f"Its model {takes} {columns}.")
        except (KappaError, OSError):
            continue
