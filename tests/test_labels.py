"""The rule for keys and values of labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import UsageError
from kappa.labels import LABEL, Requirement, check_label, matches, parse_labels, parse_selector


@pytest.mark.parametrize("text", ["a", "0", "created_by", "Tim_Apple", "2020.9.10-2020.9.11", "a" * 63])
def test_a_label(text: str) -> None:
    assert check_label(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", ".a", "a_", "a b", "a\n", "ä", "a" * 64, "a/b"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be the key of a label: use 1 to 63"):
        check_label(text, part="key")


def test_labels_from_a_command_line() -> None:
    assert parse_labels(["team=growth", "stage=prod", "team=growth"]) == {"team": "growth", "stage": "prod"}
    assert parse_labels(["team:growth,stage:prod", "by=me, at:2026"]) == {
        "team": "growth",
        "stage": "prod",
        "by": "me",
        "at": "2026",
    }


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["team"], "The label `team` has no value: write `team=<value>`."),
        (["a=b,"], "The label `` has no value: write `key=<value>`."),
        (["a:b:c"], "`b:c` cannot be the value of a label: use 1 to 63 letters, digits, `-`, `_` and `.`, "),
        (["team=a", "team=b"], "The label `team` is given twice, as `a` and as `b`."),
        (["url=a=b"], "`a=b` cannot be the value of a label: use 1 to 63 letters, digits, `-`, `_` and `.`, "),
    ],
)
def test_what_is_no_list_of_labels(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_labels(pairs)
    assert str(error.value)[: len(message)] == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("framework=pytorch", [Requirement("framework", "in", ("pytorch",))]),
        ("cicd_result!=failed", [Requirement("cicd_result", "notin", ("failed",))]),
        ("a = b", [Requirement("a", "in", ("b",))]),
        ("framework In (xgboost, lightgbm)", [Requirement("framework", "in", ("xgboost", "lightgbm"))]),
        ("platform NOTIN(lambda,azure-function)", [Requirement("platform", "notin", ("lambda", "azure-function"))]),
        ("fb_cohort Exists", [Requirement("fb_cohort", "exists")]),
        ("cicd doesnotexist", [Requirement("cicd", "doesnotexist")]),
        ("team", [Requirement("team", "exists")]),
        (
            "key1=value1, key2 In (value2, value3)",
            [Requirement("key1", "in", ("value1",)), Requirement("key2", "in", ("value2", "value3"))],
        ),
    ],
)
def test_a_selector(text: str, expected: list[Requirement]) -> None:
    assert list(parse_selector(text)) == expected


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "it is empty"),
        ("  ", 3, "it is empty"),
        ("a,,b", 3, "a requirement is empty"),
        ("a=b,", 5, "a requirement is empty"),
        ("a==b", 1, "`a==b` is not a requirement"),
        ("a=", 1, "`` cannot be the value of a label"),
        ("a In ()", 1, "`` cannot be the value of a label"),
        ("a In b", 1, "`a In b` is not a requirement"),
        ("a Foo (b)", 1, "`a Foo (b)` is not a requirement"),
        ("in", 1, "`in` has no key before it"),
        ("exists", 1, "`exists` has no key before it"),
        ("-a=b", 1, "`-a` cannot be the key of a label"),
        ("a=b c", 1, "`a=b c` is not a requirement"),
        ("a in (b))", 9, "`)` is not expected after `a in (b)`"),
        ("a b c", 1, "`a b c` is not a requirement"),
        ("a=b,  c In (d), e f", 17, "`e f` is not a requirement"),
        ("a In (b, c), d=-", 14, "`-` cannot be the value of a label"),
        ("a In (b), , c", 11, "a requirement is empty"),
    ],
)
def test_what_is_no_selector(text: str, column: int, problem: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_selector(text)
    assert str(error.value).startswith(f"The label selector `{text}` cannot be read at column {column}: {problem}")


OPERATORS = ("in", "notin", "exists", "doesnotexist")
keys = st.from_regex(LABEL, fullmatch=True).filter(lambda key: key.lower() not in OPERATORS)
values = st.from_regex(LABEL, fullmatch=True)
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["in", "notin"]), st.lists(values, min_size=1, max_size=3).map(tuple)),
    st.builds(Requirement, keys, st.sampled_from(["exists", "doesnotexist"])),
)


def written(one: Requirement) -> str:
    words = {"in": "In", "notin": "NotIn", "exists": "Exists", "doesnotexist": "DoesNotExist"}
    return f"{one.key} {words[one.operator]}" + (f" ({', '.join(one.values)})" if one.values else "")


@given(st.lists(requirements, min_size=1, max_size=4))
def test_a_selector_is_read_back_as_it_was_written(selector: list[Requirement]) -> None:
    assert list(parse_selector(", ".join(map(written, selector)))) == selector


@given(st.dictionaries(keys, values, max_size=4), keys, values)
def test_only_absence_selects_what_does_not_have_the_key(labels: dict[str, str], key: str, value: str) -> None:
    labels.pop(key, None)
    for operator in ("in", "notin"):
        assert not Requirement(key, operator, (value,)).holds(labels)
    assert not Requirement(key, "exists").holds(labels)
    assert Requirement(key, "doesnotexist").holds(labels)
    with_key = {**labels, key: value}
    assert Requirement(key, "in", (value,)).holds(with_key)
    assert not Requirement(key, "notin", (value,)).holds(with_key)
    assert not matches(with_key, [Requirement(key, "exists"), Requirement(key, "doesnotexist")])
