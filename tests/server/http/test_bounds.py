from __future__ import annotations

import pytest

from kappa.server.http.bounds import SEND_TIMEOUT_S, Unsent


class Transport:
    """What waits in it to be sent, look after look."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = iter(sizes)

    def get_write_buffer_size(self) -> int:
        return next(self.sizes)


@pytest.mark.parametrize(
    ("sizes", "stuck"),
    [
        pytest.param([0] * 5, False, id="nothing-to-send"),
        pytest.param([100_000] * 5, True, id="nothing-is-read"),
        pytest.param([5] * 5, True, id="the-last-bytes-are-not-read"),
        pytest.param([100_000 - i for i in range(5)], True, id="a-byte-now-and-then"),
        pytest.param([100_000 - 10_000 * i for i in range(5)], False, id="slowly"),
        pytest.param([100_000, 60_000, 100_000, 60_000, 100_000], False, id="in-pieces"),
        pytest.param([100_000, 100_000, 0, 5, 0], False, id="at-last"),
    ],
)
def test_a_client_that_reads_next_to_nothing_is_stuck(sizes: list[int], stuck: bool) -> None:
    unsent, transport = Unsent(), Transport(sizes)
    found = [unsent.is_stuck(transport, look * SEND_TIMEOUT_S * 0.6) for look in range(5)]  # type: ignore[arg-type]
    assert any(found) is stuck
