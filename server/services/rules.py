"""The flags that a record gets as it arrives: nothing here refuses a record."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.clock import Estimate
from attendance.days import day_of
from attendance.errors import RecordInvalid
from attendance.records import Record, decode_record
from attendance.statuses import Status
from server.models import Device, Expectation, Official, RecordRow, RosterDay, Township
from server.rules import flags
from server.services import leave

#: An amend belongs to the ten seconds after its record; one more for the kiosk's own delay.
LATE_AMEND_NS = 11_000_000_000
_PRESENT = (Status.ON_DUTY, Status.IN_VILLAGE)


class Rules:
    """What must be known to flag the records of one batch, in a handful of queries."""

    def __init__(
        self, session: Session, device: Device, records: list[Record], times: list[Estimate]
    ) -> None:
        self._village = device.site is not None and device.site.kind == "village"
        people = {r.official for r in records if r.concerns_person and r.official is not None}
        self._known: set[str] = set()
        self._expected: set[str] = set()
        self._absences: dict[str, list[tuple[int, int]]] = {}
        superseded = {r.supersedes for r in records if r.supersedes is not None}
        self._amended = {r.record_id: r for r in records if r.record_id in superseded}
        if not people:
            return
        mine = Official.township_id == device.township_id
        self._known = set(
            session.scalars(select(Official.official).where(mine, Official.official.in_(people)))
        )
        if self._village:
            self._expected = set(
                session.scalars(
                    select(Official.official)
                    .join(Expectation, Expectation.official_id == Official.id)
                    .where(mine, Expectation.site_id == device.site_id)
                )
            )
            days = sorted({day_of(t.at_ms).isoformat() for t in times})
            self._expected |= set(  # sent there for a day
                session.scalars(
                    select(Official.official)
                    .join(RosterDay, RosterDay.official_id == Official.id)
                    .where(
                        RosterDay.township_id == device.township_id,
                        RosterDay.site_id == device.site_id,
                        RosterDay.day.between(days[0], days[-1]),
                    )
                )
            )
        township = session.get_one(Township, device.township_id)
        first, last = min(t.at_ms for t in times), max(t.at_ms for t in times)
        for absence in leave.absences(session, township, first, last):
            if absence.approved and absence.official in people:
                spans = self._absences.setdefault(absence.official, [])
                spans.append((absence.start_ms, absence.end_ms))
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

    def flags(self, record: Record, when: Estimate) -> list[str]:
        """Words of `server.rules.flags` for one record; none for what concerns no person."""
        if not record.concerns_person or record.official is None:
            return []
        found = []
        if not record.verified:
            found.append(flags.UNVERIFIED)
        if record.official not in self._known:
            found.append(flags.UNKNOWN_OFFICIAL)
        elif self._village and record.official not in self._expected:
            found.append(flags.UNEXPECTED_SITE)
        if record.liveness == "off":
            found.append(flags.LIVENESS_OFF)
        if record.status in _PRESENT and any(
            start <= when.at_ms < end for start, end in self._absences.get(record.official, ())
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
