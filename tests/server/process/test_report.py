from __future__ import annotations

import os

import pytest

from kappa import errors
from kappa.errors import BadInputError, BundleError, KappaError, ManifestError, MissingDependencyError
from kappa.server.process.report import FirstStart, Report, say_failed, say_ready


@pytest.mark.parametrize(
    "error",
    [
        BundleError("The artifact is missing."),
        BadInputError("no"),
        ManifestError("two problems", diagnostics=[1, 2]),
        MissingDependencyError("torch", needed_for="the artifact `model`"),
        KappaError("straße " * 1000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_with_its_class_and_message(error: KappaError) -> None:
    report = Report()
    report.say_failed(error)
    report.say_failed(KappaError("a later one"))
    report.read()
    report.close()
    assert type(report.failure) is type(error)
    assert str(error).startswith(str(report.failure))
    assert len(str(report.failure)) >= min(1500, len(str(error)))


def test_every_error_class_can_be_told() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, KappaError):
            report = Report()
            report.say_failed(kind.__new__(kind, "what happened"))
            report.read()
            report.close()
            assert (type(report.failure), str(report.failure)) == (kind, "what happened")


def test_processes_say_that_they_are_ready_with_what_they_know() -> None:
    report = Report()
    report.read()
    assert (report.ready, report.failure) == ({}, None)
    writer = report.detach_writer()
    say_ready(writer, modules=["pandas"])
    report.read()
    assert report.ready == {os.getpid(): {"modules": ["pandas"]}}
    say_failed(writer, KappaError("late"))
    os.close(writer)
    report.read()
    report.close()
    assert str(report.failure) == "late"


def test_processes_say_that_they_leave_or_should_be_replaced() -> None:
    report = Report()
    report.say_worn()
    report.read()
    assert (report.worn, report.leaving) == ({os.getpid()}, set())
    report.say_leaving()
    report.read()
    report.close()
    assert (report.worn, report.leaving) == ({os.getpid()}, {os.getpid()})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_the_first_start_is_over_when_each_of_the_first_workers_has_been_ready() -> None:
    start = FirstStart(2)
    seen = []
    for number in (3, 2, 2, 1, 4):
        if not (pid := os.fork()):
            start.join(number)
            start.be_ready()
            os._exit(0)
        os.waitpid(pid, 0)
        seen.append(start.is_over)
    assert seen == [False, False, False, True, True]
