"""Spot checks and findings, from the draw to the closing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from attendance.days import day_start_ms, to_ms
from attendance.statuses import Status
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import User
from server.services.rulings import findings, spotchecks
from server.services.township import rosters
from server.services.township.townships import only_township, touch_roster

from .conftest import Kiosk, Office
from .desk_people import NINE, TODAY, at, come


def test_a_finding_from_draw_to_closing(
    office: Office, village: Kiosk, people: dict[str, User]
) -> None:
    come(office, village)
    now = office.clock.step(hours=1)
    inspector, clerk = people["inspector"], people["clerk"]
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        with pytest.raises(NotAllowed):
            spotchecks.make_draw(session, township, TODAY, 1, 5, "ab", clerk, now)
        row = spotchecks.make_draw(session, township, TODAY, 1, 5, "ab" * 16, inspector, now)
        made = spotchecks.one(session, township, row.id)
        assert made.reproducible
        assert set(made.drawn.people["杏树村"]) == {"zhang-3", "li-4"}
        with pytest.raises(NotFound):
            spotchecks.record(
                session, township, row.id, "wang-5", "there", NINE, "", inspector, now
            )
        check = spotchecks.record(
            session,
            township,
            row.id,
            "zhang-3",
            "not_there",
            NINE + 1_800_000,
            "无人",
            inspector,
            now,
        )
        answer = spotchecks.where_was(session, township, "zhang-3", NINE + 1_800_000, now)
        assert (answer.where.status, answer.where.site) == (Status.IN_VILLAGE, "杏树村")
        finding = findings.open_finding(
            session, township, "absent", TODAY, "不在村", inspector, now, "zhang-3", "杏树村",
            spot_check_id=check.id,
        )  # fmt: skip
        with pytest.raises(NotAllowed):
            findings.add_event(session, township, finding.id, "closed", "好", clerk, now)
        with pytest.raises(NotAllowed):
            findings.add_event(session, township, finding.id, "closed", "好", people["own"], now)
        findings.add_event(session, township, finding.id, "answered", "去邻村", clerk, now)
        findings.add_event(session, township, finding.id, "closed", "属实", inspector, now)
        with pytest.raises(InputInvalid):
            findings.add_event(session, township, finding.id, "answered", "再", clerk, now)
        found = findings.one(session, township, finding.id)
        assert (found.state, [s.what for s in found.steps]) == ("closed", ["answered", "closed"])
        with pytest.raises(NotFound):
            findings.one(session, only_township(session, "白水乡"), finding.id)


def test_who_a_finding_is_about_explains_but_never_decides(
    office: Office, people: dict[str, User]
) -> None:
    now = office.clock()
    with office.context.database.session(write=True) as session:
        township, own = only_township(session), people["own"]
        finding = findings.open_finding(session, township, "absent", TODAY, "不在村",
                                        people["inspector"], now, "zhang-3")  # fmt: skip
        findings.add_event(session, township, finding.id, "note", "当天去了邻村", own, now)
        findings.add_event(session, township, finding.id, "answered", "有会议记录", own, now)
        assert findings.one(session, township, finding.id).state == "answered"
        for what in ("closed", "reopened"):
            with pytest.raises(NotAllowed):
                findings.add_event(session, township, finding.id, what, "好", own, now)
        findings.add_event(session, township, finding.id, "closed", "属实", people["leader"], now)
        with pytest.raises(NotAllowed):
            findings.add_event(session, township, finding.id, "reopened", "不", own, now)


def test_what_was_seen_is_of_the_site_and_the_day_of_the_draw(
    office: Office, people: dict[str, User]
) -> None:
    office.kiosk("柳林村", "village")
    now = office.clock.step(days=3)
    inspector, nine = people["inspector"], NINE + 86_400_000
    day = TODAY + timedelta(1)
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        rosters.set_pattern(session, township, "li-4", "柳林村", 127, None, TODAY,
                            people["clerk"], at(TODAY))  # fmt: skip
        touch_roster(session, township.id)
        drawn = spotchecks.make_draw(session, township, day, 10, 50, "ab", inspector, now).id
        sites = [s for s, codes in spotchecks.one(session, township, drawn).drawn.people.items()
                 if "li-4" in codes]  # fmt: skip
        assert set(sites) == {"杏树村", "柳林村"}

        def look(seen_ms: int, site: str | None = None, code: str = "li-4") -> str:
            check = spotchecks.record(session, township, drawn, code, "there", seen_ms, "",
                                      inspector, now, site=site)  # fmt: skip
            return next(k.site for k in spotchecks.one(session, township, drawn).looked
                        if k.id == check.id)  # fmt: skip

        assert [look(nine, site) for site in sites] == sites
        assert look(nine, code="zhang-3") == "杏树村", "drawn at one alone"
        with pytest.raises(InputInvalid) as refused:
            look(nine)
        assert refused.value.key == "seen_site"
        with pytest.raises(NotFound):
            look(nine, "柳林村", "zhang-3")
        start = day_start_ms(day)
        assert look(start, sites[0]) == look(start + 86_400_000 - 1, sites[0]) == sites[0]
        for outside in (start - 1, start + 86_400_000, to_ms(now)):
            with pytest.raises(InputInvalid) as refused:
                look(outside, sites[0])
            assert refused.value.key == "seen_time"


def test_a_night_s_look_is_of_the_morning_after(office: Office, people: dict[str, User]) -> None:
    before, now = office.clock(), office.clock.step(days=3)
    hour, inspector, day = 3_600_000, people["inspector"], TODAY + timedelta(1)
    start = day_start_ms(day)
    with office.context.database.session(write=True) as session:
        township = only_township(session)
        night = rosters.add_shift(session, township, "夜班", 1200, 480, people["clerk"], before)
        rosters.set_day(session, township, "li-4", day, "at", people["clerk"], before, "杏树村",
                        night.id)  # fmt: skip
        touch_roster(session, township.id)
        drawn = spotchecks.make_draw(session, township, day, 10, 50, "ab", inspector, now).id

        def typed(code: str, hours: float, then: datetime = now) -> float:
            moment = start + int(hours * hour)
            return (spotchecks.typed_at(session, township, code, day, moment, then) - start) / hour

        assert (typed("li-4", 2), typed("li-4", 21), typed("li-4", 19)) == (26, 21, 19)
        assert typed("li-4", 2, at(day, 10)) == 2, "the morning after is to come"
        assert typed("zhang-3", 2) == 2
        assert typed("nobody", 2) == 2

        def look(code: str, hours: float) -> None:
            spotchecks.record(session, township, drawn, code, "there", start + int(hours * hour),
                              "", inspector, now)  # fmt: skip

        look("li-4", 26)
        for code, hours in (("zhang-3", 26), ("li-4", 36)):
            with pytest.raises(InputInvalid):
                look(code, hours)
