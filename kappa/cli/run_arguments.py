"""The arguments of `kappa run` that click does not know: several values after one option, and `--input-NAME`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import click

from kappa.cli.command import KappaCommand

__all__ = ["NAMED_INPUTS", "NamedInput", "ResultForm", "RunCommand", "spread_values"]

ResultForm = Literal["json", "str", "csv", "table"]
_NAMED = re.compile(r"--input-(?P<kind>file-)?(?P<name>[A-Za-z_]\w*)(?:=(?P<value>.*))?", re.DOTALL)
"""`--input-NAME` and `--input-file-NAME`, which adapters of several inputs have."""
NAMED_INPUTS = "kappa.run.named_inputs"
"""Under which the click context keeps the values of `--input-NAME`."""


class RunCommand(KappaCommand):
    """Takes several values after one `--input`, as a shell gives them for `--input-file *.json`, and `--input-NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        with_value = {name for option in options if not option.is_flag for name in option.opts}
        spread = spread_values(
            args,
            spreading={"--input", "--input-file"},
            with_value=with_value,
            flags={name for option in options if option.is_flag for name in option.opts} | {"-h", "--help"},
            arguments=len(self.params) - len(options),
        )
        rest, ctx.meta[NAMED_INPUTS] = _without_named(spread, ctx, names=with_value)
        try:
            return super().parse_args(ctx, rest)
        except click.UsageError as exc:
            if "unexpected extra argument" not in exc.message:
                raise
            raise click.UsageError(f"{exc.message}: inputs follow `--input` or `--input-file`.", ctx) from None


def spread_values(
    args: Sequence[str],
    *,
    spreading: Collection[str],
    with_value: Collection[str],
    flags: Collection[str],
    arguments: int,
) -> list[str]:
    """Rewrite ``--input a b`` to ``--input a --input b``.

    Only once the ``arguments`` positional words were seen: before, the word after the first value is one of them. A
    value may begin with a dash, as negative numbers do, unless it is the name of an option.
    """
    rewritten: list[str] = []
    words = list(args)
    seen = 0
    while words:
        word = words.pop(0)
        rewritten.append(word)
        if word == "--":
            return rewritten + words
        is_named = word not in with_value and _NAMED.fullmatch(word) is not None
        if word in with_value or (is_named and "=" not in word):
            rewritten += words[:1]
            del words[:1]
            is_spreading = word in spreading or is_named
            while is_spreading and seen >= arguments and words and words[0] not in {*with_value, *flags, "--"}:
                if words[0].startswith("--"):
                    break
                rewritten += [word, words.pop(0)]
        elif word not in flags and not word.startswith("--"):
            seen += 1
    return rewritten


@dataclass(frozen=True, slots=True)
class NamedInput:
    """One value of `--input-NAME`, or one file of `--input-file-NAME`."""

    option: str
    name: str
    is_file: bool
    value: str


def _without_named(
    args: Sequence[str], ctx: click.Context, *, names: Collection[str]
) -> tuple[list[str], list[NamedInput]]:
    """Take `--input-NAME VALUE` out of the arguments: only the API can tell which names there are."""
    rest: list[str] = []
    named: list[NamedInput] = []
    words = list(args)
    while words:
        word = words.pop(0)
        match = _NAMED.fullmatch(word)
        if word == "--":
            return [*rest, word, *words], named
        if match is None or word.partition("=")[0] in names:
            rest.append(word)
            continue
        value = match["value"]
        if value is None:
            if not words:
                raise click.BadOptionUsage(word, f"Option '{word}' requires an argument.", ctx)
            value = words.pop(0)
        named.append(NamedInput(word.partition("=")[0], match["name"], match["kind"] is not None, value))
    return rest, named
