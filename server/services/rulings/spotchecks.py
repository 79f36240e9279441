"""Spot checks: drawn at random from who is expected, logged, and what the inspector saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance.days import DAY_MS, day_of, day_start_ms, from_ms, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import Attachment, SpotCheck, SpotDraw, Township, User
from server.rules import corrections, draw
from server.rules.calendar import days_between
from server.rules.roster import Expected
from server.rules.where import Answer, where_at
from server.services.access.permissions import Act, not_own, require
from server.services.sheets.days import PersonDay, days_of, in_day, others_of, person_days
from server.services.sheets.facts import Facts, facts_of
from server.services.sheets.inputs import Inputs, inputs_of
from server.services.sheets.roster import Roster, roster_of
from server.services.township.townships import clean

SEEN = ("there", "not_there", "elsewhere", "excused")
MAX_SITES, MAX_PEOPLE = 100, 50
#: After the beginning of a draw's day nothing is seen on it any more, whatever shifts there are.
LOOK_MS = DAY_MS + DAY_MS // 2


@dataclass(frozen=True)
class Looked:
    """What an inspector saw of one official, and where the records say they were then."""

    id: int
    official: str
    site: str
    seen: str
    seen_at: datetime
    text: str
    attachment_id: int | None
    by: str
    at: datetime


@dataclass(frozen=True)
class Draw:
    """A draw, whether it can be made again from its seed, and what was seen, oldest first."""

    id: int
    day: date
    seed: str
    ballot: draw.Ballot
    drawn: draw.Drawn
    reproducible: bool
    by: str
    at: datetime
    looked: tuple[Looked, ...]


def population_of(roster: Roster, day: date) -> dict[str, list[str]]:
    """The codes of those expected at each site on a day."""
    found: dict[str, list[str]] = {}
    usual = roster.usual(day)
    for person in roster.people:
        for expected in roster.expected(person, day, usual):
            found.setdefault(expected.place.name, []).append(person.official)
    return found


def make_draw(
    session: Session,
    township: Township,
    day: date,
    sites: int,
    people: int,
    seed: str,
    by: User,
    now: datetime,
) -> SpotDraw:
    """Draws sites and people expected there. `seed` is hexadecimal, from the system's randomness.

    Every draw stays: who draws until they like the outcome is seen to have done so. Raises
    NotAllowed, InputInvalid.
    """
    require(by, Act.INSPECT, township)
    if not (1 <= sites <= MAX_SITES and 1 <= people <= MAX_PEOPLE):
        raise InputInvalid("draw", say("数量超出范围", "a number is out of range"), "sites")
    population = population_of(roster_of(session, township), day)
    if by.official is not None:  # nobody inspects themselves
        population = {s: [c for c in codes if c != by.official] for s, codes in population.items()}
    if not any(population.values()):
        raise InputInvalid("nobody", say("当天无人应到", "nobody is expected that day"), "day")
    ballot = draw.Ballot(sites, people, population)
    row = SpotDraw(
        township_id=township.id, day=day.isoformat(), seed=seed, population=draw.to_json(ballot),
        drawn=draw.to_json(draw.draw(seed, ballot)), by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def record(
    session: Session,
    township: Township,
    draw_id: int,
    official: str,
    seen: str,
    seen_ms: int,
    text: str,
    by: User,
    now: datetime,
    attachment: Attachment | None = None,
    site: str | None = None,
) -> SpotCheck:
    """Appends what the inspector saw at `seen_ms` of somebody who was drawn at `site`, which may be
    left out (None) where they were drawn at one alone.

    `seen_ms` lies between the beginning of the day of the draw and `now`, and before that
    official's day ends: by midnight, or the morning after a night shift, at most LOOK_MS after its
    beginning. Raises NotAllowed, NotFound, InputInvalid.
    """
    require(by, Act.INSPECT, township)
    not_own(by, official)
    made = one(session, township, draw_id)
    drawn_at = [s for s, codes in made.drawn.people.items() if official in codes]
    if not drawn_at or site not in (None, *drawn_at):
        raise NotFound(say("此人未在该站点被抽中", "that official was not drawn there"))
    if site is None:
        if len(drawn_at) > 1:
            raise InputInvalid("seen_site", say("请选择站点", "say at which site"), "site")
        site = drawn_at[0]
    if seen not in SEEN or seen_ms > to_ms(now):
        raise InputInvalid("seen", say("请选择看到的情况", "choose what was seen"), "seen")
    start_ms = day_start_ms(made.day)
    if not start_ms <= seen_ms < _day_on(session, township, official, made.day, now).end_ms:
        said = say("请填写抽查当天看到的时间", "give a time on the day of the draw")
        raise InputInvalid("seen_time", said, "time")
    roster = roster_of(session, township)
    place = next((p for p in roster.places.values() if p.name == site), None)  # renamed since?
    row = SpotCheck(
        township_id=township.id, draw_id=draw_id, official=official,
        site_id=None if place is None else place.id, seen=seen,
        seen_ms=seen_ms, text=clean(text, 500),
        attachment_id=None if attachment is None else attachment.id, by=by.name,
        by_official=by.official, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def typed_at(
    session: Session, township: Township, official: str, day: date, at_ms: int, now: datetime
) -> int:
    """The moment that is meant by a time of day typed on the page of a draw of `day`, in ms.

    `at_ms` is that time on `day`. Before a night shift begins it is the morning after's, where that
    still belongs to `day` and is past. A code that the roster does not hold has no night shift.
    """
    held = _day_on(session, township, official, day, now)
    meant = in_day(at_ms, day, held.expected, held.end_ms)
    return meant if meant <= to_ms(now) else at_ms


@dataclass(frozen=True)
class _Bounds:
    """Until before when looks of a draw's day may be, and where somebody is expected that day."""

    end_ms: int
    expected: Sequence[Expected] = ()


def _day_on(
    session: Session, township: Township, official: str, day: date, now: datetime
) -> _Bounds:
    start_ms = day_start_ms(day)
    if official not in roster_of(session, township).by_code:
        return _Bounds(start_ms + DAY_MS)
    held = person_days(session, township, official, [day], now)[2][0].people[official]
    return _Bounds(min(held.end_ms, start_ms + LOOK_MS), held.expected)


def one(session: Session, township: Township, draw_id: int) -> Draw:
    """One draw. Raises NotFound."""
    row = session.scalar(
        select(SpotDraw).where(SpotDraw.id == draw_id, SpotDraw.township_id == township.id)
    )
    if row is None:
        raise NotFound(say("没有这次抽查", "there is no such draw"))
    return _views(session, township, [row])[0]


def number(session: Session, township: Township) -> int:
    """How many draws there ever were."""
    asked = select(func.count()).select_from(SpotDraw).where(SpotDraw.township_id == township.id)
    return session.scalar(asked) or 0


def listing(session: Session, township: Township, limit: int, first: int = 0) -> list[Draw]:
    """Draws with what was seen, newest first, `limit` of them from number `first` (from 0) on, in
    two queries."""
    rows = session.scalars(
        select(SpotDraw)
        .where(SpotDraw.township_id == township.id)
        .order_by(SpotDraw.id.desc())
        .limit(limit)
        .offset(first)
    ).all()
    return _views(session, township, list(rows))


def _views(session: Session, township: Township, rows: list[SpotDraw]) -> list[Draw]:
    looked: dict[int, list[Looked]] = {}
    names = {p.id: p.name for p in roster_of(session, township).places.values()}
    if rows:
        for c in session.scalars(
            select(SpotCheck)
            .where(
                SpotCheck.township_id == township.id,
                SpotCheck.draw_id.in_([row.id for row in rows]),
            )
            .order_by(SpotCheck.id)
        ):
            looked.setdefault(c.draw_id, []).append(
                Looked(
                    c.id, c.official, names.get(c.site_id or 0, ""), c.seen, from_ms(c.seen_ms),
                    c.text, c.attachment_id, c.by, from_ms(c.at_ms),
                )
            )  # fmt: skip
    return [_view(row, tuple(looked.get(row.id, ()))) for row in rows]


def _view(row: SpotDraw, looked: tuple[Looked, ...]) -> Draw:
    ballot, drawn = draw.ballot_from(row.population), draw.drawn_from(row.drawn)
    return Draw(
        row.id, date.fromisoformat(row.day), row.seed, ballot, drawn,
        draw.draw(row.seed, ballot) == drawn, row.by, from_ms(row.at_ms), looked,
    )  # fmt: skip


def where_was(
    session: Session, township: Township, official: str, at_ms: int, now: datetime
) -> Answer:
    """Where the records say an official was at a moment, and how sure that is.

    Raises KeyError for a code that the roster does not hold.
    """
    day = day_of(at_ms)
    # After midnight it may still be the night shift's day, which began the evening before.
    days = [day - timedelta(1), day, day + timedelta(1)]
    roster, inputs, judged = person_days(session, township, official, days, now)
    own = {one.day: one.people[official] for one in judged}
    here = _holding(list(own.values()), at_ms)
    of_day = next(day for day, one in own.items() if one is here)
    rulings = inputs.rulings.get(of_day, [])
    also = [r.record_id for r in rulings if r.really == official and r.record_id is not None]
    facts = facts_of(session, township, roster, here.start_ms, here.end_ms, (official,), also)
    return _answer(roster, inputs, facts, here, of_day, at_ms)


def where_all_were(
    session: Session, township: Township, looked: Sequence[Looked], now: datetime
) -> dict[int, Answer]:
    """The same for all that was seen in a draw, by `Looked.id`; those no roster holds left out.

    The looks are within a few days of each other; the queries do not grow with their number.
    """
    if not looked:
        return {}
    days = [day_of(to_ms(look.seen_at)) for look in looked]
    first, last = min(days), max(days)
    whole = days_between(first - timedelta(1), last + timedelta(1))
    roster, judged = days_of(session, township, whole, now)
    inputs = inputs_of(session, township, roster, whole[0], whole[-1], to_ms(now))
    by_day = dict(zip(whole, judged, strict=True))
    start, end = day_start_ms(whole[0]), day_start_ms(whole[-1]) + 2 * DAY_MS
    facts = facts_of(session, township, roster, start, end)
    return {
        look.id: _answer(roster, inputs, facts, (here := _holding([*held.values()], at)),
                         next(d for d, one in held.items() if one is here), at)
        for look, day, at in zip(looked, days, (to_ms(k.seen_at) for k in looked), strict=True)
        if (
            held := {
                of_day: one
                for n in (-1, 0, 1)
                if (one := by_day[(of_day := day + timedelta(n))].people.get(look.official))
                is not None
            }
        )
    }  # fmt: skip


def _holding(days: Sequence[PersonDay], at_ms: int) -> PersonDay:
    """The one of somebody's days that a moment belongs to."""
    return next((d for d in days if d.start_ms <= at_ms < d.end_ms), days[len(days) // 2])


def _answer(
    roster: Roster, inputs: Inputs, facts: Facts, here: PersonDay, of_day: date, at_ms: int
) -> Answer:
    """Of the records as people have decided them: what was found to be another's says nothing."""
    code, rulings = here.person.official, inputs.rulings.get(of_day, [])
    said = facts.on(code, here.start_ms, here.end_ms)
    void = {r.record_id for r in rulings if r.kind in ("void", "mistaken") and r.official == code}
    own = corrections.apply(code, of_day, said, rulings, others_of(facts, rulings, code)).facts
    own += [f for f in inputs.doubtful.get(code, []) if f.record_id not in void]
    places = [e.place.id for e in here.expected] or [
        p.id for p in roster.places.values() if p.kind == "office"
    ]
    complete = all(inputs.kiosks.complete(place, here.start_ms, at_ms) for place in places)
    distinct = {fact.record_id: fact for fact in own}
    return where_at(code, distinct.values(), inputs.absences.get(code, ()), at_ms, complete,
                    here.start_ms)  # fmt: skip
