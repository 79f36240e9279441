"""A month of verdicts: totals that add up, and the days toward the month's minimum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from attendance.statuses import SiteKind
from server.rules.verdict import HERE, VERDICTS


@dataclass(frozen=True)
class DayMark:
    """What one day contributes: the verdict, whether they were expected, and the kinds of site
    where verified records show them."""

    verdict: str
    expected: bool
    here: frozenset[str] = frozenset()
    doubtful: bool = False


@dataclass(frozen=True)
class Totals:
    """One official's month.

    `verdicts` counts days by verdict and adds up to the days given; `village_days` are days with
    verified presence in a village that is not doubtful; `short_by` is what lacks of the minimum, 0
    where there is none or it is reached; `open_days` are those that may still change.
    """

    verdicts: dict[str, int]
    expected_days: int
    here_days: int
    village_days: int
    minimum: int
    short_by: int
    open_days: int


def totals(days: Iterable[DayMark], minimum: int) -> Totals:
    """The totals of one official's days; `minimum` are the days a month in the village, 0 for none.

    Leave stands until a leader decides, so a day on leave never counts toward the minimum.
    """
    listed = list(days)
    counted = Counter(day.verdict for day in listed)
    village = sum(
        day.verdict in HERE and not day.doubtful and SiteKind.VILLAGE in day.here for day in listed
    )
    return Totals(
        verdicts={verdict: counted[verdict] for verdict in VERDICTS if counted[verdict]},
        expected_days=sum(day.expected for day in listed),
        here_days=sum(day.verdict in HERE for day in listed),
        village_days=village,
        minimum=minimum,
        short_by=max(minimum - village, 0),
        open_days=sum(day.verdict in ("not_known", "not_yet") for day in listed),
    )
