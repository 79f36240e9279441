"""What the people of the demo township decided: hours, rules, corrections, spot checks, findings.

Everything goes through the services that the pages call, so that nobody corrects their own here
either.
"""

from __future__ import annotations

import hashlib
import random
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_start_ms
from server.models import Official, Site, Township, User, WorkGroup
from server.rules.terms import Allowance, MonthDays, UsualShifts
from server.services import rosters
from server.services.rulings import corrections, findings, spotchecks
from server.services.rulings.corrections import Draft
from server.services.sheets.days import days_of


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


def decide(
    session: Session, township: Township, days: list[date], now: datetime, rng: random.Random
) -> None:
    """After the last day: some corrections of each fate, a spot check, findings in every state."""
    users = {
        u.role: u for u in session.scalars(select(User).where(User.township_id == township.id))
    }
    clerk, leader, inspector = users["clerk"], users["leader"], users["inspector"]
    roster, judged = days_of(session, township, days[:-1], now)
    by_verdict: dict[str, list[tuple[str, date, tuple[str, ...]]]] = {}
    for day in judged:
        for code, one in day.people.items():
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
