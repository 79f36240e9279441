"""The numbers of galleries rise by the clock, and by one where the clock does not help."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from attendance.days import MAX_MS, to_ms
from attendance.galleries import HIGHEST, is_believable, next_version

NOW_MS = to_ms(datetime(2026, 11, 30, tzinfo=UTC))
SECONDS = 218_160_000


@pytest.mark.parametrize(
    ("last", "held", "now_ms", "wanted"),
    [
        (0, 0, NOW_MS, SECONDS),
        (3, 9, NOW_MS + 999, SECONDS),  # from before they counted seconds
        (SECONDS, 0, NOW_MS, SECONDS + 1),
        (SECONDS, SECONDS + 7, NOW_MS, SECONDS + 8),
        (4, 2, 0, 5),  # a clock that tells 1970
        (0, 0, 0, 1),
        (HIGHEST, HIGHEST, NOW_MS, HIGHEST + 1),
    ],
)
def test_above_everything_that_is_known(last: int, held: int, now_ms: int, wanted: int) -> None:
    assert next_version(last, held, now_ms) == wanted


def test_what_no_desk_can_have_given_is_not_believed() -> None:
    assert is_believable(next_version(0, 0, MAX_MS), 0), "not even the last year's clock"
    assert is_believable(HIGHEST + 1, HIGHEST + 1), "where it was given all the same"
    for absurd in (-1, HIGHEST + 1, 2**63 - 1, 2**70):
        assert not is_believable(absurd, SECONDS)
