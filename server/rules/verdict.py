"""One official on one day: came, late, early, away, absent, or not yet known, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from attendance.clock import ClockClass
from attendance.days import day_of, day_start_ms
from attendance.statuses import Status
from attendance.whereabouts import Absence, Fact, standing, taken_back
from server.rules import flags
from server.rules.corrections import Ruled
from server.rules.roster import Expected
from server.rules.visits import PRESENT, Visit, visits_in

AWAY = {Status.ON_LEAVE: "leave", Status.BUSINESS_TRIP: "trip"}
#: Verdicts, in the order in which a supervisor wants them.
VERDICTS = (
    "absent",
    "unverified_only",
    "late",
    "early",
    "not_known",
    "not_yet",
    "came",
    "trip",
    "leave",
    "not_expected",
)
#: A check-out alone before this time of the day ends a stay of the day before: whoever left at
#: twenty past midnight had come yesterday, and has not come today. Milliseconds after midnight.
STAYED_UNTIL_MS = 6 * 3_600_000
#: Those of somebody who was there.
HERE = ("came", "late", "early")


class Discrepancy(msgspec.Struct, frozen=True, gc=False):
    """Something to look into: a word of `server.rules.flags`, and which site or record."""

    kind: str
    site: str | None = None
    record_id: str | None = None


def believed(complete_until_ms: int | None, now_ms: int) -> int | None:
    """A kiosk's watermark as far as anybody may rely on it at `now_ms`; None for not at all.

    One that lies ahead was written when the server's clock was ahead, at a moment that nobody knows
    any more. Nothing takes its place: a later contact does not say that nothing waited then.
    """
    ahead = complete_until_ms is not None and complete_until_ms > now_ms
    return None if ahead else complete_until_ms


@dataclass(frozen=True)
class Kiosk:
    """A kiosk as far as completeness goes: every record before `complete_until_ms` is here.

    `apart_ms` is the first moment of which a record that was set aside may speak, where one awaits
    a review.
    One that a restored server forgot was paired again at `again_ms`. It stood there before, from
    nobody knows when on: since `paired_ms` at the earliest.
    """

    device: str
    paired_ms: int
    revoked_ms: int | None
    complete_until_ms: int | None
    last_contact_ms: int | None
    apart_ms: int | None = None
    again_ms: int | None = None


class Kiosks:
    """The kiosks of a township by site id: which stood where, and whether their records are here.

    A kiosk that was revoked before a day began says nothing of it; one that was revoked later and
    had not sent everything never will, and the day stays open for a person to decide. So does a day
    whose records were removed: those stored before `removed_ms`; and one on which a kiosk may have
    stood there that the server forgot.
    """

    def __init__(self, at: Mapping[int, Sequence[Kiosk]], removed_ms: int | None = None) -> None:
        self.at = dict(at)
        self.removed_ms = removed_ms
        self._complete: dict[tuple[int, int, int], bool] = {}

    def on(self, site_id: int, start_ms: int, end_ms: int) -> list[Kiosk]:
        """Those that stood at a site at some moment of `start_ms..end_ms`."""
        return [
            k
            for k in self.at.get(site_id, ())
            if k.paired_ms < end_ms and (k.revoked_ms is None or k.revoked_ms > start_ms)
        ]

    def complete(self, site_id: int, start_ms: int, end_ms: int) -> bool:
        """Whether every record of that site before `end_ms` has arrived."""
        if self.removed_ms is not None and start_ms < self.removed_ms:
            return False
        asked = (site_id, start_ms, end_ms)
        found = self._complete.get(asked)  # the same for everybody expected there
        if found is None:
            stood = self.on(site_id, start_ms, end_ms)
            found = bool(stood) and all(
                (k.complete_until_ms or 0) >= end_ms and start_ms >= (k.again_ms or 0)
                for k in stood
            )
            self._complete[asked] = found
        return found

    def set_aside(self, site_id: int, start_ms: int, end_ms: int) -> bool:
        """Whether records of that site before `end_ms` may be among those that await a review."""
        return any(
            k.apart_ms is not None and k.apart_ms < end_ms
            for k in self.on(site_id, start_ms, end_ms)
        )


class Case(msgspec.Struct, frozen=True, gc=False):
    """All that one official's day is judged by.

    The day reaches from `start_ms` until before `end_ms` (`roster.day_reaches`). `ruled` are its
    facts after corrections; `absences` touch it, and a void one takes back what was declared of its
    status; `reaching` are the facts of other days whose interval touches it.
    """

    day: date
    start_ms: int
    end_ms: int
    ruled: Ruled
    absences: Sequence[Absence]
    expected: Sequence[Expected]
    reaching: Sequence[Fact] = ()


class Judgement(msgspec.Struct, gc=False):
    """The verdict, one of VERDICTS, and what to look into.

    `doubtful` marks one that rests on class C alone, `pending` leave or a trip that nobody has
    approved, `excused` lateness that a person forgave. `late_ms` and `early_ms` are how much at the
    least, 0 for not. `corrected` are ids of corrections.
    """

    verdict: str
    found: tuple[Discrepancy, ...] = ()
    visits: tuple[Visit, ...] = ()
    doubtful: bool = False
    pending: bool = False
    excused: bool = False
    late_ms: int = 0
    early_ms: int = 0
    corrected: tuple[int, ...] = ()

    def add(self, kind: str, site: str | None = None, record_id: str | None = None) -> None:
        """Notes something to look into, once."""
        item = Discrepancy(kind, site, record_id)
        if item not in self.found:
            self.found += (item,)


def judge(case: Case, kiosks: Kiosks, now_ms: int) -> Judgement:
    """What that day was.

    Nobody is absent before the day is over and every kiosk of every site where they were expected
    has said that its records are complete past its end; till then they are `not_yet` or
    `not_known`. Class C alone decides nothing: it makes `came` doubtful, never late, never early,
    and keeps `absent` back.
    """
    made = Judgement("not_yet", corrected=case.ruled.by)
    stand = standing(case.ruled.facts)
    sure = [f for f in stand if f.verified]
    present = [f for f in sure if f.status in PRESENT]
    approved = [a for a in case.absences if a.approved]
    waiting = [a for a in case.absences if a.approved is False]
    # Somebody decided about what was declared: it stands no more (product.md, "Precedence").
    void = taken_back(case.absences, case.day)
    made.visits = tuple(visits_in(sure))
    if approved:
        # On the sheet leave stands until a leader decides (product.md, "Precedence").
        for fact in present:
            made.add(flags.LEAVE_CLASH, fact.site, fact.record_id)
        made.verdict = AWAY[approved[-1].status]
    elif present:
        _judge_presence(made, case, present, kiosks, now_ms)
    elif declared := [f for f in sure if f.status in AWAY and f.status not in void]:
        made.pending = True
        made.add(flags.PENDING)
        made.doubtful = _doubtful(declared)
        made.verdict = AWAY[declared[-1].status]
    elif waiting:
        made.pending = True
        made.add(flags.PENDING)
        made.verdict = AWAY[waiting[-1].status]
    elif (left := [f for f in sure if f.status not in AWAY]) and not _stayed(case, left):
        # A check-out alone: somebody was there.
        made.verdict, made.doubtful = "came", _doubtful(left)
        made.add(flags.DOUBTFUL if made.doubtful else flags.NO_CHECKIN, left[0].site)
    elif any(f.status not in void and f not in left for f in stand):
        made.verdict = "unverified_only"
    else:
        if left:
            made.visits = ()
            made.add(flags.NO_CHECKIN, left[0].site, left[0].record_id)
        _judge_nothing(made, case, kiosks, now_ms)
    return made


def _stayed(case: Case, left: Iterable[Fact]) -> bool:
    """Whether these check-outs only end a stay that began on the day before."""
    until = day_start_ms(case.day) + STAYED_UNTIL_MS
    return all(f.when.latest_ms < until for f in left)


def _doubtful(facts: Iterable[Fact]) -> bool:
    return all(f.when.cls is ClockClass.C for f in facts)


def _of_day(case: Case, fact: Fact) -> bool:
    """Whether it is of this day and no other: a bracket may hold the end of a week offline."""
    when = fact.when
    if when.cls is ClockClass.A:
        return True
    within = case.start_ms <= when.earliest_ms and when.latest_ms < case.end_ms
    return within and when.cls is ClockClass.B


def _judge_presence(
    made: Judgement, case: Case, present: list[Fact], kiosks: Kiosks, now_ms: int
) -> None:
    made.verdict, made.doubtful = "came", _doubtful(present)
    if made.doubtful or not any(_of_day(case, f) for f in present):
        made.add(flags.DOUBTFUL)
    names = {e.place.name for e in case.expected}
    if names and not any(f.site in names for f in present):
        made.add(flags.ELSEWHERE, present[0].site, present[0].record_id)
    timed = [e for e in case.expected if e.hours is not None]
    if not timed:
        return
    _look_at_start(made, case, timed, present, kiosks)
    _look_at_end(made, case, timed, kiosks, now_ms)
    _look_at_visits(made, case, timed, kiosks, now_ms)
    made.excused = case.ruled.excused and bool(made.late_ms or made.early_ms)
    if not made.excused and made.late_ms:
        made.verdict = "late"
    elif not made.excused and made.early_ms:
        made.verdict = "early"


def _hours_for(timed: list[Expected], site: str | None) -> Expected:
    """The hours that count for somebody at a site: its own, else the first to begin."""
    own = [e for e in timed if e.place.name == site]
    return min(own or timed, key=lambda e: e.hours.start_min if e.hours else 0)


def _arrived(
    case: Case, kiosks: Kiosks, until_ms: int, expected: Sequence[Expected] | None = None
) -> bool:
    """Whether all records of the expected sites before that moment are here."""
    return all(
        kiosks.complete(e.place.id, case.start_ms, until_ms)
        for e in (case.expected if expected is None else expected)
    )


def _say_why_open(made: Judgement, case: Case, kiosks: Kiosks, until_ms: int) -> None:
    """Names the expected sites whose records somebody has to review before more can be said."""
    for e in case.expected:
        if kiosks.set_aside(e.place.id, case.start_ms, until_ms):
            made.add(flags.SET_ASIDE, e.place.name)


def _look_at_start(
    made: Judgement, case: Case, timed: list[Expected], present: list[Fact], kiosks: Kiosks
) -> None:
    certain = [f for f in present if _of_day(case, f)]
    if not certain or len(certain) < len(present):
        return  # a doubtful record may have been the first
    first = min(certain, key=lambda f: f.when.earliest_ms)
    hours = _hours_for(timed, first.site).hours
    assert hours is not None  # noqa: S101 (`timed` are those with hours)
    limit = hours.late_after_ms(case.day) + 59_999  # 08:30 is not late at 08:30:59
    if first.when.earliest_ms > limit:
        before = [f for f in case.reaching if f.when.earliest_ms <= limit]
        if before:  # a doubtful record that the wall clock put on another day may be the first
            for fact in before:
                made.add(flags.DOUBTFUL_RECORD, fact.site, fact.record_id)
            made.add(flags.MAYBE_LATE, first.site, first.record_id)
        elif _arrived(case, kiosks, limit):
            made.late_ms = first.when.earliest_ms - hours.start_ms(case.day)
        else:
            made.add(flags.MAYBE_LATE, first.site, first.record_id)
            _say_why_open(made, case, kiosks, limit)
    elif first.when.latest_ms > limit:
        made.add(flags.MAYBE_LATE, first.site, first.record_id)


def _look_at_end(
    made: Judgement, case: Case, timed: list[Expected], kiosks: Kiosks, now_ms: int
) -> None:
    last = made.visits[-1]
    hours = _hours_for(timed, last.site).hours
    assert hours is not None  # noqa: S101
    limit, over = hours.early_before_ms(case.day), hours.end_ms(case.day)
    if now_ms < over or not _arrived(case, kiosks, over):
        return
    if last.ends is None:
        if now_ms >= case.end_ms and _arrived(case, kiosks, case.end_ms):
            made.add(flags.NO_CHECKOUT, last.site, last.records[-1])
    elif last.closed_by == "checkout" and last.ends.cls is not ClockClass.C:
        earliest = last.ends.earliest_ms
        if any(f.when.latest_ms >= earliest for f in case.reaching):
            if earliest < limit:  # a doubtful record may be a later visit
                made.add(flags.MAYBE_EARLY, last.site, last.records[-1])
        elif case.start_ms <= last.ends.earliest_ms and last.ends.latest_ms < limit:
            made.early_ms = hours.end_ms(case.day) - last.ends.latest_ms
        elif last.ends.earliest_ms < limit:
            made.add(flags.MAYBE_EARLY, last.site, last.records[-1])


def _look_at_visits(
    made: Judgement, case: Case, timed: list[Expected], kiosks: Kiosks, now_ms: int
) -> None:
    wanted = max(e.hours.visits for e in timed if e.hours is not None)
    here = {e.place.name for e in timed}
    if wanted <= 1 or sum(v.site in here for v in made.visits) >= wanted:
        return
    if now_ms >= case.end_ms and _arrived(case, kiosks, case.end_ms):
        made.add(flags.FEW_VISITS)


def _judge_nothing(made: Judgement, case: Case, kiosks: Kiosks, now_ms: int) -> None:
    if not case.expected:
        made.verdict = "not_expected"
        return
    if case.day >= day_of(now_ms) or now_ms < case.end_ms:
        return  # not yet
    for e in case.expected:
        if not kiosks.on(e.place.id, case.start_ms, case.end_ms):
            made.add(flags.NO_KIOSK, e.place.name)
    if case.ruled.absent:
        made.verdict = "absent"
    elif case.reaching:
        for fact in case.reaching:
            made.add(flags.DOUBTFUL_RECORD, fact.site, fact.record_id)
        made.verdict = "not_known"
    elif not _arrived(case, kiosks, case.end_ms):
        made.verdict = "not_known"
        _say_why_open(made, case, kiosks, case.end_ms)
    else:
        made.verdict = "absent"


def silent(
    expected: Iterable[Expected], kiosks: Kiosks, start_ms: int, end_ms: int, heard: Collection[str]
) -> list[Discrepancy]:
    """The expected sites of somebody absent whose kiosks neither recorded nor called that day.

    `heard` are the devices that did.
    """
    return [
        Discrepancy(flags.KIOSK_SILENT, e.place.name)
        for e in expected
        if not any(k.device in heard for k in kiosks.on(e.place.id, start_ms, end_ms))
    ]


def reaching(facts: Iterable[Fact], start_ms: int, end_ms: int) -> list[Fact]:
    """Facts of presence outside a day whose interval touches it: doubtful ones, and those that a
    kiosk without a clock of its own recorded between two proofs days apart."""
    return [
        f
        for f in facts
        if f.verified
        and f.status in PRESENT
        and f.when.cls is not ClockClass.A
        and not start_ms <= f.when.at_ms < end_ms
        and f.when.earliest_ms < end_ms
        and f.when.latest_ms >= start_ms
    ]


def plain_day(day: date) -> tuple[int, int]:
    """Where a day without a night shift begins and ends: midnight to midnight."""
    start = day_start_ms(day)
    return start, start + 86_400_000
