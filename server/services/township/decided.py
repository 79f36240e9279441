"""Facts as people have decided them, for whoever asks where somebody is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from attendance.days import day_of
from attendance.whereabouts import Absence, Fact, taken_back
from server.models import Township
from server.rules import corrections
from server.rules.calendar import days_between
from server.services.sheets.days import others_of
from server.services.sheets.facts import facts_of
from server.services.sheets.inputs import rulings_of
from server.services.sheets.roster import Roster


def decided(
    session: Session,
    township: Township,
    roster: Roster,
    facts: Mapping[str, Sequence[Fact]],
    away: Mapping[str, Sequence[Absence]],
    first_ms: int,
    last_ms: int,
) -> Mapping[str, Sequence[Fact]]:
    """The newest facts by code in `first_ms..last_ms`, with the approved corrections of those days
    laid over them: a record that was found to be another's shows its true owner.

    On most days there is no correction, and one question finds that; of whom one concerns all facts
    are read, since the newest that counts may be an older one. So they are of whoever declared what
    is void by their absences in `away`.
    """
    days = days_between(day_of(first_ms), day_of(last_ms))
    rulings = rulings_of(session, township, days[0], days[-1])
    listed = [ruling for each in rulings.values() for ruling in each]
    codes = {r.official for r in listed} | {r.really for r in listed if r.really is not None}
    for code, absences in away.items():
        void = {status for day in days for status in taken_back(absences, day)}
        if any(fact.status in void for fact in facts.get(code, ())):
            codes.add(code)
    if not codes:
        return facts
    read = facts_of(session, township, roster, first_ms, last_ms + 1, codes)
    made = dict(facts)
    for code in codes:
        own = [fact for held in read.by_day.values() for fact in held.get(code, ())]
        for day, each in sorted(rulings.items()):
            others = others_of(read, each, code)
            own = corrections.apply(code, day, own, each, others).facts
        made[code] = own
    return made
