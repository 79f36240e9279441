"""What the days in the village earn, line by line, and what changed since a month was signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from server.rules.terms import Allowance
from server.rules.verdict import HERE
from server.rules.visits import Visit

#: Why a day counts or does not, as keys for the pages.
PAID = "paid"
NOT_HERE = "not_here"
OTHER_SITE = "other_site"
ON_LEAVE = "on_leave"
DOUBTFUL = "doubtful"
TOO_SHORT = "too_short"
TOO_LATE = "too_late"
OPEN = "open"


@dataclass(frozen=True)
class Line:
    """One official's day on the statement: what it earns in fen, why, and the visit it rests on."""

    day: date
    fen: int
    why: str
    site: str = ""
    begins_ms: int | None = None
    ends_ms: int | None = None
    cls: str = ""
    records: tuple[str, ...] = ()
    corrected: tuple[int, ...] = ()


@dataclass(frozen=True)
class Adjustment:
    """A day of a signed month that is worth something else now. `fen` is the difference."""

    official: str
    day: date
    was_fen: int
    is_fen: int

    @property
    def fen(self) -> int:
        """What is to be paid in addition, or below 0 to be kept back."""
        return self.is_fen - self.was_fen


def day_line(
    day: date,
    verdict: str,
    visits: Sequence[Visit],
    site_kinds: Mapping[str, str],
    terms: Allowance,
    corrected: tuple[int, ...] = (),
) -> Line:
    """What one day earns. `site_kinds` are the kinds of sites by name.

    Only verified facts make visits. Of several visits the first that counts is named; minutes of
    all that count are added up where the rule asks for a least time.
    """
    if verdict in ("leave", "trip"):
        return Line(day, 0, ON_LEAVE, corrected=corrected)
    if verdict in ("not_known", "not_yet"):
        return Line(day, 0, OPEN, corrected=corrected)
    if verdict not in HERE:
        return Line(day, 0, NOT_HERE, corrected=corrected)
    there = [v for v in visits if site_kinds.get(v.site) in terms.site_kinds]
    if not there:
        return Line(day, 0, OTHER_SITE, visits[0].site if visits else "", corrected=corrected)
    sure = [v for v in there if v.cls in terms.classes]
    shown = (sure or there)[0]
    fen, why = terms.fen, PAID
    if not sure:
        fen, why = 0, DOUBTFUL
    elif verdict == "late" and not terms.late_counts:
        fen, why = 0, TOO_LATE
    elif terms.min_minutes and sum(v.minutes or 0 for v in sure) < terms.min_minutes:
        fen, why = 0, TOO_SHORT
    return Line(
        day,
        fen,
        why,
        shown.site,
        None if shown.begins is None else shown.begins.at_ms,
        None if shown.ends is None else shown.ends.at_ms,
        str(shown.cls),
        shown.records,
        corrected,
    )


def adjustments(
    stated: Mapping[tuple[str, date], int], present: Mapping[tuple[str, date], int]
) -> list[Adjustment]:
    """Days whose worth in fen is no longer what signed statements said of them, by official, day.

    `stated` is what was signed, earlier adjustments included; a key that lacks is worth 0.
    """
    return [
        Adjustment(official, day, stated.get((official, day), 0), present.get((official, day), 0))
        for official, day in sorted(stated.keys() | present.keys())
        if stated.get((official, day), 0) != present.get((official, day), 0)
    ]


def total_fen(lines: Iterable[Line], changes: Iterable[Adjustment] = ()) -> int:
    """The sum of lines and adjustments."""
    return sum(line.fen for line in lines) + sum(change.fen for change in changes)
