"""The flags that a record gets as it arrives: nothing here refuses a record."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import CompoundSelect, Integer, String, bindparam, select, union
from sqlalchemy.orm import Session

from attendance.clock import Estimate
from attendance.days import day_end_ms, day_of, day_start_ms
from attendance.errors import RecordInvalid
from attendance.records import Record, decode_record, is_person
from attendance.statuses import Status
from attendance.whereabouts import Absence
from server.db import plain
from server.models import Device, Expectation, Official, RecordRow, RosterDay, Township
from server.rules import flags
from server.services.records.once import once
from server.services.township import leave

#: An amend belongs to the ten seconds after its record; one more for the kiosk's own delay.
LATE_AMEND_NS = 11_000_000_000
_PRESENT = (Status.ON_DUTY, Status.IN_VILLAGE)


_OFFICIALS = select(Official.official).where(
    Official.township_id == bindparam("township"),
    Official.official.in_(bindparam("new", expanding=True)),
)


class _Known:
    """What a transaction has read of the roster, for all the batches in it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._officials: dict[tuple[int, str], bool] = {}
        self._absences: dict[tuple[int, date, date], list[Absence]] = {}

    def officials(self, township: int, people: set[str]) -> set[str]:
        """Those of `people` that are officials of the township."""
        new = [name for name in people if (township, name) not in self._officials]
        if new:
            asked = {"township": township, "new": new}
            there = set(plain(self._session, _OFFICIALS, asked).scalars())
            self._officials.update({(township, name): name in there for name in new})
        return {name for name in people if self._officials[township, name]}

    def absences(self, township_id: int, first: date, last: date) -> list[Absence]:
        """Approved leave and trips that touch those days."""
        key = (township_id, first, last)
        if key not in self._absences:
            township = self._session.get_one(Township, township_id)
            span = day_start_ms(first), day_end_ms(last)
            found = leave.absences(self._session, township, *span)
            self._absences[key] = [absence for absence in found if absence.approved]
        return self._absences[key]


def _expected() -> CompoundSelect[Any]:
    """Codes of those expected at a site, always or sent there for a day."""
    township, site = (bindparam(name, type_=Integer) for name in ("township", "site"))
    first, last = (bindparam(name, type_=String) for name in ("first", "last"))
    people = select(Official.official).where(Official.township_id == township)
    return union(
        people.join(Expectation, Expectation.official_id == Official.id).where(
            Expectation.site_id == site
        ),
        people.join(RosterDay, RosterDay.official_id == Official.id).where(
            RosterDay.township_id == township,
            RosterDay.site_id == site,
            RosterDay.day.between(first, last),
        ),
    )


_EXPECTED = _expected()


class Rules:
    """What must be known to flag the records of one batch, in a handful of queries."""

    def __init__(
        self, session: Session, device: Device, records: list[Record], times: list[Estimate]
    ) -> None:
        self._village = device.site is not None and device.site.kind == "village"
        people = {r.official for r in records if r.official is not None and is_person(r.kind)}
        self._known: set[str] = set()
        self._expected: set[str] = set()
        self._plain: set[str | None] = set()
        self._absences: dict[str, list[tuple[int, int]]] = {}
        superseded = {r.supersedes for r in records if r.supersedes is not None}
        self._amended = {r.record_id: r for r in records if r.record_id in superseded}
        if not people:
            return
        known = once(session, "roster", lambda: _Known(session))
        at = [t.at_ms for t in times]
        first, last = day_of(min(at)), day_of(max(at))
        if self._village:
            days = {"first": first.isoformat(), "last": last.isoformat()}
            place = {"township": device.township_id, "site": device.site_id}
            self._expected = set(
                session.connection().execute(_EXPECTED, {**place, **days}).scalars()
            )
        # Those expected were found among the officials.
        self._known = people & self._expected
        self._known |= known.officials(device.township_id, people - self._known)
        for absence in known.absences(device.township_id, first, last):
            if absence.official in people:
                spans = self._absences.setdefault(absence.official, [])
                spans.append((absence.start_ms, absence.end_ms))
        expected = self._expected if self._village else self._known
        self._plain.update((self._known & expected) - self._absences.keys())
        missing = superseded - self._amended.keys()
        if missing:
            for payload in session.scalars(
                select(RecordRow.payload).where(
                    RecordRow.device_id == device.id, RecordRow.record_id.in_(missing)
                )
            ):
                try:
                    record = decode_record(payload)
                except RecordInvalid:
                    continue
                self._amended[record.record_id] = record

    def is_plain(self, record: Record) -> bool:
        """Whether it can be seen at once, as of nearly all, that `flags` has nothing to say."""
        return (
            record.official in self._plain
            and record.verified
            and record.supersedes is None
            and record.liveness != "off"
        )

    def flags(self, record: Record, when: Estimate) -> list[str]:
        """Words of `server.rules.flags` for one record; none for what concerns no person."""
        official = record.official
        if official is None or not is_person(record.kind):
            return []
        found = []
        if not record.verified:
            found.append(flags.UNVERIFIED)
        if official not in self._known:
            found.append(flags.UNKNOWN_OFFICIAL)
        elif self._village and official not in self._expected:
            found.append(flags.UNEXPECTED_SITE)
        if record.liveness == "off":
            found.append(flags.LIVENESS_OFF)
        spans = self._absences.get(official)
        if (
            spans is not None
            and record.status in _PRESENT
            and any(start <= when.at_ms < end for start, end in spans)
        ):
            found.append(flags.LEAVE_CLASH)
        if record.supersedes is not None and self._is_late(record):
            found.append(flags.LATE_AMEND)
        return found

    def _is_late(self, record: Record) -> bool:
        before = self._amended.get(record.supersedes or "")
        if before is None or before.official != record.official:
            return True
        if before.boot_id != record.boot_id:
            return True
        return not 0 <= record.boottime_ns - before.boottime_ns <= LATE_AMEND_NS
