"""Townships, their sites and their people as lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session, SessionTransaction

from attendance.days import from_ms, to_ms
from attendance.i18n import say
from attendance.statuses import SiteKind
from server.errors import InputInvalid, NotFound
from server.models import (
    CalendarDay,
    Device,
    Expectation,
    GroupSite,
    Official,
    PastExpectation,
    Quarantined,
    RejectedRecord,
    RosterDay,
    Shift,
    Site,
    Township,
    TownshipRule,
    WorkGroup,
)
from server.rules.verdict import believed
from server.services.sheets.roster import TOUCHED, roster_of
from server.services.township.search import matches


@dataclass(frozen=True)
class OfficialRow:
    """One official in a list. `sites` are the names of where they are expected."""

    official: str
    name: str
    title: str
    phone: str
    work_group: str
    sites: tuple[str, ...]
    portrait: str | None
    active: bool


@dataclass(frozen=True)
class KioskState:
    """One kiosk on the sites page. `state` is `ok`, `fork` or `revoked`.

    `apart_from`: from when on days wait for a review of what was set aside (`Device`).
    """

    device: str
    site: str
    site_kind: str
    state: str
    paired: datetime
    last_contact: datetime | None
    complete_until: datetime | None
    pending: int
    epoch: int
    seq: int
    gallery_on_device: int
    gallery_version: int
    health: dict[str, object]
    rejected: int
    quarantined: int
    apart_from: datetime | None


def create_township(session: Session, name: str, now: datetime) -> Township:
    """A new township. Raises InputInvalid for an empty, over-long or taken name."""
    name = clean(name, 120)
    if not name:
        raise InputInvalid("township_name", say("乡镇需要名称", "a township needs a name"), "name")
    if session.scalar(select(Township.id).where(Township.name == name)) is not None:
        raise InputInvalid(
            "township_taken", say(f"已有乡镇 {name}", f"there is a township {name} already"), "name"
        )
    number = (session.scalar(select(func.max(Township.id))) or 0) + 1
    township = Township(name=name, slug=f"t{number}", roster_version=0, created_ms=to_ms(now))
    session.add(township)
    session.flush()
    return township


def only_township(session: Session, name: str | None = None) -> Township:
    """The township by name, or the first where no name is given. Raises NotFound."""
    query = select(Township).order_by(Township.id).limit(1)
    if name is not None:
        query = query.where(Township.name == name)
    found = session.scalar(query)
    if found is None:
        raise NotFound(
            say("没有这个乡镇，请先运行 quxiang-server init", "no such township: run init first")
        )
    return found


def of_number(session: Session, number: int) -> Township | None:
    """The township of that number, for the county, which may read each."""
    return session.get(Township, number)


def site_of(session: Session, township: Township, name: str, kind: str | None = None) -> Site:
    """The site of that name, made (a village unless `kind` says otherwise) where it is new.

    Raises InputInvalid for a bad name or where the site exists and is of another kind.
    """
    name = clean(name, 60)
    if not name:
        raise InputInvalid("site_name", say("站点需要名称", "a site needs a name"), "site")
    site = session.scalar(select(Site).where(Site.township_id == township.id, Site.name == name))
    if site is None:
        site = Site(township_id=township.id, name=name, kind=str(SiteKind(kind or "village")))
        session.add(site)
        touch_roster(session, township.id)
        session.flush()
    elif kind is not None and site.kind != kind:
        raise InputInvalid(
            "site_kind",
            say(
                f"站点 {name} 已存在，类别是 {site.kind}",
                f"the site {name} is a {site.kind} already",
            ),
            "site_kind",
        )
    return site


def touch_roster(session: Session, township_id: int) -> None:
    """Notes that people, places, portraits or rules changed, so that boards are drawn again.

    A session does that by itself for rows that it flushes; plain SQL has to ask.
    """
    session.info.setdefault(TOUCHED, set()).add(township_id)
    session.execute(
        update(Township)
        .where(Township.id == township_id)
        .values(roster_version=Township.roster_version + 1)
        .execution_options(synchronize_session=False)
    )


#: Whatever the sheets and boards read as part of the roster.
ROSTER = (
    CalendarDay,
    Expectation,
    GroupSite,
    Official,
    PastExpectation,
    RosterDay,
    Shift,
    Site,
    TownshipRule,
    WorkGroup,
)


@event.listens_for(Session, "after_flush")
def _touch_after(session: Session, _context: object) -> None:
    """Raises the version for every change made by a session, once a transaction and township."""
    done: set[int] = session.info.setdefault(TOUCHED, set())
    changed = {
        row.township_id
        for listed in (session.new, session.dirty, session.deleted)
        for row in listed
        if isinstance(row, ROSTER)
    } - done
    for township_id in changed:
        touch_roster(session, township_id)


@event.listens_for(Session, "after_transaction_end")
def _forget_touched(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(TOUCHED, None)


def officials(session: Session, township: Township, search: str = "") -> list[OfficialRow]:
    """Everybody whom `search` means (`server.services.township.search`), by group, name.

    Of the roster that this process has read: no row of a thousand is fetched to show a hundred.
    """
    return [
        OfficialRow(
            p.official,
            p.name,
            p.title,
            p.phone,
            p.group,
            tuple(one.place.name for one in p.patterns if one.last is None),
            p.portrait,
            p.active,
        )
        for p in roster_of(session, township).people
        if matches(search, p.name, p.phone, p.official)
    ]


def sites(session: Session, township: Township) -> list[Site]:
    """The sites of the township, offices first."""
    return list(
        session.scalars(
            select(Site)
            .where(Site.township_id == township.id)
            .order_by(Site.kind != "office", Site.id)
        )
    )


def kiosks(session: Session, township: Township, now: datetime) -> list[KioskState]:
    """Every kiosk ever paired, by site, with how much of it was set aside, as known at `now`."""
    rejected, quarantined = (
        _per_device(session, township, t) for t in (RejectedRecord, Quarantined)
    )
    rows = session.scalars(
        select(Device)
        .where(Device.township_id == township.id, Device.kind == "kiosk")
        .order_by(Device.site_id, Device.paired_ms)
    ).unique()
    return [
        KioskState(
            device=d.id,
            site=d.site.name if d.site else "",
            site_kind=d.site.kind if d.site else "",
            state="revoked" if d.revoked_ms else "fork" if d.fork_ms else "ok",
            paired=from_ms(d.paired_ms),
            last_contact=None if d.last_contact_ms is None else from_ms(d.last_contact_ms),
            complete_until=None if until is None else from_ms(until),
            pending=d.pending,
            epoch=d.epoch,
            seq=d.seq,
            gallery_on_device=d.gallery_on_device,
            gallery_version=d.gallery_version,
            health=dict(d.health or {}),
            rejected=rejected.get(d.id, 0),
            quarantined=quarantined.get(d.id, 0),
            apart_from=None if d.apart_from_ms is None else from_ms(d.apart_from_ms),
        )
        for d in rows
        for until in [believed(d.complete_until_ms, to_ms(now))]
    ]


def _per_device(
    session: Session, township: Township, table: type[RejectedRecord] | type[Quarantined]
) -> dict[str, int]:
    rows = session.execute(
        select(table.device_id, func.count())
        .where(table.township_id == township.id)
        .group_by(table.device_id)
    )
    return {device: number for device, number in rows}  # noqa: C416 (rows are not tuples)


def clean(text: str, limit: int) -> str:
    """Text without control characters (PostgreSQL refuses NUL), trimmed to `limit` characters."""
    return "".join(c for c in text if c.isprintable()).strip()[:limit]
