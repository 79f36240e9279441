"""What the people of the demo township decided: hours, rules, corrections, spot checks, findings.

Everything goes through the services that the pages call, so that nobody corrects their own here
either.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, day_start_ms, to_ms
from server.models import Official, Site, Township, User, WorkGroup
from server.rules.terms import Allowance, MonthDays, UsualShifts
from server.services.public import duty, visits
from server.services.rulings import corrections, findings, spotchecks
from server.services.rulings.corrections import Draft
from server.services.sheets.days import days_of
from server.services.township import rosters

_VISITS = (
    ("赵大娘", "咨询低保申请"),
    ("钱大爷", "宅基地边界"),
    ("孙师傅", "村口路灯不亮"),
)
_DUTIES = ("低保、医保", "民事调解", "防汛、防火", "农房、土地", "计生、养老", "林业、畜牧")


def settle(session: Session, township: Township, first: date, start: datetime) -> None:
    """Before the first day: hours, the township's rules, the sites that each group answers for."""
    users = {
        u.role: u for u in session.scalars(select(User).where(User.township_id == township.id))
    }
    clerk, leader = users["clerk"], users["leader"]
    day = rosters.add_shift(session, township, "日班", 510, 1050, clerk, start, 20, 20)
    rosters.set_rule(
        session, township, UsualShifts(day.id, day.id), first, "作息时间", leader, start
    )
    rosters.set_rule(session, township, Allowance(), first, "下乡补助", leader, start)
    rosters.set_rule(session, township, MonthDays(20), first, "驻村天数", leader, start)
    sites = {
        s.name: s for s in session.scalars(select(Site).where(Site.township_id == township.id))
    }
    for n, person in enumerate(
        session.scalars(select(Official).where(Official.township_id == township.id)).all()
    ):
        person.duties = _DUTIES[n % len(_DUTIES)]
        if person.work_group_id is not None and n % 5:  # those outside look after households
            person.households = 60 + n % 11  # product.md: 60 to 70 each
    for group in session.scalars(
        select(WorkGroup).where(WorkGroup.township_id == township.id)
    ).all():
        members = session.scalars(
            select(Official.official)
            .where(Official.work_group_id == group.id)
            .order_by(Official.id)
        ).all()
        own = [name for name in sites if group.name == f"{name}工作组"]
        rosters.set_group(
            session, township, group.id, members[0] if members else None,
            members[1] if len(members) > 1 else None, 1 if own else 0, own, clerk,
        )  # fmt: skip


def receive(session: Session, township: Township, now: datetime) -> None:
    """The reception: who is on duty for two weeks, and three visits, each further than the last."""
    clerk = session.scalars(
        select(User).where(User.township_id == township.id, User.role == "clerk")
    ).one()
    codes = session.scalars(
        select(Official.official).where(Official.township_id == township.id).order_by(Official.id)
    ).all()
    today = day_of(to_ms(now))
    for n in range(duty.SPAN) if len(codes) > len(duty.POSTS) else ():
        # The leaders of the township stand first on its roster.
        rest = codes[3:] or codes
        named = (codes[n % 3], rest[2 * n % len(rest)], rest[(2 * n + 1) % len(rest)])
        if len(set(named)) == len(named):
            posts: dict[str, str | None] = dict(zip(duty.POSTS, named, strict=True))
            duty.assign(session, township, today + timedelta(n), posts, clerk, now)
    for number, (visitor, matter) in enumerate(_VISITS):
        visit = visits.log_visit(
            session, township, visitor, f"1390000{number + 1:04}", matter, None, clerk, now
        )
        if number:
            visits.step(
                session, township, visit.id, "working", codes[0], "", "已转经办人", clerk, now
            )
        if number == len(_VISITS) - 1:
            visits.step(
                session, township, visit.id, "done", codes[0], "路灯已修好", "", clerk, now
            )


def decide(
    session: Session,
    township: Township,
    days: list[date],
    now: datetime,
    rng: random.Random,
    alone: Collection[tuple[date, str]],
) -> None:
    """After the last day: some corrections of each fate, a spot check, findings in every state.

    `alone` are days of officials that nothing is decided about.
    """
    users = {
        u.role: u for u in session.scalars(select(User).where(User.township_id == township.id))
    }
    clerk, leader, inspector = users["clerk"], users["leader"], users["inspector"]
    roster, judged = days_of(session, township, days[:-1], now)
    by_verdict: dict[str, list[tuple[str, date, tuple[str, ...]]]] = {}
    for day in judged:
        for code, one in day.people.items():
            if (day.day, code) in alone:
                continue
            held = by_verdict.setdefault(one.judged.verdict, [])
            held.append((code, day.day, one.records))
    drafts: list[tuple[Draft, bool | None]] = []
    village = next((p.name for p in roster.places.values() if p.kind == "village"), None)
    fates = (True, False, None)
    for fate, (code, when, _) in zip(fates, by_verdict.get("absent", ()), strict=False):
        if village is not None:
            at = day_start_ms(when) + 510 * 60_000
            drafts.append(
                (
                    Draft(
                        code, when, "presence", "终端断电，村委会作证", site=village, start_ms=at
                    ),
                    fate,
                )
            )
    for fate, (code, when, _) in zip(fates, by_verdict.get("late", ()), strict=False):
        drafts.append((Draft(code, when, "excuse", "送村民就医"), fate))
    for code, when, records in by_verdict.get("came", ())[:1]:
        if records:
            drafts.append(
                (Draft(code, when, "mistaken", "录像显示不是本人", record_id=records[0]), True)
            )
    for draft, fate in drafts:
        made = corrections.propose(session, township, draft, clerk, now)
        if fate is not None:
            corrections.decide(session, made.id, fate, "已核实", leader, now)
    seed = hashlib.sha256(rng.randbytes(16)).hexdigest()[:32]
    checked = next((d for d in reversed(days[:-1]) if any(
        spotchecks.population_of(roster, d).values())), None)  # fmt: skip
    if checked is None:
        return
    drawn = spotchecks.make_draw(session, township, checked, 2, 2, seed, inspector, now)
    view = spotchecks.one(session, township, drawn.id)
    codes = [code for listed in view.drawn.people.values() for code in listed]
    for number, code in enumerate(codes):
        at = day_start_ms(checked) + 600 * 60_000
        seen = "not_there" if number == 0 else "there"
        check = spotchecks.record(session, township, drawn.id, code, seen, at, "", inspector, now)
        if number == 0:
            finding = findings.open_finding(
                session, township, "absent", checked, "上午十点不在村", inspector, now, code,
                spot_check_id=check.id,
            )  # fmt: skip
            findings.add_event(session, township, finding.id, "answered", "去邻村调解", clerk, now)
    closed = findings.open_finding(
        session, township, "device", checked, "终端镜头有灰", inspector, now
    )
    findings.add_event(session, township, closed.id, "closed", "已擦拭", inspector, now)
