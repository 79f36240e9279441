"""The public board: what of everybody's whereabouts the township shows, and what is not heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Row, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from attendance.days import from_ms, to_ms
from attendance.statuses import LOOKS, Status
from attendance.whereabouts import STALE_AFTER_MS
from server.db import plain
from server.models import Device, Site, Township
from server.services.public.matters import likeness
from server.services.public.publication import Publication, publication
from server.services.sheets.roster import roster_of
from server.services.township.whereabouts import OfficialWhereabouts, board_version, whereabouts_at


class PublicRow(msgspec.Struct, frozen=True, gc=False):
    """All that the public board may say of a person; a field not chosen is empty.

    `status` is the key, `colour` and `shape` those of `attendance.statuses.LOOKS`; `until` is the
    stated return; `portrait` the token of a public picture (`/portraits/TOKEN.jpg`), `page` that of
    their own page. `heard` is when their site was last heard where it is cut off now, so that
    something newer may be true.
    """

    name: str
    title: str
    phone: str
    status: str
    colour: str
    shape: str
    until: datetime | None
    work_group: str
    portrait: str | None
    duties: str = ""
    since: datetime | None = None
    village: str = ""
    reason: str | None = None
    heard: datetime | None = None
    page: str | None = None


@dataclass(frozen=True)
class SilentSite:
    """A site whose kiosks have not been heard for `STALE_AFTER_MS`; `heard` None: never."""

    name: str
    heard: datetime | None


def silent_sites(session: Session, township: Township, now: datetime) -> list[SilentSite]:
    """The sites that are cut off, by name. A site without a kiosk is none."""
    return [
        SilentSite(name, None if heard is None else from_ms(heard))
        for name, heard in _silent(session, township, now)
    ]


def _silent_asked() -> Select[Any, Any]:
    """Of a thousand sites only those that are silent come along."""
    newest = func.max(Device.last_contact_ms)
    silent = (
        select(Device.site_id, newest.label("heard"))
        .where(
            Device.township_id == bindparam("township"),
            Device.kind == "kiosk",
            Device.revoked_ms.is_(None),
        )
        .group_by(Device.site_id)
        .having(or_(newest.is_(None), newest < bindparam("before", type_=BigInteger)))
        .subquery()
    )
    return (
        select(Site.name, silent.c.heard)
        .join(silent, silent.c.site_id == Site.id)
        .where(Site.township_id == bindparam("township"))
        .order_by(Site.id)
    )


# Built once, and past the ORM: it is asked at every look at the board.
_SILENT = _silent_asked()


def _silent(session: Session, township: Township, now: datetime) -> Sequence[Row[Any, Any]]:
    asked = {"township": township.id, "before": to_ms(now) - STALE_AFTER_MS}
    return list(plain(session, _SILENT, asked))


@dataclass(frozen=True)
class PublicBoard:
    """The board in its order, the sites that are cut off, and the fields that are shown."""

    rows: list[PublicRow]
    silent: list[SilentSite]
    fields: frozenset[str]


def public_rows(session: Session, township: Township, now: datetime) -> list[PublicRow]:
    """The board in its order."""
    return public_board(session, township, now).rows


def public_board(session: Session, township: Township, now: datetime) -> PublicBoard:
    """All that the public board shows, each thing asked for once."""
    shown = publication(session, township.id)
    cut_off = silent_sites(session, township, now)
    silent = {site.name: site.heard for site in cut_off}
    more = roster_of(session, township).by_code
    rows = []
    for person in whereabouts_at(session, township, now):
        listed = more[person.official]
        heard = _heard(person, silent, listed.sites) if silent else None
        rows.append(_row(person, shown, listed.duties, listed.page, heard))
    return PublicBoard(rows, cut_off, shown.fields)


def ranked(rows: Sequence[PublicRow], query: str) -> list[PublicRow]:
    """The rows that answer a question, best first, in the board's order among equals.

    Searched is only what is shown. They are the very rows, not copies.
    """
    marked = [(likeness(query, r.name, r.phone, r.duties, r.title, r.work_group), r) for r in rows]
    best = max((mark for mark, _ in marked), default=0)
    # Who is called so is meant; who only shares letters or a matter with them is not.
    floor = 60 if best >= 60 else 1
    return [r for mark, r in sorted(marked, key=lambda pair: -pair[0]) if mark >= floor]


def _heard(
    person: OfficialWhereabouts, silent: dict[str, datetime | None], expected: frozenset[str]
) -> datetime | None:
    """When the last of the sites that could know better was heard, where all are cut off."""
    where = person.where
    sites = frozenset((where.site,)) if where.site else expected
    if not sites or not sites <= silent.keys():
        return None
    times = [heard for heard in (silent[site] for site in sites) if heard is not None]
    return max(times) if times else None


def _row(
    person: OfficialWhereabouts,
    shown: Publication,
    duties: str,
    page: str | None,
    heard: datetime | None,
) -> PublicRow:
    where, fields = person.where, shown.fields
    look = LOOKS[where.status]
    present = where.status in (Status.ON_DUTY, Status.IN_VILLAGE)
    # A leave's reason is nobody's business, whatever was chosen.
    tells_why = "reason" in fields and where.status is not Status.ON_LEAVE
    return PublicRow(
        name=person.name,
        title=person.title if "title" in fields else "",
        phone=person.phone if "phone" in fields else "",
        status=str(where.status),
        colour=look.colour,
        shape=look.shape,
        until=from_ms(where.until_ms) if "until" in fields and where.until_ms is not None else None,
        work_group=person.work_group if "work_group" in fields else "",
        portrait=person.portrait if "portrait" in fields else None,
        duties=duties if "duties" in fields else "",
        since=from_ms(where.since_ms) if "since" in fields and where.since_ms is not None else None,
        village=(where.site or "") if "village" in fields and present else "",
        reason=where.reason if tells_why else None,
        heard=heard,
        page=page,
    )


def public_version(session: Session, township: Township, now: datetime) -> str:
    """A word that changes whenever the public board may have changed: also by a site cut off."""
    shown = publication(session, township.id)
    fields = ",".join(sorted(shown.fields))
    silent = ",".join(f"{name} {heard}" for name, heard in _silent(session, township, now))
    return f"{board_version(session, township, now)}-{fields}-{silent}"
