"""What people decided about the facts of a day, laid over them. The facts themselves stay.

A correction names one official and one day, and changes nothing else: what a doubtful record says
of other days is read from the records as they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from msgspec.structs import replace

from attendance.clock import ClockClass, Estimate
from attendance.statuses import Kind, Method, SiteKind, Status
from attendance.whereabouts import Fact

#: `presence` somebody was there whom no kiosk recorded · `void` the record does not count ·
#: `mistaken` it is somebody else · `time` a person vouches for when a doubtful record was ·
#: `direction` in was meant for out, or the other way · `excuse` late or early for a good reason ·
#: `absent` a person decides an open day · `undo` an approved correction no longer counts.
KINDS = ("presence", "void", "mistaken", "time", "direction", "excuse", "absent", "undo")
#: Those that are about a record.
OF_RECORDS = ("void", "mistaken", "time", "direction")


@dataclass(frozen=True)
class Ruling:
    """An approved correction. `site` and `site_kind` are of the site it names, "" for none."""

    id: int
    official: str
    day: date
    kind: str
    record_id: str | None = None
    site: str = ""
    site_kind: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    really: str | None = None


@dataclass(slots=True)
class Ruled:
    """The facts of an official's day after the rulings, and what else those say."""

    facts: list[Fact]
    excused: bool = False
    absent: bool = False
    #: Ids of the rulings that changed something.
    by: tuple[int, ...] = ()


def in_effect(proposed: Iterable[Ruling], undone: Iterable[tuple[int, int]]) -> list[Ruling]:
    """The approved corrections that no approved `undo` takes back, in the order of their ids.

    `undone` are (undo's id, id of what it takes back); an undo that is itself undone counts for
    nothing.
    """
    gone: set[int] = set()
    for undo, target in sorted(undone, reverse=True):
        if undo not in gone:
            gone.add(target)
    return sorted((r for r in proposed if r.id not in gone), key=lambda r: r.id)


def apply(
    official: str,
    day: date,
    facts: Iterable[Fact],
    rulings: Iterable[Ruling],
    others: Iterable[Fact] = (),
) -> Ruled:
    """One official's facts of one day as people have decided them.

    `facts` are those that belong to the day; `others` those of colleagues for whom this official
    was mistaken, among which `mistaken` finds the records that are truly theirs.
    """
    found = {fact.record_id: fact for fact in facts}
    theirs = {fact.record_id: fact for fact in others}
    excused = absent = False
    by: list[int] = []
    for ruling in rulings:
        if ruling.day != day:
            continue
        if ruling.kind == "mistaken" and ruling.really == official != ruling.official:
            fact = theirs.get(ruling.record_id or "")
            if fact is not None:
                found[fact.record_id] = replace(fact, official=official, supersedes=None)
                by.append(ruling.id)
            continue
        if ruling.official != official:
            continue
        fact = found.get(ruling.record_id or "")
        if ruling.kind in ("void", "mistaken") and fact is not None:
            del found[fact.record_id]
        elif ruling.kind == "time" and fact is not None and ruling.start_ms is not None:
            found[fact.record_id] = replace(fact, when=_vouched(ruling.start_ms), verified=True)
        elif ruling.kind == "direction" and fact is not None:
            found[fact.record_id] = _turned(fact, ruling.site_kind)
        elif ruling.kind == "presence" and ruling.start_ms is not None:
            for made in _presence(ruling):
                found[made.record_id] = made
        elif ruling.kind == "excuse":
            excused = True
        elif ruling.kind == "absent":
            absent = True
        else:
            continue
        by.append(ruling.id)
    return Ruled(list(found.values()), excused, absent, tuple(by))


def _vouched(at_ms: int) -> Estimate:
    # A person's word with a second person's approval: as good as a bracket, never as an anchor.
    return Estimate(at_ms, at_ms, at_ms, ClockClass.B)


def _here(site_kind: str) -> Status:
    return Status.ON_DUTY if site_kind == SiteKind.OFFICE else Status.IN_VILLAGE


def _turned(fact: Fact, site_kind: str) -> Fact:
    if fact.status is Status.LEFT:
        return replace(fact, kind=Kind.CHECKIN, status=_here(site_kind))
    return replace(fact, kind=Kind.CHECKOUT, status=Status.LEFT)


def _presence(ruling: Ruling) -> list[Fact]:
    def fact(part: str, at_ms: int, kind: Kind, status: Status, seq: int) -> Fact:
        return Fact(
            official=ruling.official, kind=kind, status=status, when=_vouched(at_ms),
            record_id=f"correction-{ruling.id}-{part}", device="", epoch=0, seq=seq,
            method=str(Method.MANUAL), site=ruling.site,
        )  # fmt: skip

    assert ruling.start_ms is not None  # noqa: S101 (checked by `apply`)
    made = [fact("in", ruling.start_ms, Kind.CHECKIN, _here(ruling.site_kind), 2 * ruling.id)]
    if ruling.end_ms is not None:
        made.append(fact("out", ruling.end_ms, Kind.CHECKOUT, Status.LEFT, 2 * ruling.id + 1))
    return made
