"""Nobody gets another's result: what a batch function returns, however moved, doubled, cut or lengthened, gives each
request its own rows or an error."""

from __future__ import annotations

import array
import json
import logging
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.adapters import DataframeInput, DataframeOutput, JsonInput, NdarrayInput
from kappa.errors import ResultMismatchError
from kappa.services.inference import Inference
from kappa.services.representations import Rest
from kappa.services.splitting import split
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import InferenceError, InferenceTask, Payload

FRAMES, ARRAYS, ITEMS = DataframeInput(), NdarrayInput(), JsonInput()


def inference(
    function: Callable[..., Any], adapter: InputAdapter, output: OutputAdapter | str = "default"
) -> Inference:
    target = FunctionTarget(function="handlers:predict")
    return Inference(ApiSpec(name="predict", target=target, input=adapter, output=output, batch=True), function, {})


def asked(api: Inference, *bodies: Any) -> list[Any]:
    tasks = [api.decode(Payload(json.dumps(body).encode(), "application/json"), task_id="id") for body in bodies]
    return [json.loads(answer.body) for answer in api.answer(tasks)]


# -- what moves, doubles, drops and adds rows --------------------------------------------------------------------------

Change = Callable[[pd.DataFrame, Any], Any]


def marked_in_groups(df: pd.DataFrame, **options: Any) -> Any:
    groups: Any = df.groupby("key", **options)  # to the stubs, `include_groups` is always there
    return groups.apply(lambda group: group.assign(n=1), include_groups=False)


CHANGES: dict[str, Change] = {
    "shuffled": lambda df, r: df.sample(frac=1, random_state=r),
    "sorted": lambda df, _: df.sort_values("key"),
    "sorted twice": lambda df, _: df.sort_values("key").sort_values("id", ascending=False),
    "reversed": lambda df, _: df.iloc[::-1],
    "sampled with replacement": lambda df, r: df.sample(frac=1, replace=True, random_state=r),
    "two halves": lambda df, _: pd.concat([df[df["key"] > 2], df[df["key"] <= 2]]),
    "an overlap": lambda df, _: pd.concat([df[df["key"] > 1], df[df["key"] <= 2]]).head(len(df)),
    "filtered": lambda df, _: df[df["key"] > 2],
    "filtered and filled up": lambda df, _: pd.concat([df[df["key"] > 2]] * 3).head(len(df)),
    "the same row again": lambda df, _: df.iloc[[0] * len(df)],
    "doubled": lambda df, _: pd.concat([df, df]),
    "lengthened": lambda df, _: df.assign(id=df["id"].map(lambda i: [i, i])).explode("id"),
    "lengthened and cut": lambda df, _: df.assign(id=df["id"].map(lambda i: [i, i])).explode("id").head(len(df)),
    "in groups": lambda df, _: marked_in_groups(df),
    "in groups without keys": lambda df, _: marked_in_groups(df, group_keys=False),
    "under keys": lambda df, _: pd.concat({"a": df[df["key"] > 2], "b": df[df["key"] <= 2]}),
    "under named keys": lambda df, _: pd.concat({"a": df[df["key"] > 2], "b": df[df["key"] <= 2]}, names=["k"]),
    "moved to labels that nobody has": lambda df, _: df.sort_values("key").set_axis([*range(-1, len(df) - 1)]),
    "in place": lambda df, _: df.sort_values("key", inplace=True) or df,
    "reindexed": lambda df, _: df.reindex(df.index[::-1]),
    "row by row": lambda df, _: df.sort_values("key").apply(lambda row: row, axis=1),
    "labelled by floats": lambda df, _: df.sort_values("key").set_axis(df.sort_values("key").index.astype(float)),
    "labelled by objects": lambda df, _: df.sort_values("key").set_axis(df.sort_values("key").index.astype(object)),
}
PARTS: dict[str, Callable[[Any], Any]] = {
    "frame": lambda df: df,
    "some columns": lambda df: df[["id"]],
    "series": lambda df: df["id"],
    "outputs by name": lambda df: {"id": df["id"], "whole": df},
    "one output by name": lambda df: {"id": df["id"]},
}


def ids_of(answer: Any) -> list[Any]:
    """Return the ids of the rows that an answer holds."""
    rows = answer["id"] if isinstance(answer, dict) else answer
    return [row["id"] if isinstance(row, dict) else row for row in rows]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", CHANGES)
def test_each_gets_the_rows_of_its_own_or_an_error(change: str, part: str) -> None:
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=5), st.integers(0, 99))
    def check(keys: list[list[int]], seed: int) -> None:
        bodies, number = [], 100
        for request in keys:
            bodies.append([{"id": number + i, "key": key} for i, key in enumerate(request)])
            number += len(request)
        api = inference(lambda df: PARTS[part](CHANGES[change](df, seed)), FRAMES)
        try:
            answers = asked(api, *bodies)
        except ResultMismatchError:
            return
        assert [ids_of(answer) for answer in answers] == [[row["id"] for row in body] for body in bodies]

    check()


BODIES = [[{"id": 1, "key": 2}], [{"id": 2, "key": 3}, {"id": 3, "key": 1}]]
RIGHT = [[1], [2, 3]]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        "shuffled", "sorted", "sorted twice", "reversed", "two halves", "in groups", "under keys", "under named keys",
        "in place", "reindexed", "row by row", "labelled by floats", "labelled by objects",
    ],
)  # fmt: skip
def test_rows_in_another_order_are_put_back_with_one_warning(change: str, caplog: pytest.LogCaptureFixture) -> None:
    api = inference(lambda df: CHANGES[change](df, 3)["id"], FRAMES)
    with caplog.at_level(logging.WARNING, logger="kappa.inference"):
        assert [asked(api, *BODIES), asked(api, *BODIES)] == [RIGHT, RIGHT]
    told = (
        "The function of `predict` returned its rows in another order than it was given them; they were put back by "
        "their labels, as will be others. Return one result per input in the order of the inputs, or name an index "
        "that does not label the inputs."
    )
    assert caplog.messages == [told]


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [([0, 0, 1], "`0` occurs twice"), ([2, 1, 2], "`2` occurs twice"), ([0, 1, 7], "`7` is not among them")],
)
@pytest.mark.parametrize("make", [pd.DataFrame, lambda rows: pd.Series([row["id"] for row in rows])])
def test_labels_that_do_not_tell_whose_a_row_is_are_refused(labels: list[int], wrong: str, make: Any) -> None:
    rows = [row for body in BODIES for row in body]
    with pytest.raises(ResultMismatchError) as error:
        asked(inference(lambda df: make(rows).set_axis(labels), FRAMES), *BODIES)
    assert str(error.value).partition(") ")[2] == (
        f"returned rows whose labels are not those of the rows it was given: {wrong}. Return one row per "
        "input with the label of its input, or give an index that means something else a name, e.g. "
        '`rename_axis("id")`.'
    )


@pytest.mark.parametrize(
    "own",
    [
        pd.Index([2, 1, 0], name="rank"),
        pd.Index(["b", "a", "c"]),
        pd.Index([30, 10, 20]),
        pd.Index([True, False, True]),
        pd.date_range("2020-01-01", periods=3),
        pd.CategoricalIndex(["x", "y", "x"]),
        pd.interval_range(0, 3),
        pd.Index([[1], [2], [3]], dtype=object),
        pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")]),
        pd.MultiIndex.from_tuples([(2, 1), (1, 1), (0, 1)], names=["a", "b"]),
    ],
    ids=str,
)
def test_an_index_of_the_functions_own_stands_as_it_is(own: Any, caplog: pytest.LogCaptureFixture) -> None:
    api = inference(lambda df: pd.Series(df["id"].to_numpy(), index=own), FRAMES)
    assert asked(api, *BODIES) == RIGHT
    assert caplog.messages == []


def test_stacked_columns_keep_their_rows() -> None:
    assert asked(inference(lambda df: df[["id"]].set_axis([0], axis=1).stack(), FRAMES), *BODIES) == RIGHT


def test_a_frame_that_the_function_made_of_other_inputs_is_put_back_too() -> None:
    def sort(values: Any) -> Any:
        return pd.Series(np.asarray(values).ravel()).sort_values()

    assert asked(inference(sort, ITEMS), 5, 3, 4) == [5, 3, 4]
    assert asked(inference(sort, ARRAYS), [[5], [3]], [[4]]) == [[5, 3], [4]]


LABELLED = {"columns": ["id"], "index": [1, 0], "data": [[7], [8]]}


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda df: df, {"columns": ["id"], "index": [1, 0], "data": [[7], [8]]}),
        (lambda df: df.iloc[::-1], {"columns": ["id"], "index": [1, 0], "data": [[7], [8]]}),
        (
            lambda df: pd.DataFrame({"id": df["id"].to_numpy()}),
            {"columns": ["id"], "index": [0, 1], "data": [[7], [8]]},
        ),
    ],
    ids=["as they are", "reversed", "numbered anew"],
)
def test_labels_of_a_clients_own_are_its_rows(returned: Any, expected: Any) -> None:
    assert asked(inference(returned, FRAMES, DataframeOutput(orient="split")), LABELLED) == [expected]


def test_labels_that_a_client_gives_twice_do_not_tell_its_rows_apart() -> None:
    twice = {**LABELLED, "index": ["x", "x"]}
    assert asked(inference(lambda df: df["id"], FRAMES), twice) == [[7, 8]]
    mixed = {"columns": ["id"], "index": ["x", "y", "x"], "data": [[7], [8], [9]]}
    with pytest.raises(ResultMismatchError, match="`x` occurs twice"):
        asked(inference(lambda df: df.sort_index()["id"], FRAMES), mixed)


@pytest.mark.parametrize("reset", [False, True])
def test_the_rows_of_discarded_requests_leave_no_trace(reset: bool) -> None:
    def predict(df: pd.DataFrame, tasks: Sequence[InferenceTask]) -> Any:
        tasks[0].discard("no")
        kept = df.iloc[1:].reset_index(drop=True) if reset else df.iloc[1:]
        return kept.sort_values("key", ascending=False)[["id"]]

    answers = asked(inference(predict, FRAMES, DataframeOutput(orient="index")), *BODIES)
    assert answers == [{"error": "no", "request_id": "id"}, {"0": {"id": 2}, "1": {"id": 3}}]


# -- how many, of what kind --------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", ["labels", "scores"])


class Tensor:
    """What tensors of other libraries have: a shape, a length, slices, and a way to be an array."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, part: Any) -> Tensor:
        return Tensor(self._values[part])

    def numpy(self) -> Any:
        return self._values


KINDS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "list of arrays": lambda ids: [np.array([i]) for i in ids],
    "tuple": tuple,
    "tuple of dicts": lambda ids: tuple({"id": i} for i in ids),
    "array": np.array,
    "matrix": lambda ids: np.array([[i, i] for i in ids]).reshape(len(ids), 2),
    "structured": lambda ids: np.array(ids, dtype=object),
    "series": lambda ids: pd.Series(ids, dtype="int64"),
    "frame": lambda ids: pd.DataFrame({"id": ids}),
    "index": pd.Index,
    "categorical": pd.Categorical,
    "nullable": lambda ids: pd.array(ids, dtype="Int64"),
    "tensor": Tensor,
    "arrow array": pa.array,
    "arrow table": lambda ids: pa.table({"id": ids}),
    "deque": deque,
    "array of Python's": lambda ids: array.array("q", ids),
    "outputs by name": lambda ids: {"id": ids, "double": np.array(ids) * 2},
    "ordered outputs": lambda ids: OrderedDict(id=pd.Series(ids)),
    "frames by name": lambda ids: {"id": pd.DataFrame({"id": ids})},
}


def plain(value: Any) -> Any:
    """Return the ids in an answer, whatever holds them."""
    if isinstance(value, dict):
        return plain(value["id"])
    return plain(value[0]) if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.integers(-2, 2))
def test_another_number_of_results_of_any_kind_is_an_error(kind: str, counts: list[int], more: int) -> None:
    total = sum(counts)
    bodies: list[list[list[int]]] = []
    for count in counts:
        start = sum(map(len, bodies))
        bodies.append([[start + i] for i in range(count)])
    ids = [*range(total), *range(total)][: max(total + more, 0)]
    rows, items = inference(lambda _: KINDS[kind](ids), ARRAYS), inference(lambda _: KINDS[kind](ids), ITEMS)
    if len(ids) != total:
        with pytest.raises(ResultMismatchError, match=f"was given {total} inputs? and returned "):
            asked(rows, *bodies)
        with pytest.raises(ResultMismatchError, match=f"was given {total} inputs? and returned "):
            asked(items, *range(total))
        return
    assert [plain(answer) for answer in asked(items, *range(total))] == ids
    for answer, body in zip(asked(rows, *bodies), bodies, strict=True):
        own = answer["id"] if isinstance(answer, dict) else answer
        assert [plain(row) for row in own] == [row[0] for row in body]


OUTPUTS: dict[str, tuple[Callable[[int], Any], str]] = {
    "arrays": (lambda n: (np.zeros(n), np.ones(n)), "2 arrays of {n}"),
    "one array": (lambda n: (np.zeros(n),), "1 array of {n}"),
    "three arrays": (lambda n: (np.zeros(n),) * 3, "3 arrays of {n}"),
    "arrays of one row": (lambda n: tuple(np.zeros((n, 2)) for _ in range(n)), "{n} array{s} of {n}"),
    "series": (lambda n: (pd.Series([0] * n), pd.Series([1] * n)), "2 series of {n}"),
    "frames": (lambda n: (pd.DataFrame({"a": [0] * n}),) * 2, "2 frames of {n}"),
    "lists": (lambda n: ([0] * n, [1] * n), "2 lists of {n}"),
    "tuples": (lambda n: ((0,) * n, (1,) * n), "2 tuples of {n}"),
    "tensors": (lambda n: (Tensor([0] * n), Tensor([1] * n)), "2 `Tensor`s of {n}"),
    "a named tuple": (lambda n: Pair(np.zeros(n), np.ones(n)), "2 arrays of {n}"),
    "mixed": (lambda n: (np.zeros(n), [1] * n), "a tuple of 2 (`ndarray`, `list`)"),
    "an array and none": (lambda n: (np.zeros(n), None), "a tuple of 2 (`ndarray`, `NoneType`)"),
    "an array and a word": (lambda n: (np.zeros(n), "v1"), "a tuple of 2 (`ndarray`, `str`)"),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_a_tuple_of_several_outputs_is_refused_however_many_they_are(outputs: str, n: int) -> None:
    make, what = OUTPUTS[outputs]
    for counts in ([None] * n, [1] * n, [n]):
        with pytest.raises(ResultMismatchError) as error:
            split(make(n), counts)
        assert str(error.value) == (
            f"The function returned {what.format(n=n, s='s'[: n - 1])}; return one result per input, e.g. "
            '`list(zip(labels, scores))`, or the outputs by name, e.g. `{"labels": labels, "scores": scores}`.'
        )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Pair("a", 0.5), "a single `Pair`"),
        (bytearray(2), "a single `bytearray`"),
        (memoryview(b"ab"), "a single `memoryview`"),
        (dict.fromkeys([1, 2]).values(), "a single `dict_values`"),
        (map(str, [1, 2]), "a single `map`"),
        ({}, "a single `dict`"),
        ({"a": {"x": 1}, "b": {"y": 2}}, "a single `dict`"),
        ({"a": [1], "b": [1, 2]}, "1 result as `a`"),
        ({"a": [1, 2, 3], "b": "xy"}, "3 results as `a` and a single `str` as `b`"),
        ({"a": [1, 2], "b": 0.5}, "a single `float` as `b`"),
    ],
)
def test_what_is_no_result_per_input_is_said(value: Any, what: str) -> None:
    with pytest.raises(ResultMismatchError) as error:
        split(value, [None, 1])
    assert str(error.value) == (
        f"The function was given 2 inputs and returned {what}: return a list, an array or a frame with one result for "
        "each input, in their order."
    )


def test_a_tuple_among_outputs_by_name_is_refused_too() -> None:
    with pytest.raises(ResultMismatchError, match="2 arrays of 2"):
        split({"a": (np.zeros(2), np.ones(2))}, [None, None])


@pytest.mark.parametrize(
    "value", [scipy.sparse.coo_matrix(np.eye(2)), pd.DataFrame({"a": [1, 2]}).groupby("a")], ids=["coo", "groups"]
)
def test_what_cannot_be_cut_is_said(value: Any) -> None:
    with pytest.raises(ResultMismatchError, match=f"returned a `{type(value).__name__}`, which cannot be cut"):
        split(value, [1, 1])


# -- outputs by name ---------------------------------------------------------------------------------------------------


def named(df: pd.DataFrame) -> dict[str, Any]:
    return {"label": df["id"].astype(str).tolist(), "score": np.array([[i, 0.5] for i in df["id"]])}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("default", {"label": ["2", "3"], "score": [[2.0, 0.5], [3.0, 0.5]]}),
        ("json", {"label": ["2", "3"], "score": [[2.0, 0.5], [3.0, 0.5]]}),
        ("dataframe", [{"label": "2", "score": [2.0, 0.5]}, {"label": "3", "score": [3.0, 0.5]}]),
        (
            DataframeOutput(orient="columns"),
            {"label": {"0": "2", "1": "3"}, "score": {"0": [2.0, 0.5], "1": [3.0, 0.5]}},
        ),
    ],
)
def test_each_request_gets_its_rows_of_every_output(output: Any, expected: Any) -> None:
    assert asked(inference(named, FRAMES, output), *BODIES)[1] == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [("default", {"a": 4, "b": 8}), ("json", {"a": 4, "b": 8}), ("dataframe", [{"a": 4, "b": 8}])],
)
def test_a_request_that_is_one_item_gets_an_element_of_every_output(output: str, expected: Any) -> None:
    def predict(values: list[int]) -> Any:
        return {"a": np.array(values), "b": [value * 2 for value in values]}

    assert asked(inference(predict, ITEMS, output), 3, 4)[1] == expected


def test_outputs_in_different_orders_are_each_put_back() -> None:
    def predict(df: pd.DataFrame) -> Any:
        return {"a": df.sort_values("key")["id"], "b": df["id"].iloc[::-1], "c": df["id"].tolist()}

    assert asked(inference(predict, FRAMES), *BODIES)[1] == {"a": [2, 3], "b": [2, 3], "c": [2, 3]}


def test_outputs_with_different_labels_stand_side_by_side() -> None:
    def predict(df: pd.DataFrame) -> Any:
        return {"a": df["id"], "b": pd.Series(df["id"].to_numpy(), index=["x", "y", "z"])}

    assert asked(inference(predict, FRAMES, "dataframe"), *BODIES)[1] == [{"a": 2, "b": 2}, {"a": 3, "b": 3}]


# -- memory ------------------------------------------------------------------------------------------------------------

BUFFER = np.zeros((8, 1), dtype="int64")


def into_buffer(rows: Any) -> Any:
    BUFFER[: len(rows)] = rows
    return BUFFER[: len(rows)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: rows,
        lambda rows: {"id": rows},
        lambda rows: pd.DataFrame(rows, copy=False),
        lambda rows: list(rows),
        lambda rows: rows.T[0],
    ],
)
def test_answers_are_no_views_of_what_the_function_writes_again(wrap: Any) -> None:
    api = inference(lambda rows: wrap(into_buffer(rows)), ARRAYS, "json")
    tasks = [api.decode(Payload(json.dumps([[i]]).encode(), "application/json")) for i in (1, 2)]
    values, answers = api.run(tasks), api.answer(tasks)
    BUFFER[:] = 9
    rest = Rest(api.spec.output, "predict")
    assert [rest.encode(value, task).body for value, task in zip(values, tasks, strict=True)] == [
        answer.body for answer in answers
    ]
    assert b"9" not in answers[0].body


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 131_072, 140_000])
def test_a_result_of_the_functions_own_is_seen_among_any_number_of_rows(place: int) -> None:
    error = InferenceError("broken", 503)
    rows = [0] * 140_001
    rows[place] = error  # type: ignore[call-overload]

    assert split(rows, [140_001, 0]) == [error, []]
