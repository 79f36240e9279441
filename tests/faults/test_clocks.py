"""Clocks at impossible times: everything is stored, and right where a time proof vouches for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from attendance.clock import Anchor, ClockClass
from attendance.days import MAX_MS, to_ms
from kiosk.fakes import FakeClock
from kiosk.site import Site
from kiosk.store import Store
from kiosk.timeline import Proofs
from server.models import Expectation, Official, RecordRow, Shift
from server.models import Site as SiteRow
from server.services.sheets.daysheet import DayRow, day_sheet
from tests.conftest import NewDatabase
from tests.faults.rig import checkin
from tests.faults.township import Township, exchange

NOON = 1_780_000_000_000
YEAR = 31_556_952_000
WRONG = {
    "1970": 0,
    "2038": 2_147_483_648_000,
    "9999": 253_402_300_799_000,
    "ten years ahead": NOON + 10 * YEAR,
    "ten years behind": NOON - 10 * YEAR,
    "an hour back at noon": NOON - 3_600_000,
}


@pytest.mark.parametrize("wall_ms", WRONG.values(), ids=WRONG.keys())
def test_stored_and_right_where_anchored(wall_ms: int, tmp_path: Path) -> None:
    clock = FakeClock(wall_ms=NOON)
    with Store.open(tmp_path / "k.db", "kkkkkkkk") as store:
        now = clock.read()
        store.add_anchor(Anchor("a1", NOON, now.boot_id, now.boottime_ns, 40_000_000))
        clock.advance(60)
        clock.wall_ms = wall_ms
        anchored = store.record(checkin(1), clock.read()).record
        clock.reboot(wall_ms=wall_ms)
        alone = store.record(checkin(2), clock.read()).record
        with store.transaction() as db:
            proofs = Proofs(db)
            truth, doubt = proofs.when(anchored), proofs.when(alone)
        assert store.verify() == 2
    kept = min(wall_ms, MAX_MS)
    assert (anchored.wall_ms, alone.wall_ms) == (kept, kept)
    assert truth.cls is ClockClass.A
    assert truth.earliest_ms <= NOON + 60_000 <= truth.latest_ms
    assert truth.width_ms < 100
    assert doubt.cls is ClockClass.C  # which never counts as late by itself


#: A Wednesday, 07:00 in Shanghai; work begins at 08:30.
DAWN = datetime(2026, 3, 18, tzinfo=UTC) - timedelta(hours=1)
DAY = date(2026, 3, 18)
THAT_DAY = {
    "1970": 0,
    "2038": 2_147_483_648_000,
    "9999": 253_402_300_799_000,
    "ten years ahead": to_ms(DAWN) + 10 * YEAR,
    "ten years behind": to_ms(DAWN) - 10 * YEAR,
    "two hours back at noon": to_ms(DAWN) + 3 * 3_600_000,
}


class Now:
    """The township's clock: right, and moved by hand."""

    now = DAWN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def township(
    tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase
) -> Iterator[tuple[Township, Now]]:
    now = Now()
    opened = Township(tmp_path_factory.mktemp("clocks") / "server", new_database(), now)
    yield opened, now
    opened.close()


def expect(township: Township, site: str, people: list[str]) -> None:
    """Officials who are expected in that village every working day."""
    with township.database.transaction() as session:
        place = session.scalars(select(SiteRow).where(SiteRow.name == site)).one()
        hours = Shift(
            township_id=place.township_id, name=site, start_min=510, end_min=1020, late_min=0,
            early_min=0, visits=1, by="clerk", at_ms=0,
        )  # fmt: skip
        session.add(hours)
        session.flush()
        for name in people:
            person = Official(
                township_id=place.township_id, official=name, name=name, title="", phone="",
                active=True, created_ms=0, updated_ms=0,
            )  # fmt: skip
            session.add(person)
            session.flush()
            session.add(
                Expectation(
                    township_id=place.township_id, official_id=person.id, site_id=place.id,
                    first_day=None, shift_id=hours.id,
                )
            )  # fmt: skip


def sheet(township: Township, now: datetime) -> dict[str, DayRow]:
    with township.database.session() as session:
        rows = day_sheet(session, township.row(session), DAY, now).rows
    return {row.official: row for row in rows}


@pytest.mark.parametrize("name", THAT_DAY)
def test_no_wrong_clock_makes_anybody_late_or_absent(
    name: str, township: tuple[Township, Now], tmp_path: Path
) -> None:
    """One day in a village: anchored in the morning, the wall clock wrong, a power cut, no network
    until the evening, and nothing known of the next day before the kiosk called again."""
    town, now = township
    wall_ms, number = THAT_DAY[name], list(THAT_DAY).index(name)
    now.now = DAWN
    clock = FakeClock(wall_ms=to_ms(DAWN))
    town.kiosk(tmp_path / "kiosk", name)
    early, late, dark, nobody = people = [f"P{number}-{n}" for n in range(4)]
    expect(town, name, people)

    def later(hours: float) -> None:
        now.now += timedelta(hours=hours)
        clock.advance(hours * 3600)

    with Site(tmp_path / "kiosk") as site:

        def arrives(who: str) -> str:
            draft = replace(checkin(0), official=who)
            return site.store.record(draft, clock.read()).record.record_id

        exchange(site, clock)
        exchange(site, clock)  # tells the round trip of the first
        later(1)
        clock.wall_ms = wall_ms
        ids = {early: arrives(early)}  # 08:00
        truth = {early: to_ms(now.now)}
        later(1.5)
        ids[late] = arrives(late)  # 09:30
        truth[late] = to_ms(now.now)
        later(2)
        clock.reboot(wall_ms=wall_ms)
        ids[dark] = arrives(dark)  # 11:30, and no clock to tell
        truth[dark] = to_ms(now.now)
        later(5.5)
        clock.reboot(wall_ms=wall_ms)
        before = sheet(town, now.now)
        assert {before[who].verdict for who in people} <= {"not_yet", "not_known"}
        report = exchange(site, clock)  # 17:00
        assert (report.stored, report.rejected, report.pending) == (3, 0, 0)
        later(8)
        open_yet = sheet(town, now.now)  # 01:00 of the next day
        assert open_yet[nobody].verdict == "not_known"
        exchange(site, clock)
        after = sheet(town, now.now)

    with town.database.session() as session:
        rows = {
            row.official: row for row in session.scalars(select(RecordRow)) if row.official in ids
        }
        for who, row in rows.items():
            assert row.record_id == ids[who]
            assert row.earliest_ms <= truth[who] <= row.latest_ms
        widths = {who: row.latest_ms - row.earliest_ms for who, row in rows.items()}
        classes = {who: row.cls for who, row in rows.items()}
    assert len(rows) == 3
    assert (classes[early], classes[late]) == ("A", "A")
    assert max(widths[early], widths[late]) < 10_000
    assert classes[dark] == ("B" if name == "two hours back at noon" else "C")
    assert (after[early].verdict, after[early].doubtful) == ("came", False)
    assert after[late].verdict == "late"
    assert 59 * 60_000 < after[late].late_ms <= 60 * 60_000
    assert after[dark].verdict not in ("late", "absent")
    assert after[dark].doubtful or after[dark].discrepancies
    assert not after[dark].late_ms
    assert after[nobody].verdict == "absent"  # the kiosk has said that nothing is missing
