"""Who is to be enrolled again because somebody else was taken for them.

Nothing is stored but what people and the desk said: an approved mistaken identity opens a finding,
and the desk's answer is an event of it. A request stands while the finding is open, the correction
is in effect, and no answer came.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance import reenrol
from attendance.days import from_ms, to_ms
from server.errors import ApiProblem
from server.models import Correction, Device, Finding, FindingEvent, Official, Township
from server.rules.findings import REENROLLED, state
from server.services.evidence import audit
from server.services.rulings.corrections import undone_of


@dataclass(frozen=True)
class Request:
    """One official to be enrolled again. `finding` is the number of the finding that asks,
    `correction` that of the mistaken identity."""

    finding: int
    correction: int | None
    official: str
    name: str
    day: date
    asked: datetime


def asked(
    session: Session, township: Township, official: str | None = None, *, both: bool = False
) -> list[Request]:
    """The requests that stand, oldest first, of everybody or of one official (the code).

    With `both` also of who was taken for that official, or they for. Four queries at the most.
    """
    query = (
        select(Finding, Correction.really)
        .outerjoin(Correction, Correction.id == Finding.correction_id)
        .where(Finding.township_id == township.id, Finding.kind == "mistaken")
        .order_by(Finding.id)
    )
    if official is not None:
        query = query.where((Finding.official == official) | (Correction.really == official))
    rows = session.execute(query).all()
    if not rows:
        return []
    events: dict[int, list[FindingEvent]] = {}
    for event in session.scalars(
        select(FindingEvent)
        .where(
            FindingEvent.township_id == township.id,
            FindingEvent.finding_id.in_([finding.id for finding, _ in rows]),
        )
        .order_by(FindingEvent.id)
    ):
        events.setdefault(event.finding_id, []).append(event)
    undone = undone_of(
        session, township.id, [f.correction_id for f, _ in rows if f.correction_id is not None]
    )
    wanted = [
        (finding, code)
        for finding, really in rows
        if state([e.what for e in events.get(finding.id, ())]) != "closed"
        and finding.correction_id not in undone
        for code in (finding.official, really)
        if code is not None and (both or official in (None, code))
        and not any(
            e.what == REENROLLED and e.text.partition(" ")[0] == code
            for e in events.get(finding.id, ())
        )
    ]  # fmt: skip
    names: dict[str, str] = {
        row.official: row.name
        for row in session.execute(
            select(Official.official, Official.name).where(
                Official.township_id == township.id,
                Official.official.in_({code for _, code in wanted}),
                Official.active,
            )
        )
    }
    return [
        Request(
            f.id, f.correction_id, code, names[code], date.fromisoformat(f.day), from_ms(f.at_ms)
        )
        for f, code in wanted
        if code in names
    ]


def rows(session: Session, desk: Device) -> list[reenrol.Reenrolment]:
    """What the desk is asked."""
    township = session.get_one(Township, desk.township_id)
    return [
        reenrol.Reenrolment(
            finding=one.finding, official=one.official, day=one.day.isoformat(),
            asked_ms=to_ms(one.asked),
        )
        for one in asked(session, township)
    ]  # fmt: skip


def done(session: Session, desk: Device, told: reenrol.Reenrolled, now: datetime) -> None:
    """Appends the desk's answer to the finding; the same one again changes nothing.

    Raises ApiProblem `not_found` for a finding that is not of this township or never asked it.
    """
    township = session.get_one(Township, desk.township_id)
    finding = session.scalar(
        select(Finding).where(
            Finding.id == told.finding,
            Finding.township_id == desk.township_id,
            Finding.kind == "mistaken",
        )
    )
    if finding is None:
        raise ApiProblem(404, "not_found", "no such request")
    if not any(one.finding == told.finding for one in asked(session, township, told.official)):
        return
    who = f"device:{desk.id}"
    text = f"{told.official} {'enrolled' if told.face else 'no face'}"
    session.add(
        FindingEvent(
            township_id=desk.township_id, finding_id=finding.id, what=REENROLLED, text=text,
            by=who, at_ms=to_ms(now),
        )
    )  # fmt: skip
    audit.note_for(session, desk.township_id, who, REENROLLED, f"№ {finding.id} {text}", now)
    session.flush()
