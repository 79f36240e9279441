"""Every official's day judged, and kept as long as nothing that bears on it changes.

A kept day is a copy of an answer, never a fact: its key holds everything that it was judged by, so
that it can be slow to find but not wrong.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from attendance.days import DAY_MS, day_of, day_start_ms, to_ms
from attendance.whereabouts import Fact
from server.models import Township
from server.rules import corrections
from server.rules.corrections import Ruled, Ruling
from server.rules.roster import Expected, day_reaches
from server.rules.verdict import Case, Discrepancy, Judgement, Kiosks, judge, reaching, silent
from server.services.sheets.facts import Facts, facts_of
from server.services.sheets.inputs import Inputs, heard_between, inputs_of
from server.services.sheets.roster import Person, Roster, roster_of

#: Person-days kept by a process, about 1 kB each.
KEPT = 50_000
#: Of more officials than this all records of the days are read: the index by official serves few.
MANY = 300
_NOTHING = Ruled([])


class PersonDay(msgspec.Struct, gc=False):
    """One official on one day, which reaches from `start_ms` until before `end_ms`.

    Tens of thousands are kept: the collector, which would stop everybody to walk them, leaves them
    out, since none of them can hold itself.
    """

    person: Person
    expected: tuple[Expected, ...]
    judged: Judgement
    start_ms: int
    end_ms: int
    #: Ids of all records of the day, corrected ones included.
    records: tuple[str, ...] = ()


@dataclass
class Day:
    """A day of a township. `unknown` are ids of records whose official no roster knows.

    `asked` are the codes of those who were judged, None for everybody; of a day that only some were
    judged on `unknown` is empty.
    """

    day: date
    people: dict[str, PersonDay]
    unknown: list[str] = field(default_factory=list)
    heard: set[str] | None = None
    asked: frozenset[str] | None = None

    def answers(self, asked: frozenset[str] | None) -> bool:
        """Whether all of them (None: everybody) were judged."""
        return self.asked is None or (asked is not None and asked <= self.asked)


class _Kept:
    """Days by township and date, the least used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._days: OrderedDict[tuple[int, date], tuple[int, Day]] = OrderedDict()
        self._size = 0

    def get(self, where: tuple[int, date], key: int) -> Day | None:
        with self._lock:
            held = self._days.get(where)
            if held is None or held[0] != key:
                return None
            self._days.move_to_end(where)
            return held[1]

    def put(self, where: tuple[int, date], key: int, day: Day) -> None:
        with self._lock:
            old = self._days.pop(where, None)
            self._size += len(day.people) - (len(old[1].people) if old else 0)
            self._days[where] = (key, day)
            while self._size > KEPT and len(self._days) > 1:
                _, (_, gone) = self._days.popitem(last=False)
                self._size -= len(gone.people)


_kept: WeakKeyDictionary[Pool, _Kept] = WeakKeyDictionary()


def days_of(
    session: Session, township: Township, days: Sequence[date], now: datetime
) -> tuple[Roster, list[Day]]:
    """The roster and the days, which are in order without a hole, every official judged."""
    look = Look(session, township, days, now)
    return look.roster, look.days()


class Look:
    """A look at some days, in order without a hole: what bears on them is read as it begins.

    `rows` are the records of all days, with their evidence, where a look with `evidence` had to
    read them; None where they were judged before.
    """

    def __init__(
        self,
        session: Session,
        township: Township,
        days: Sequence[date],
        now: datetime,
        evidence: bool = False,
    ) -> None:
        self.rows: Sequence[Any] | None = None
        self._evidence = evidence
        self.roster = roster_of(session, township)
        self._session, self._township, self._asked = session, township, list(days)
        self._now_ms = to_ms(now)
        if not days:
            return
        self._inputs = inputs_of(
            session, township, self.roster, days[0], days[-1], self._now_ms
        )
        connection = session.connection()
        self._writing = bool(connection.get_execution_options().get("quxiang_write"))
        self._kept = _kept.setdefault(connection.engine.pool, _Kept())
        self._keys = {d: _key(self.roster, self._inputs, d, self._now_ms) for d in days}

    @property
    def stamp(self) -> str:
        """A word of this process: another one whenever the days may say something else."""
        keys = tuple(self._keys.items()) if self._asked else ()
        return f"{self.roster.version} {hash(keys)}"

    @property
    def kiosks(self) -> Kiosks:
        """The township's kiosks as they are now; of a look at no day there are none."""
        return self._inputs.kiosks if self._asked else Kiosks({})

    def silence(self, days: Sequence[Day]) -> dict[tuple[str, date], list[Discrepancy]]:
        """Absent officials of these days whose expected site was silent all day (`silence`)."""
        if not days:
            return {}
        return silence(self._session, self._township, self._inputs.kiosks, days)

    def days(self, of: Collection[Person] | None = None) -> list[Day]:
        """The days with everybody judged, or at least those people; in two queries at the most."""
        asked = None if of is None else frozenset(p.official for p in of)
        found = {day: self._held(day) for day in self._asked}
        missing = [d for d, held in found.items() if held is None or not held.answers(asked)]
        if missing:
            facts = self._facts(missing, asked)
            if self._evidence and asked is None and len(missing) == len(found):
                self.rows = facts.rows
            for day in missing:
                found[day] = self._made(day, facts, of, found[day])
        return [day for day in found.values() if day is not None]

    def _held(self, day: date) -> Day | None:
        return None if self._writing else self._kept.get((self._township.id, day), self._keys[day])

    def _made(
        self, day: date, facts: Facts, of: Collection[Person] | None, held: Day | None
    ) -> Day:
        made = judged_day(self.roster, self._inputs, facts, day, self._now_ms, of)
        if of is not None:
            made.asked = frozenset(p.official for p in of)
            if held is not None and held.asked is not None:
                made.people = {**held.people, **made.people}
                made.asked |= held.asked
        if not self._writing:
            self._kept.put((self._township.id, day), self._keys[day], made)
        return made

    def _facts(self, days: Sequence[date], codes: frozenset[str] | None) -> Facts:
        reach = DAY_MS if self.roster.overnight else 0
        also = [
            r.record_id
            for day in days
            for r in self._inputs.rulings.get(day, ())
            if codes is not None and r.really in codes and r.record_id is not None
        ]
        return facts_of(
            self._session, self._township, self.roster, day_start_ms(days[0]),
            day_start_ms(days[-1]) + DAY_MS + reach,
            None if codes is None or len(codes) > MANY else codes, also, self._evidence,
        )  # fmt: skip


def _turns(roster: Roster, day: date) -> list[int]:
    """The moments of a day without night shifts by which a judgement can change: those that
    `server.rules.verdict` compares with the time and with the kiosks' watermarks."""
    found = {day_start_ms(day), day_start_ms(day) + DAY_MS}
    for hours in roster.shifts.values():
        found |= {hours.late_after_ms(day) + 59_999, hours.end_ms(day)}
    return sorted(found)


def _key(roster: Roster, inputs: Inputs, day: date, now_ms: int) -> int:
    start = day_start_ms(day)
    end = start + DAY_MS * (2 if roster.overnight else 1)
    if roster.overnight:
        # Only while a day is not over does it matter what time it is, and then to the minute.
        moment = now_ms // 60_000 if start <= now_ms < end else int(now_ms >= end)

        def past(ms: int) -> int:
            return min(ms, end)
    else:
        turns = _turns(roster, day)
        moment = bisect_right(turns, now_ms)

        def past(ms: int) -> int:
            return bisect_right(turns, ms)

    near = (day - timedelta(1), day, day + timedelta(1)) if roster.overnight else (day,)
    return hash(
        (
            roster.version,
            moment,
            tuple(inputs.signatures.get(one) for one in near),
            tuple(
                (a.official, a.status, a.start_ms, a.end_ms, a.approved)
                for listed in inputs.absences.values()
                for a in listed
                if a.start_ms < end and a.end_ms > start
            ),
            tuple(r.id for r in inputs.rulings.get(day, ())),
            tuple(
                f.record_id
                for listed in inputs.doubtful.values()
                for f in listed
                if f.when.earliest_ms < end and f.when.latest_ms >= start
            ),
            tuple(
                (k.device, k.paired_ms < end, k.revoked_ms, past(k.complete_until_ms or 0),
                 None if k.apart_ms is None else past(k.apart_ms), past(k.again_ms or 0))
                for listed in inputs.kiosks.at.values()
                for k in listed
            ),
        )
    )


def judged_day(
    roster: Roster,
    inputs: Inputs,
    facts: Facts,
    day: date,
    now_ms: int,
    of: Collection[Person] | None = None,
    always: bool = False,
) -> Day:
    """Everybody judged, or some. Inactive people only where something was recorded or they were
    expected then, unless `always`."""
    usual, rulings = roster.usual(day), inputs.rulings.get(day, [])
    around = None
    if roster.overnight:
        around = [(d, roster.usual(d)) for d in (day - timedelta(1), day + timedelta(1))]
    # Leave is of calendar days: that of tomorrow takes nothing from the night that began today.
    midnight = day_start_ms(day)
    start, end = midnight, midnight + DAY_MS
    own_facts, absences = facts.by_day.get(day, {}), inputs.absences
    concerned = _concerned(rulings)
    made, nobody = Day(day, {}), Judgement("not_expected")
    for person in roster.people if of is None else of:
        code = person.official
        expected = roster.expected(person, day, usual)
        if around is not None:
            before, after = (roster.expected(person, d, u) for d, u in around)
            start, end = day_reaches(before, expected, after, day)
            own = facts.on(code, start, end)
        else:
            own = own_facts.get(code, [])
        records = tuple([f.record_id for f in own])
        if not (person.active or own or expected or always or code in concerned):
            continue
        if not own and not expected and code not in concerned and code not in absences:
            made.people[code] = PersonDay(person, (), nobody, start, end)  # a Sunday's thousand
            continue
        ruled = Ruled(own) if own else _NOTHING
        if code in concerned:
            ruled = corrections.apply(code, day, own, rulings, others_of(facts, rulings, code))
        case = Case(
            day, start, end, ruled,
            [a for a in absences[code] if a.start_ms < midnight + DAY_MS and a.end_ms > midnight]
            if code in absences else (),
            expected,
            reaching(inputs.doubtful[code], start, end) if code in inputs.doubtful else (),
        )  # fmt: skip
        judged = judge(case, inputs.kiosks, now_ms)
        for fact in ruled.facts if facts.flagged else ():
            flagged = facts.flagged.get(fact.record_id)
            for word in flagged.flags if flagged is not None else ():
                judged.add(word, flagged.site if flagged is not None else None, fact.record_id)
        made.people[code] = PersonDay(person, expected, judged, start, end, records)
    if of is None:
        made.unknown = [
            fact.record_id
            for code, listed in sorted(facts.by_day.get(day, {}).items())
            if code not in roster.by_code
            for fact in listed
        ]
    return made


def in_day(at_ms: int, day: date, expected: Iterable[Expected], end_ms: int) -> int:
    """The moment that is meant by a time of day typed for an official's day, Unix milliseconds.

    `at_ms` is that time on the calendar day; `end_ms` is when the official's day ends. Before a
    night shift begins it is the morning after's, where that is still of the day.
    """
    begins = [e.hours.start_ms(day) for e in expected if e.hours and e.hours.overnight]
    night = bool(begins) and day_start_ms(day) <= at_ms < min(begins) and at_ms + DAY_MS < end_ms
    return at_ms + DAY_MS if night else at_ms


def _concerned(rulings: Iterable[Ruling]) -> set[str]:
    named = {r.official for r in rulings} | {r.really for r in rulings if r.really is not None}
    return {code for code in named if code is not None}


def others_of(facts: Facts, rulings: Iterable[Ruling], code: str) -> list[Fact]:
    """Facts of colleagues who were taken for this official's like: `really` is theirs."""
    return [
        fact
        for ruling in rulings
        if ruling.kind == "mistaken" and ruling.really == code
        for held in facts.by_day.values()
        for fact in held.get(ruling.official, ())
        if fact.record_id == ruling.record_id
    ]


def silence(
    session: Session, township: Township, kiosks: Kiosks, days: Sequence[Day]
) -> dict[tuple[str, date], list[Discrepancy]]:
    """Absent officials whose expected site was silent all day, by code and day; one query.

    What was heard on a day on which somebody can be absent is over, so it is asked once.
    """
    absent = [
        (code, day, one)
        for day in days
        for code, one in day.people.items()
        if one.judged.verdict == "absent"
    ]
    open_days = [d for d in days if d.heard is None and any(d is day for _, day, _ in absent)]
    if open_days:
        devices = {
            k.device
            for _, _, one in absent
            for e in one.expected
            for k in kiosks.on(e.place.id, one.start_ms, one.end_ms)
        }
        heard = heard_between(
            session, township, open_days[0].day, open_days[-1].day, sorted(devices)
        )
        for day in open_days:
            day.heard = heard.get(day.day, set())
    return {
        (code, day.day): found
        for code, day, one in absent
        if (found := silent(one.expected, kiosks, one.start_ms, one.end_ms, day.heard or ()))
    }


def person_days(
    session: Session, township: Township, code: str, days: Sequence[date], now: datetime
) -> tuple[Roster, Inputs, list[Day]]:
    """One official's days, without everybody else's. Raises KeyError for an unknown code."""
    roster, now_ms = roster_of(session, township), to_ms(now)
    person = roster.by_code[code]
    if not days:
        today = day_of(now_ms)
        return roster, inputs_of(session, township, roster, today, today, now_ms, code), []
    inputs = inputs_of(session, township, roster, days[0], days[-1], now_ms, code, signed=False)
    also = [
        r.record_id
        for listed in inputs.rulings.values()
        for r in listed
        if r.really == code and r.record_id is not None
    ]
    reach = DAY_MS if roster.overnight else 0
    facts = facts_of(
        session,
        township,
        roster,
        day_start_ms(days[0]),
        day_start_ms(days[-1]) + DAY_MS + reach,
        (code,),
        also,
    )
    made = [judged_day(roster, inputs, facts, d, now_ms, (person,), always=True) for d in days]
    return roster, inputs, made
