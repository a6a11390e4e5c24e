"""The one table of what a request is answered that has no result."""

from __future__ import annotations

import pytest

from kappa.errors import BadInputError, InferenceFailedError, ResultMismatchError
from kappa.server.batching.failure import BatchFailedError
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.decoding import DecodingOverdueError
from kappa.server.failures import ClientGoneError, NotReadyError, outcome_of, refused, too_large


class OwnError(BadInputError):
    """A user's own kind of refusal."""


class Strange(BadInputError):
    """A user's own, which has no status."""

    @property
    def http_status(self) -> int:
        raise RuntimeError

    @http_status.setter
    def http_status(self, _value: int) -> None:
        """Forget it."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(BadInputError("no"), (400, "INVALID_ARGUMENT", "bad_input"), id="bad-input"),
        pytest.param(BadInputError("no", http_status=413), (413, "INVALID_ARGUMENT", "bad_input"), id="own-status"),
        pytest.param(OwnError("no", http_status=499), (499, "INVALID_ARGUMENT", "bad_input"), id="own-class"),
        pytest.param(OwnError("no", http_status=399), (500, "INTERNAL", "failed"), id="below-refusals"),
        pytest.param(OwnError("no", http_status=500), (500, "INTERNAL", "failed"), id="no-refusal"),
        pytest.param(OwnError("no", http_status="gone"), (500, "INTERNAL", "failed"), id="no-status"),  # type: ignore[arg-type]
        pytest.param(Strange("no"), (500, "INTERNAL", "failed"), id="unreadable-status"),
        pytest.param(too_large(9), (413, "INVALID_ARGUMENT", "bad_input"), id="too-large"),
        pytest.param(ClientGoneError(), (499, "CANCELLED", "client_gone"), id="gone"),
        pytest.param(DecodingOverdueError(1.0), (504, "DEADLINE_EXCEEDED", "decoding_overdue"), id="decoding"),
        pytest.param(ExpiredError(), (504, "DEADLINE_EXCEEDED", "expired"), id="expired"),
        pytest.param(OverdueError(1.0), (504, "DEADLINE_EXCEEDED", "overdue"), id="overdue"),
        pytest.param(NotReadyError(), (503, "UNAVAILABLE", "loading"), id="loading"),
        pytest.param(RefusedError("target", retry_after_s=1), (503, "UNAVAILABLE", "refused"), id="refused"),
        pytest.param(BatchFailedError(BadInputError("no"), 2), (500, "INTERNAL", "failed"), id="batch"),
        pytest.param(ResultMismatchError("no"), (500, "INTERNAL", "failed"), id="mismatch"),
        pytest.param(InferenceFailedError("no"), (500, "INTERNAL", "failed"), id="inference"),
        pytest.param(ZeroDivisionError(), (500, "INTERNAL", "failed"), id="any-other"),
    ],
)
def test_each_error_has_one_row(error: Exception, outcome: tuple[int, str, str]) -> None:
    assert outcome_of(error) == outcome


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (59.5, 60)])
def test_a_refusal_says_in_how_many_whole_seconds_to_return(seconds: float, told: int) -> None:
    failure = refused("target", seconds)
    assert failure.retry_after_s == told
    assert failure.message == f"The service cannot take this request now (target); try again in {told} s."
