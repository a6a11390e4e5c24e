"""The rule for keys and values of labels."""

from __future__ import annotations

import pytest

from kappa.errors import UsageError
from kappa.labels import check_label, parse_labels


@pytest.mark.parametrize("text", ["a", "0", "created_by", "Tim_Apple", "2020.9.10-2020.9.11", "a" * 63])
def test_a_label(text: str) -> None:
    assert check_label(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", ".a", "a_", "a b", "a\n", "ä", "a" * 64, "a/b"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be the key of a label: use 1 to 63"):
        check_label(text, what="key")


def test_labels_from_a_command_line() -> None:
    assert parse_labels(["team=growth", "stage=prod", "team=growth"]) == {"team": "growth", "stage": "prod"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["team"], "The label `team` has no value: write `team=<value>`."),
        (["team=a", "team=b"], "The label `team` is given twice, as `a` and as `b`."),
        (["url=a=b"], "`a=b` cannot be the value of a label: use 1 to 63 letters, digits, `-`, `_` and `.`, "),
    ],
)
def test_what_is_no_list_of_labels(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_labels(pairs)
    assert str(error.value)[: len(message)] == message
