"""Whatever else is in a batch, a request gets the answer that it gets alone: values, refusals and errors alike."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import BadInputError
from kappa.services.inference import Inference
from kappa.services.representations import error_answer
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import Answer, InferenceTask, Payload


def inference_of(function: Callable[..., Any], **options: Any) -> Inference:
    return Inference(ApiSpec(name="p", target=FunctionTarget(function="m:f"), batch=True, **options), function, {})


def answered(inference: Inference, payloads: Sequence[Payload]) -> list[Answer]:
    """Answer requests as a server under load does: each decoded by itself, those of a group in one call."""
    answers: dict[int, Answer] = {}
    groups: dict[Any, list[tuple[int, InferenceTask]]] = {}
    for number, payload in enumerate(payloads):
        decoded = decoded_or_refused(inference, payload)
        if isinstance(decoded, Answer):
            answers[number] = decoded
        else:
            groups.setdefault(inference.group_and_items_of(decoded)[0], []).append((number, decoded))
    for group in groups.values():
        found = inference.answer([task for _, task in group])
        answers.update(zip([number for number, _ in group], found, strict=True))
    return [answers[number] for number in range(len(payloads))]


def decoded_or_refused(inference: Inference, payload: Payload) -> InferenceTask | Answer:
    try:
        return inference.decode(payload, task_id="request")
    except BadInputError as exc:
        return error_answer(str(exc), request_id="request", http_status=exc.http_status)


def as_json(value: Any) -> Payload:
    return Payload(json.dumps(value).encode(), "application/json")


BROKEN = st.sampled_from([Payload(b"{", "application/json"), Payload(b"", "text/csv"), Payload(b"x", "image/png")])

# -- tables ------------------------------------------------------------------------------------------------------------

CELLS = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | st.sampled_from(["x", "01", ""])
)


@st.composite
def tables(draw: st.DrawFn) -> Payload:
    names = draw(st.permutations(["a", "b"]))
    columns = [draw(st.lists(CELLS, min_size=2, max_size=2)) for _ in names]
    rows = draw(st.integers(1, 2))
    form = draw(st.sampled_from(["records", "split", "labelled", "csv", "parquet"]))
    table = {name: column[:rows] for name, column in zip(names, columns, strict=True)}
    if form == "records":
        return as_json([{name: column[i] for name, column in table.items()} for i in range(rows)])
    if form in ("split", "labelled"):
        data = [[column[i] for column in table.values()] for i in range(rows)]
        index = (
            {"index": draw(st.lists(st.sampled_from("xyz"), min_size=rows, max_size=rows))} if form != "split" else {}
        )
        return as_json({"columns": list(table), "data": data, **index})
    frame = pd.DataFrame({name: pd.Series(column, dtype=object).infer_objects() for name, column in table.items()})
    if form == "csv":
        return Payload(frame.to_csv(index=False).encode(), "text/csv")
    buffer = io.BytesIO()
    frame.astype({name: "str" for name, dtype in frame.dtypes.items() if dtype.kind == "O"}).to_parquet(buffer)
    return Payload(buffer.getvalue(), "application/vnd.apache.parquet")


def described(frame: pd.DataFrame, tasks: Sequence[InferenceTask]) -> list[Any]:
    """Say of each row what its request's function would see; refuse requests whose first value is an empty text."""
    start, kept = 0, []
    for task in tasks:
        part = frame.iloc[start : start + task.data.rows]
        start += len(part)
        if part["a"].iloc[0] == "":
            task.discard("empty", http_status=422)
            continue
        for label, row in zip(part.index, part.to_dict("records"), strict=True):
            shown = None if task.data.labels is None else label
            kept.append({"label": shown, "dtypes": [f"{n} {d}" for n, d in part.dtypes.items()], "row": row})
    return kept


@settings(max_examples=80)
@given(st.lists(tables() | BROKEN, min_size=1, max_size=7))
def test_tables(payloads: list[Payload]) -> None:
    inference = inference_of(described, input="dataframe", output="json")
    assert answered(inference, payloads) == [answered(inference, [payload])[0] for payload in payloads]


@settings(max_examples=60)
@given(st.lists(tables() | BROKEN, min_size=1, max_size=7))
def test_tables_with_a_signature(payloads: list[Payload]) -> None:
    columns = {"b": {"dtype": "float64", "nullable": True}, "a": "object"}
    inference = inference_of(described, input={"type": "dataframe", "columns": columns}, output="json")
    assert answered(inference, payloads) == [answered(inference, [payload])[0] for payload in payloads]


# -- arrays and values -------------------------------------------------------------------------------------------------

arrays = st.sampled_from(
    [
        [[1, 2]],
        [[3, 4], [5, 6]],
        [[0.5, None]],
        [[True, False]],
        [["x", "y"]],
        [[1], [2, 3]],
        [1],
        [],
        [{"b64": "AA=="}],
    ]
).map(as_json)


@given(st.lists(arrays | BROKEN, min_size=1, max_size=7))
def test_arrays(payloads: list[Payload]) -> None:
    inference = inference_of(lambda array: [[str(array.dtype), row] for row in array.tolist()], input="ndarray")
    assert answered(inference, payloads) == [answered(inference, [payload])[0] for payload in payloads]


def doubled(values: Sequence[Any], tasks: Sequence[InferenceTask]) -> list[Any]:
    kept = []
    for value, task in zip(values, tasks, strict=True):
        if not isinstance(value, int | float | str | list):
            task.discard("cannot be doubled")
        else:
            kept.append(value * 2)
    return kept


@given(st.lists(st.recursive(CELLS, st.lists, max_leaves=4).map(as_json) | BROKEN, min_size=1, max_size=7))
def test_values(payloads: list[Payload]) -> None:
    inference = inference_of(doubled, input="json")
    assert answered(inference, payloads) == [answered(inference, [payload])[0] for payload in payloads]


def test_integers_of_an_array_leave_other_numbers_as_they_are() -> None:
    whole = pd.DataFrame({"a": [1, 2]})
    buffer = io.BytesIO()
    whole.to_parquet(buffer)
    payloads = [
        Payload(buffer.getvalue(), "application/vnd.apache.parquet"),
        as_json([{"a": 0.5}]),
        as_json([{"a": None}]),
    ]
    columns = {"a": {"dtype": "float64", "nullable": True}}
    inference = inference_of(lambda frame: frame, input={"type": "dataframe", "columns": columns}, output="dataframe")
    assert [json.loads(answer.body) for answer in answered(inference, payloads)] == [
        [{"a": 1.0}, {"a": 2.0}],
        [{"a": 0.5}],
        [{"a": None}],
    ]
