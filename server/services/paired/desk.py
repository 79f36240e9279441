"""What the enrolment desk sends and asks: roster, sealed galleries, withdrawals, receipts."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime

from sqlalchemy import delete, select, union
from sqlalchemy.orm import Session

from attendance import wire
from attendance.days import to_ms
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.galleries import is_believable
from attendance.receipts import receipt_signature
from attendance.records import Record, decode_record
from attendance.signing import SIGNATURE_BYTES, check, from_text, to_text
from attendance.statuses import SiteKind
from server.errors import ApiProblem
from server.models import (
    Device,
    Expectation,
    GalleryRow,
    Official,
    PastExpectation,
    RecordRow,
    RosterDay,
    Site,
    Township,
    WithdrawalRow,
    WorkGroup,
)
from server.services.evidence import audit
from server.services.paired import proposals
from server.services.township.rosters import expect_at
from server.services.township.townships import clean, sites, touch_roster


def site_rows(session: Session, desk: Device) -> list[wire.SiteRow]:
    """The township's sites."""
    township = session.get_one(Township, desk.township_id)
    return [wire.SiteRow(site=s.name, kind=SiteKind(s.kind)) for s in sites(session, township)]


def kiosk_rows(session: Session, desk: Device) -> list[wire.KioskRow]:
    """Every kiosk ever paired; `gallery` is the highest version accepted for it, or taken by it.

    A server that was put back to an older backup learns from the kiosk how far the desk had got.
    """
    rows = session.scalars(
        select(Device)
        .where(Device.township_id == desk.township_id, Device.kind == "kiosk")
        .order_by(Device.paired_ms, Device.id)
    ).unique()
    return [
        wire.KioskRow(
            device=d.id,
            site=d.site.name,
            site_kind=SiteKind(d.site.kind),
            sign_key=to_text(d.sign_key),
            box_key=to_text(d.box_key),
            gallery=_gallery_of(d),
            revoked=d.revoked_ms is not None,
        )
        for d in rows
        if d.site is not None
    ]


def _gallery_of(kiosk: Device) -> int:
    held, taken = kiosk.gallery_version, kiosk.gallery_on_device
    # A release before this one kept whatever number a kiosk named.
    return max(held, taken) if is_believable(taken, held) else held


def store_roster(
    session: Session, desk: Device, roster: wire.Roster, now: datetime
) -> wire.RosterReply:
    """Adds and updates officials; an unknown site refuses its row, an unknown group is made."""
    now_ms = to_ms(now)
    mine = desk.township_id
    places = {s.name: s.id for s in session.scalars(select(Site).where(Site.township_id == mine))}
    groups = {
        g.name: g for g in session.scalars(select(WorkGroup).where(WorkGroup.township_id == mine))
    }
    held = {
        o.official: o for o in session.scalars(select(Official).where(Official.township_id == mine))
    }
    expected: dict[int, dict[int, Expectation]] = {}
    for e in session.scalars(select(Expectation).where(Expectation.township_id == mine)):
        expected.setdefault(e.official_id, {})[e.site_id] = e
    results = []
    for row in roster.officials:
        unknown = next((name for name in row.sites if name not in places), None)
        if unknown is not None or not clean(row.name, 60):
            why = "bad_name" if unknown is None else f"unknown_site: {unknown}"
            results.append(wire.RosterResult(official=row.official, result="rejected", why=why))
            continue
        group = _group(session, groups, mine, clean(row.work_group, 200))
        person = held.get(row.official)
        if person is None:
            person = Official(
                township_id=mine, official=row.official, active=True, created_ms=now_ms
            )
            session.add(person)
            held[row.official] = person
        person.name = clean(row.name, 60)
        person.title = clean(row.title, 200)
        person.phone = clean(row.phone, 40)
        person.work_group_id = None if group is None else group.id
        person.updated_ms = now_ms
        session.flush()
        wanted = {places[name] for name in row.sites}
        held_sites = expected.setdefault(person.id, {})
        expect_at(session, person, wanted, held_sites, f"device:{desk.id}", now)
        results.append(wire.RosterResult(official=row.official, result="stored"))
    touch_roster(session, mine)
    audit.note_for(session, mine, f"device:{desk.id}", "roster", f"{len(results)}", now)
    return wire.RosterReply(results=results)


def _group(
    session: Session, groups: dict[str, WorkGroup], township_id: int, name: str
) -> WorkGroup | None:
    if not name:
        return None
    if name not in groups:
        groups[name] = WorkGroup(township_id=township_id, name=name)
        session.add(groups[name])
        session.flush()
    return groups[name]


def store_gallery(
    session: Session, desk: Device, kiosk_id: str, body: bytes, now: datetime
) -> None:
    """Keeps a sealed gallery for a kiosk, of which only the manifest can be read here.

    Raises ApiProblem: `malformed` (not a package, not for that kiosk, hash), `signature` (not this
    desk's), `rollback` (the version does not rise).
    """
    kiosk = session.get(Device, kiosk_id, with_for_update={"of": Device})
    if kiosk is None or kiosk.township_id != desk.township_id or kiosk.kind != "kiosk":
        raise ApiProblem(400, "malformed", "there is no such kiosk")
    if kiosk.revoked_ms is not None:
        raise ApiProblem(400, "malformed", "that kiosk is revoked")
    try:
        package = wire.decode(body, wire.GalleryPackage, wire.MAX_GALLERY)
        manifest = wire.decode(bytes(package.manifest), wire.Manifest)
        sealed = base64.b64decode(package.sealed, validate=True)
    except (WireInvalid, binascii.Error, ValueError) as error:
        raise ApiProblem(400, "malformed", f"not a gallery package: {error}") from None
    try:
        signature = from_text(package.signature, SIGNATURE_BYTES)
        check(desk.sign_key, wire.MANIFEST_DOMAIN, bytes(package.manifest), signature)
    except SignatureInvalid as error:
        raise ApiProblem(401, "signature", f"the manifest: {error}") from None
    if manifest.device != kiosk.id:
        raise ApiProblem(400, "malformed", "the manifest is addressed to another kiosk")
    if hashlib.sha256(sealed).hexdigest() != manifest.sealed_sha256:
        raise ApiProblem(400, "malformed", "the seal is not the one of the manifest")
    limit = 2**63
    if not all(0 <= n < limit for n in (manifest.version, manifest.made_ms, manifest.expires_ms)):
        raise ApiProblem(400, "malformed", "a number of the manifest is out of range")
    if manifest.version <= kiosk.gallery_version:
        raise ApiProblem(409, "rollback", f"version {kiosk.gallery_version} is held already")
    row = session.get(GalleryRow, kiosk.id)
    if row is None:
        row = GalleryRow(township_id=kiosk.township_id, device_id=kiosk.id)
        session.add(row)
    row.version = manifest.version
    row.people = min(max(manifest.people, 0), 2**31 - 1)
    row.package = body
    row.made_ms = manifest.made_ms
    row.expires_ms = manifest.expires_ms
    row.received_ms = to_ms(now)
    kiosk.gallery_version = manifest.version


def gallery_for(session: Session, kiosk: Device, have: int) -> bytes | None:
    """The exact bytes of the kiosk's package where its version is above `have`, else None."""
    return session.scalar(
        select(GalleryRow.package).where(
            GalleryRow.device_id == kiosk.id, GalleryRow.version > have
        )
    )


def withdraw(session: Session, desk: Device, asked: wire.Withdrawal, now: datetime) -> str | None:
    """Notes a withdrawal of consent, and forgets portrait and galleries that hold the person.

    The galleries of the kiosks where they are or were expected, or were ever sent, and of every
    office go, until the desk sends new ones; a kiosk's version still may only rise. Returns the
    portrait's token, whose file the caller deletes after the commit. Raises ApiProblem
    `unknown_official`.
    """
    person = official_of(session, desk, asked.official)
    again = session.scalar(
        select(WithdrawalRow.id).where(
            WithdrawalRow.township_id == desk.township_id,
            WithdrawalRow.official == asked.official,
            WithdrawalRow.at_ms == asked.at_ms,
        )
    )
    if again is not None:
        return None
    session.add(
        WithdrawalRow(
            township_id=desk.township_id,
            official=asked.official,
            at_ms=asked.at_ms,
            device_id=desk.id,
            received_ms=to_ms(now),
        )
    )
    token, person.portrait = person.portrait, None
    pictures = proposals.forget(session, desk.township_id, asked.official)
    places = union(
        *(
            select(of.site_id).where(
                of.township_id == desk.township_id, of.official_id == person.id
            )
            for of in (Expectation, PastExpectation, RosterDay)
        )
    )
    holders = (
        select(Device.id)
        .join(Site, Site.id == Device.site_id)
        .where(
            Device.township_id == desk.township_id,
            (Site.kind == "office") | Site.id.in_(places),
        )
    )
    session.execute(
        delete(GalleryRow)
        .where(GalleryRow.device_id.in_(holders))
        .execution_options(synchronize_session=False)
    )
    touch_roster(session, desk.township_id)
    who = f"device:{desk.id}"
    audit.note_for(session, desk.township_id, who, "withdraw", asked.official, now)
    if pictures:
        gone = f"{asked.official} {pictures}"
        audit.note_for(session, desk.township_id, who, "proposals_erased", gone, now)
    session.flush()
    return token


def withdrawn(session: Session, desk: Device) -> list[wire.Withdrawn]:
    """Every withdrawal that this server knows of, oldest first: the desk repeats what it lacks."""
    rows = session.execute(
        select(WithdrawalRow.official, WithdrawalRow.at_ms)
        .where(WithdrawalRow.township_id == desk.township_id)
        .order_by(WithdrawalRow.id)
    )
    return [wire.Withdrawn(official=official, at_ms=at_ms) for official, at_ms in rows]


def official_of(session: Session, desk: Device, code: str) -> Official:
    """The official with that code in the desk's township. Raises ApiProblem `unknown_official`."""
    person = session.scalar(
        select(Official).where(Official.township_id == desk.township_id, Official.official == code)
    )
    if person is None:
        raise ApiProblem(404, "unknown_official", "the roster has no such official")
    return person


def erasure_rows(session: Session, desk: Device) -> list[wire.ErasureRow]:
    """The kiosks' receipts, oldest first."""
    rows = session.execute(
        select(RecordRow, Site.name)
        .join(Site, Site.id == RecordRow.site_id)
        .where(RecordRow.township_id == desk.township_id, RecordRow.kind == "erasure")
        .order_by(RecordRow.id)
    )
    return [_erasure_row(row, decode_record(row.payload), site) for row, site in rows]


def _erasure_row(row: RecordRow, record: Record, site: str) -> wire.ErasureRow:
    return wire.ErasureRow(
        device=row.device_id,
        site=site,
        official=row.official or "",
        record_id=row.record_id,
        epoch=row.epoch,
        seq=row.seq,
        head=row.head.hex(),
        received_ms=row.received_ms,
        version=record.gallery,
        signature=receipt_signature(record),
    )
