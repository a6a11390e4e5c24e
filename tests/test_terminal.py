"""The bar of a transfer: on a terminal, from the first bytes on, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from kappa.terminal import showing_bytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, kind: str = "xterm") -> Terminal:
    """Make stderr a terminal, and return it; pytest takes it away from what a fixture does."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_a_bar_appears_with_the_first_bytes_and_goes_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    started: list[str] = []
    with showing_bytes("Pushing Iris", on_start=lambda: started.append(terminal.getvalue())) as watch:
        assert watch is not None
        assert (terminal.getvalue(), started) == ("", [])
        watch(250_000, 1_000_000)
        watch(1_000_000, 1_000_000)
        assert started == [""]
    assert "Pushing Iris" in terminal.getvalue()
    assert "1.0/1.0 MB" in terminal.getvalue()


def test_without_bytes_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with showing_bytes("Pushing"):
        pass
    assert terminal.getvalue() == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch, kind="dumb")
    with showing_bytes("Pushing") as watch:
        assert watch is None


def test_what_is_not_a_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with showing_bytes("Pushing") as watch:
        assert watch is None
