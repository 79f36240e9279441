"""`quxiang-server demo`: a made-up township whose kiosks really signed everything it shows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from attendance import wire
from attendance.chain import genesis
from attendance.days import SHANGHAI, day_start_ms, from_ms, to_ms
from attendance.i18n import say
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import Kind, Method, SiteKind, Status, presence_at
from server import demo_desk, demo_odd, demo_portraits
from server.config import ServerConfig, ServerKeys, make_keys, store_url
from server.db import Database
from server.demo_kiosk import DEAD_MS, LEAP_MS, Kiosk
from server.demo_names import GIVEN, SURNAMES, TITLES, village
from server.errors import AlreadyInitialised
from server.migrate import migrate
from server.models import Device, Role, Township, User
from server.rules.calendar import Calendar
from server.services.access import accounts
from server.services.evidence import checkpoints, verify
from server.services.paired import desk, pairing
from server.services.records import cursors, intake
from server.services.township import leave
from server.services.township.townships import create_township, only_township
from server.transfer import need_empty

TOWNSHIP = "青山乡"
OFFICE = "青山乡政府"
_ACCOUNTS = (
    ("admin", Role.ADMIN, "管理员", "administrator"),
    ("wenshu", Role.CLERK, "党政办", "clerk"),
    ("dudao", Role.INSPECTOR, "督导组", "inspector"),
    ("lingdao", Role.LEADER, "领导", "leader"),
    ("shenji", Role.AUDITOR, "县级审计员", "county auditor"),
)  # fmt: skip
_REASONS = ("meeting", "training", "errand")


def make_demo(
    config: ServerConfig, officials: int, sites: int, days: int, now: datetime
) -> Iterator[str]:
    """Makes the township in an empty data folder and yields what there is to tell, line by line.

    Raises AlreadyInitialised.
    """
    if config.database_file.exists() or (config.data / "server.key").exists():
        raise AlreadyInitialised(
            say(
                f"{config.data} 中已有服务器：演示数据请用另一个文件夹",
                f"{config.data} holds a server already: give the demo another folder",
            )
        )
    need_empty(config)
    keys = make_keys(config)
    migrate(config)
    store_url(config)
    database = Database(config)
    try:
        yield from _Demo(config, database, keys, officials, sites, days, now).run()
    finally:
        database.close()


class _Demo:
    def __init__(
        self,
        config: ServerConfig,
        database: Database,
        keys: ServerKeys,
        officials: int,
        sites: int,
        days: int,
        now: datetime,
    ) -> None:
        self.config = config
        self.database = database
        self.keys = keys
        self.now = now
        self.today = now.astimezone(SHANGHAI).date()
        self.days = [self.today - timedelta(n) for n in reversed(range(days))]
        self.rng = random.Random(20261121)  # noqa: S311 (made-up people, the same each time)  # nosec B311 # guards nothing
        self.sites = [(OFFICE, SiteKind.OFFICE)] + [
            (village(n), SiteKind.VILLAGE) for n in range(sites)
        ]
        self.people = self._people(officials)
        self.kiosks: list[Kiosk] = []
        self.calendar = Calendar()
        # Neither the first day nor the last two, whose records may not all be here.
        working = [d for d in self.days[1:-2] if self.calendar.is_working(d)]
        self.odd = demo_odd.choose(self.people, OFFICE, working[-len(demo_odd.KINDS) :])
        home = {p.official: p.sites[0] for p in self.people}
        odd_at = {home[official] for _, official in self.odd}
        # What luck brings to a kiosk would hide what is to be seen there.
        self.calm = {n for n, (name, _) in enumerate(self.sites) if name in odd_at}

    def run(self) -> Iterator[str]:
        passwords = self._found()
        for number, day in enumerate(self.days, 1):
            with self.database.transaction() as session:
                self._live(session, day)
            yield say(
                f"{day} 已生成（{number}/{len(self.days)}）", f"{day} {number}/{len(self.days)}"
            )
        with self.database.transaction() as session:
            demo_desk.decide(
                session, only_township(session), self.days, self.now, self.rng, self.odd
            )
            demo_desk.receive(session, only_township(session), self.now)
            checkpoints.make_all(session, self.keys.sign_seed, self.now)
        with self.database.session() as session:
            bad = next(verify.verify(session, self.keys.sign_public), None)
        if bad is not None:
            raise RuntimeError(f"the demo is not consistent: {bad}")
        yield say(
            f"{len(self.people)} 名干部、{len(self.sites)} 个站点、{len(self.days)} 天，全部一致",
            f"{len(self.people)} officials, {len(self.sites)} sites, {len(self.days)} days, "
            "all of it consistent",
        )
        for name, role, zh, en in _ACCOUNTS:
            yield f"{name}  {passwords[name]}  {say(zh, en)}  ({role})"

    def _people(self, number: int) -> list[wire.RosterRow]:
        villages = [name for name, kind in self.sites if kind is SiteKind.VILLAGE] or [OFFICE]
        # One in five keeps to the office (product.md, "The practice it serves"); every village has
        # somebody before any has two.
        rows: list[wire.RosterRow] = []
        outside = 0
        for n in range(number):
            stays = n % 5 == 0
            site = OFFICE if stays else villages[outside % len(villages)]
            outside += not stays
            surname = SURNAMES[n % len(SURNAMES)]
            given = GIVEN[(n * 7 + n // len(SURNAMES)) % len(GIVEN)]
            rows.append(
                wire.RosterRow(
                    official=f"QS-{n + 1:03}",
                    name=surname + given,
                    title=TITLES[min(n, 2) if n < 3 else 3 + n % 5],
                    phone=f"1380000{n + 1:04}",
                    work_group="机关" if stays else f"{site}工作组",
                    sites=[site],
                )
            )
        return rows

    def _found(self) -> dict[str, str]:
        start = from_ms(day_start_ms(self.days[0]))
        passwords = {name: accounts.new_password() for name, *_ in _ACCOUNTS}
        with self.database.transaction() as session:
            township = create_township(session, TOWNSHIP, start)
            pairs = [self._pair(session, township, start, None, SiteKind.OFFICE)]
            for name, kind in self.sites:
                pairs.append(self._pair(session, township, start, name, kind))
            office = session.get_one(Device, pairs[0].device)
            for first in range(0, len(self.people), 1000):
                roster = wire.Roster(officials=self.people[first : first + 1000])
                desk.store_roster(session, office, roster, start)
            self.kiosks = pairs[1:]
            for name, role, *_ in _ACCOUNTS:
                accounts.add_user(
                    session, township, name, role, passwords[name], start, must_change=False
                )
            demo_desk.settle(session, township, self.days[0], start)
            demo_odd.settle(session, township, self.people, self.odd, start)
            codes = [person.official for person in self.people]
            demo_portraits.publish(session, township, codes, self.config)
            self._leave(session, township, start)
        return passwords

    def _pair(
        self,
        session: Session,
        township: Township,
        start: datetime,
        site: str | None,
        kind: SiteKind,
    ) -> Kiosk:
        what = "desk" if site is None else "kiosk"
        code = pairing.make_code(
            session, township, what, start, self.keys, site, None if site is None else kind
        )
        device_keys = DeviceKeys.generate()
        reply = pairing.pair(
            session,
            wire.PairRequest(
                code=str(code),
                kind=what,
                sign_key=to_text(device_keys.sign_public),
                box_key=to_text(device_keys.box_public),
            ),
            start,
            self.keys,
        )
        head = genesis(reply.device, 1)
        rng = random.Random(self.rng.random())  # noqa: S311  # nosec B311 # guards nothing
        made = Kiosk(reply.device, device_keys, kind, rng, head, to_ms(start), "")
        made.reboot(to_ms(start))
        return made

    def _leave(self, session: Session, township: Township, start: datetime) -> None:
        clerk, leader = (
            session.query(User).filter_by(name=name).one() for name in ("wenshu", "lingdao")
        )
        for n, person in enumerate(self.people):
            if n % demo_odd.LEAVE_EVERY != demo_odd.LEAVE_FIRST:
                continue
            first = self.days[(n * 5) % len(self.days)]
            status = Status.BUSINESS_TRIP if n % 2 else Status.ON_LEAVE
            row = leave.ask(
                session, township, person.official, status, from_ms(day_start_ms(first)),
                from_ms(day_start_ms(first + timedelta(1 + n % 3))), "培训" if n % 2 else "事假",
                clerk, start,
            )  # fmt: skip
            if n % 4 != 3:
                leave.decide(session, row.id, True, leader, start)

    def _live(self, session: Session, day: date) -> None:
        """One day of every kiosk: morning, the people, evening, with power cuts and dead links."""
        base = day_start_ms(day)
        if self.calendar.is_working(day) or day == self.today:
            moments = self._moments(day, base)
            for number, kiosk in enumerate(self.kiosks):
                self._one_day(session, kiosk, number, day, moments.get(number, []))
        else:
            nights = self._nights(day, base)
            for number, kiosk in enumerate(self.kiosks):
                for ms, _, official in nights.get(number, ()):
                    kiosk.record(ms, Kind.CHECKOUT, official, Status.LEFT)
                self._sync(session, kiosk, base + 12 * 3_600_000)

    def _nights(self, day: date, base: int) -> dict[int, list[tuple[int, str, str]]]:
        """Who goes home that morning from a night on watch, by kiosk."""
        places = {name: n for n, (name, _) in enumerate(self.sites)}
        found: dict[int, list[tuple[int, str, str]]] = {}
        for person in self.people:
            if self.odd.get((day - timedelta(1), person.official)) == "night":
                left = (base + 485 * 60_000, "out", person.official)
                found.setdefault(places[person.sites[0]], []).append(left)
        return found

    def _moments(self, day: date, base: int) -> dict[int, list[tuple[int, str, str]]]:
        """What happens at which kiosk: (moment, what, official), in order."""
        places = {name: n for n, (name, _) in enumerate(self.sites)}
        early, late = base + int(7.6 * 3_600_000), base + int(9.2 * 3_600_000)
        weekend = not self.calendar.is_working(day)
        if day == self.today and to_ms(self.now) < late:
            # Whoever looks before the morning is over is to see a board with people on it.
            early, late = max(base, to_ms(self.now) - 3_600_000), to_ms(self.now) - 60_000
        found = self._nights(day, base)
        home = {official for listed in found.values() for _, _, official in listed}
        for person in self.people:
            luck = self.rng.random()
            site = places[person.sites[0]]
            arrives = int(self.rng.triangular(early, max(early, late), early + (late - early) / 3))
            leaves = base + int(self.rng.triangular(17.0, 18.2, 17.6) * 3_600_000)
            if person.official in home:
                continue
            odd = self.odd.get((day, person.official))
            if odd is not None:
                site = demo_odd.kiosk_of(odd, site, len(self.sites))
                found.setdefault(site, []).extend(
                    demo_odd.moments(odd, base, arrives, leaves, person.official)
                )
                continue
            if luck < 0.04 or (weekend and luck > 0.6):
                continue
            what = "face"
            if luck < 0.07:
                what = "trip"
            elif luck < 0.12:
                what = "pin"
            elif luck < 0.13:
                what, site = "unverified", self.rng.randrange(len(self.sites))
            found.setdefault(site, []).append((arrives, what, person.official))
            if what in ("face", "pin") and luck < 0.9:
                found.setdefault(site, []).append((leaves, "out", person.official))
        return found

    def _one_day(
        self,
        session: Session,
        kiosk: Kiosk,
        number: int,
        day: date,
        moments: list[tuple[int, str, str]],
    ) -> None:
        base = day_start_ms(day)
        kinds = {what for _, what, _ in moments}
        if number and number % 9 == 0 and day >= self.today - timedelta(2):
            kiosk.offline_until_ms = base + 10 * 86_400_000  # the hailstorm: nobody knows yet
        elif "silent" in kinds:
            kiosk.offline_until_ms, moments = base + 86_400_000, []
        elif "yesterday" in kinds:
            kiosk.offline_until_ms = base + 18 * 3_600_000
        elif number and number not in self.calm and self.rng.random() < 0.03:
            kiosk.offline_until_ms = base + self.rng.randrange(1, 4) * 86_400_000
            # Some come back with a clock battery that is dead.
            kiosk.wall_off_ms = 0 if self.rng.random() < 0.6 else DEAD_MS
        if kiosk.offline_until_ms > base - 86_400_000:
            kiosk.reboot(
                base + 5 * 3_600_000 if to_ms(self.now) > base + 6 * 3_600_000 else base
            )  # the power fails every night, too
        self._sync(session, kiosk, base + 7 * 3_600_000)
        presence = presence_at(kiosk.kind)
        # What is days ago was exchanged once in the evening; what is near as often as a kiosk does.
        near = day >= self.today - timedelta(2)
        hours = (9, 12, 17.5, 19, 23.9) if near else (19,)
        syncs = [(base + int(hour * 3_600_000), "sync", "") for hour in hours]
        for ms, what, official in sorted([*moments, *syncs]):
            if ms > to_ms(self.now):
                break
            if what == "sync":
                self._sync(session, kiosk, ms)
            elif what == "out":
                kiosk.record(ms, Kind.CHECKOUT, official, Status.LEFT)
            elif what in ("doubtful", "yesterday"):
                # The power fails before and after: no proof is of that boot, and the battery dead.
                kiosk.reboot(ms - 600_000)
                kiosk.record(ms, Kind.CHECKIN, official, presence, wall_off_ms=DEAD_MS)
                kiosk.reboot(ms + 600_000)
            elif what == "leap":
                kiosk.record(ms, Kind.CHECKIN, official, presence, boot_off_ms=LEAP_MS)
            elif what == "leapt out":
                kiosk.record(ms, Kind.CHECKOUT, official, Status.LEFT, boot_off_ms=LEAP_MS)
            elif what == "sample":
                kiosk.record(ms, Kind.CHECKIN, official, presence, liveness="off")
            elif what == "amend":
                kiosk.record(ms, Kind.AMEND, official, presence, supersedes=kiosk.last)
            elif what == "trip":
                kiosk.record(
                    ms, Kind.DECLARE, official, Status.BUSINESS_TRIP,
                    reason=self.rng.choice(_REASONS), until_ms=base + 18 * 3_600_000,
                )  # fmt: skip
            elif what == "pin":
                kiosk.record(ms, Kind.CHECKIN, official, presence, method=Method.PIN)
            elif what == "unverified":
                kiosk.record(
                    ms, Kind.CHECKIN, official, presence, method=Method.PIN, verified=False
                )
            else:
                kiosk.record(ms, Kind.CHECKIN, official, presence)
        if near:
            self._sync(session, kiosk, min(base + 24 * 3_600_000, to_ms(self.now)))

    def _sync(self, session: Session, kiosk: Kiosk, ms: int) -> None:
        """One exchange at `ms`, through the same services that answer the wire."""
        if ms > to_ms(self.now) or ms < kiosk.offline_until_ms:
            return
        kiosk.wall_off_ms = 0
        device = session.get_one(Device, kiosk.device)
        self._cursor(session, kiosk, device, ms)
        while kiosk.waiting:
            some = kiosk.waiting[: wire.MAX_BATCH]
            body = wire.encode_batch(
                kiosk.keys, kiosk.device, 1, kiosk.first_waiting, kiosk.before, some
            )
            reply = intake.receive_batch(session, device, body, from_ms(ms))
            kiosk.waiting = kiosk.waiting[len(some) :]
            kiosk.first_waiting, kiosk.before = reply.seq + 1, bytes.fromhex(reply.head)
            if not kiosk.waiting:
                self._cursor(session, kiosk, device, ms)

    def _cursor(self, session: Session, kiosk: Kiosk, device: Device, ms: int) -> None:
        health = wire.Health(
            camera="ok",
            lamps="rgb",
            clock="A",
            disk_free_mb=11_000,
            version="1",
            refused={"unknown": 2, "not_live": 1},
        )
        asked = wire.CursorRequest(
            epoch=1,
            seq=kiosk.seq,
            head=kiosk.head.hex(),
            boot_id=kiosk.boot_id,
            boottime_ns=max(ms - kiosk.booted_ms, 0) * 1_000_000,
            wall_ms=ms,
            pending=len(kiosk.waiting),
            gallery=1,
            anchor=None if kiosk.anchor is None else kiosk.anchor[0],
            rtt_ns=None if kiosk.anchor is None else kiosk.anchor[1],
            health=health,
        )
        reply = cursors.cursor(session, device, asked, from_ms(ms), secret=self.keys.secret)
        kiosk.anchor = (reply.anchor.id, kiosk.rng.randrange(30, 900) * 1_000_000)
