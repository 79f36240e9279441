"""What a township changes about itself: proposed rules, sites, groups, officials' particulars.

Sites, groups and particulars are edited in place; what stood there before is in the audit trail,
for which every function here returns the words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import (
    Expectation,
    Official,
    Site,
    TermDecision,
    TermProposal,
    Township,
    User,
    WorkGroup,
)
from server.rules import terms
from server.rules.terms import TermValue
from server.services.access.permissions import Act, another_person, not_own, require
from server.services.township import rosters
from server.services.township.townships import clean, site_of

#: `attendance.records.OfficialId`.
CODE = re.compile(r"[A-Za-z0-9-]{1,32}")


@dataclass(frozen=True)
class Proposal:
    """A rule that was proposed. `state` is `proposed`, `approved` or `refused`."""

    id: int
    value: TermValue
    first_day: date
    note: str
    by: str
    by_official: str | None
    at_ms: int
    state: str
    decided_by: str | None


class Particulars(msgspec.Struct, frozen=True):
    """What is known of an official besides the code. `households` is None where nobody has said."""

    name: str
    title: str = ""
    phone: str = ""
    duties: str = ""
    households: int | None = None
    work_group: str = ""


def propose_term(
    session: Session,
    township: Township,
    value: TermValue,
    first: date,
    note: str,
    by: User,
    now: datetime,
) -> TermProposal:
    """Appends a rule for another person to decide. Raises NotAllowed, NotFound, InputInvalid."""
    require(by, Act.PROPOSE_TERMS, township)
    rosters.check_rule(session, township, value)
    row = TermProposal(
        township_id=township.id, kind=terms.word_of(type(value)), first_day=first.isoformat(),
        value=terms.write(value), note=clean(note, 200), by=by.name, by_official=by.official,
        at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def decide_term(
    session: Session,
    township: Township,
    proposal_id: int,
    approve: bool,
    by: User,
    now: datetime,
) -> TermDecision:
    """Decides once about somebody else's proposal; approved, it is a rule from its day on.

    Raises NotAllowed, NotFound, InputInvalid.
    """
    require(by, Act.EDIT_TERMS, township)
    row = session.scalar(
        select(TermProposal).where(
            TermProposal.id == proposal_id, TermProposal.township_id == township.id
        )
    )
    if row is None:
        raise NotFound(say("没有这条提议", "there is no such proposal"))
    another_person(by, row.by, row.by_official)
    decided = select(TermDecision.id).where(TermDecision.proposal_id == row.id)
    if session.scalar(decided) is not None:
        raise InputInvalid("decided", say("已有决定", "that is decided already"))
    rule = None
    if approve:
        value = terms.read(row.kind, row.value)
        first = date.fromisoformat(row.first_day)
        note = f"№ {row.id} {row.by}: {row.note}".rstrip(": ")
        rule = rosters.set_rule(session, township, value, first, note, by, now)
    made = TermDecision(
        township_id=township.id, proposal_id=row.id, approved=approve,
        rule_id=None if rule is None else rule.id, by=by.name, by_official=by.official,
        at_ms=to_ms(now),
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def proposals(session: Session, township: Township, limit: int = 50) -> list[Proposal]:
    """Proposed rules, newest first."""
    rows = session.execute(
        select(TermProposal, TermDecision)
        .outerjoin(TermDecision, TermDecision.proposal_id == TermProposal.id)
        .where(TermProposal.township_id == township.id)
        .order_by(TermProposal.id.desc())
        .limit(limit)
    )
    return [
        Proposal(
            p.id, terms.read(p.kind, p.value), date.fromisoformat(p.first_day), p.note, p.by,
            p.by_official, p.at_ms,
            "proposed" if d is None else "approved" if d.approved else "refused",
            None if d is None else d.by,
        )
        for p, d in rows
    ]  # fmt: skip


def add_site(session: Session, township: Township, name: str, kind: str, by: User) -> str:
    """A new site, for which a kiosk can then be paired. Raises NotAllowed, InputInvalid."""
    require(by, Act.EDIT_ROSTER, township)
    if kind not in ("office", "village"):
        raise InputInvalid("site_kind", say("请选择类别", "choose a kind"), "kind")
    _unused(session, Site, township, clean(name, 60))
    return f"{site_of(session, township, name, kind).name} {kind}"


def rename_site(session: Session, township: Township, site_id: int, name: str, by: User) -> str:
    """Another name for a site; its records stay with it. Raises NotAllowed, NotFound,
    InputInvalid."""
    require(by, Act.EDIT_ROSTER, township)
    site = session.scalar(select(Site).where(Site.id == site_id, Site.township_id == township.id))
    if site is None:
        raise NotFound(say("没有这个站点", "there is no such site"))
    name = clean(name, 60)
    if name == site.name:
        return site.name
    _unused(session, Site, township, name)
    before, site.name = site.name, name
    session.flush()
    return f"{before} → {name}"


def add_group(session: Session, township: Township, name: str, by: User) -> WorkGroup:
    """A new work group, without anybody in it. Raises NotAllowed, InputInvalid."""
    require(by, Act.EDIT_ROSTER, township)
    name = clean(name, 200)
    _unused(session, WorkGroup, township, name)
    row = WorkGroup(township_id=township.id, name=name, at_least=0)
    session.add(row)
    session.flush()
    return row


def rename_group(session: Session, township: Township, group_id: int, name: str, by: User) -> str:
    """Another name for a work group. Raises NotAllowed, NotFound, InputInvalid."""
    require(by, Act.EDIT_ROSTER, township)
    group = rosters.group_of(session, township, group_id)
    name = clean(name, 200)
    if name == group.name:
        return name
    _unused(session, WorkGroup, township, name)
    before, group.name = group.name, name
    session.flush()
    return f"{before} → {name}"


def _unused(
    session: Session, table: type[Site] | type[WorkGroup], township: Township, name: str
) -> None:
    if not name:
        raise InputInvalid("name", say("需要名称", "a name is needed"), "name")
    if session.scalar(
        select(table.id).where(table.township_id == township.id, table.name == name)
    ) is not None:  # fmt: skip
        raise InputInvalid("name_taken", say(f"已有 {name}", f"there is {name} already"), "name")


def checked(given: Particulars) -> Particulars:
    """Without control characters and within bounds. Raises InputInvalid: no name, or a number of
    households that nobody looks after."""
    name = clean(given.name, 60)
    if not name:
        raise InputInvalid("name", say("需要姓名", "a name is needed"), "name")
    if given.households is not None and not 0 <= given.households <= 10_000:
        raise InputInvalid(
            "households", say("户数超出范围", "that many households are too many"), "households"
        )
    return Particulars(
        name, clean(given.title, 200), clean(given.phone, 40), clean(given.duties, 200),
        given.households, clean(given.work_group, 200),
    )  # fmt: skip


def add_official(
    session: Session,
    township: Township,
    code: str,
    given: Particulars,
    by: User,
    now: datetime,
    groups: dict[str, WorkGroup] | None = None,
) -> Official:
    """A new official: may check in with card or PIN once the enrolment desk has met them.

    `groups` are the work groups by name, where the caller holds them; an unknown one is made.
    Raises NotAllowed, InputInvalid.
    """
    require(by, Act.EDIT_ROSTER, township)
    given = checked(given)
    if not CODE.fullmatch(code):
        raise InputInvalid("official_code", say("编号不合规定", "that is no code"), "official")
    if groups is None:
        taken = select(Official.id).where(
            Official.township_id == township.id, Official.official == code
        )
        if session.scalar(taken) is not None:
            raise InputInvalid(
                "official_taken", say(f"已有编号 {code}", f"there is {code} already"), "official"
            )
    person = Official(
        township_id=township.id, official=code, active=True, created_ms=to_ms(now),
        updated_ms=to_ms(now), name=given.name,
    )  # fmt: skip
    put_particulars(session, township, person, given, now, groups)
    session.add(person)
    session.flush()
    return person


def edit_official(
    session: Session, township: Township, code: str, given: Particulars, by: User, now: datetime
) -> str:
    """Changes an official's particulars; returns what changed, for the trail.

    Raises NotAllowed, NotFound, InputInvalid.
    """
    require(by, Act.EDIT_ROSTER, township)
    person = rosters.official_of(session, township, code)
    before = particulars_of(person, _group_name(session, person))
    after = checked(given)
    put_particulars(session, township, person, after, now)
    session.flush()
    return f"{code} {differences(before, after)}".strip()


def put_particulars(
    session: Session,
    township: Township,
    person: Official,
    given: Particulars,
    now: datetime,
    groups: dict[str, WorkGroup] | None = None,
) -> None:
    """Writes what `checked` has passed."""
    group = None
    if given.work_group:
        if groups is None:
            group = session.scalar(
                select(WorkGroup).where(
                    WorkGroup.township_id == township.id, WorkGroup.name == given.work_group
                )
            )
        else:
            group = groups.get(given.work_group)
        if group is None:
            group = WorkGroup(township_id=township.id, name=given.work_group, at_least=0)
            session.add(group)
            session.flush()
            if groups is not None:
                groups[given.work_group] = group
    person.name, person.title, person.phone = given.name, given.title, given.phone
    person.duties, person.households = given.duties, given.households
    person.work_group_id = None if group is None else group.id
    person.updated_ms = to_ms(now)


def particulars_of(person: Official, group: str) -> Particulars:
    """An official's particulars as they stand."""
    return Particulars(
        person.name, person.title, person.phone, person.duties, person.households, group
    )


def _group_name(session: Session, person: Official) -> str:
    if person.work_group_id is None:
        return ""
    return session.get_one(WorkGroup, person.work_group_id).name


def differences(before: Particulars, after: Particulars) -> str:
    """What changed, `field: before → after`, separated by semicolons."""
    one, two = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return "; ".join(
        f"{key}: {'' if one[key] is None else one[key]} → {'' if two[key] is None else two[key]}"
        for key in one
        if one[key] != two[key]
    )


def move_member(
    session: Session, township: Township, code: str, group_id: int, by: User, now: datetime
) -> str:
    """Puts an official into another work group. Raises NotAllowed, NotFound."""
    require(by, Act.EDIT_ROSTER, township)
    person = rosters.official_of(session, township, code)
    group = rosters.group_of(session, township, group_id)
    before = _group_name(session, person)
    person.work_group_id, person.updated_ms = group.id, to_ms(now)
    session.flush()
    return f"{code} {before} → {group.name}"


def set_active(
    session: Session, township: Township, code: str, active: bool, by: User, now: datetime
) -> str:
    """Takes somebody off the roster from today on, or puts them on it again.

    Their patterns end today, so that past days keep the roster that they had; nothing of theirs is
    removed. Raises NotAllowed, NotFound.
    """
    require(by, Act.EDIT_ROSTER, township)
    not_own(by, code)
    person = rosters.official_of(session, township, code)
    if not active:
        today = day_of(to_ms(now))
        for held in session.scalars(
            select(Expectation).where(Expectation.official_id == person.id)
        ).all():
            rosters.end_pattern(session, held, today, by.name, now)
    person.active, person.updated_ms = active, to_ms(now)
    session.flush()
    return f"{code} {'active' if active else 'inactive'}"
