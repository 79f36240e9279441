"""Proposals of template pictures: kept sealed between kiosk and desk, few, and not for long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from attendance import proposals as told
from attendance.days import to_ms
from attendance.errors import SignatureInvalid
from server.errors import ApiProblem
from server.models import Device, Official, Proposal, Site, Township, WithdrawalRow
from server.services.evidence import audit
from server.services.township.townships import clean


@dataclass(frozen=True)
class Pending:
    """Undecided proposals of one official that came from one site: how many still wait here for
    the desk, how many lie at the desk; `oldest_ms` is when the first of them was taken."""

    site: str
    official: str
    name: str
    waiting: int
    at_desk: int
    oldest_ms: int


def store(
    session: Session,
    kiosk: Device,
    package: told.ProposalPackage,
    body: bytes,
    now: datetime,
) -> None:
    """Keeps a package for the desk; the same one again changes nothing.

    Raises ApiProblem: `signature`, `malformed` (of another kiosk), `unknown_official`, `gone` (too
    old, or consent was withdrawn since), `full`.
    """
    mine, now_ms = kiosk.township_id, to_ms(now)
    try:
        told.check_proposal(package, kiosk.sign_key)
    except SignatureInvalid as error:
        raise ApiProblem(401, "signature", f"the proposal: {error}") from None
    if package.device != kiosk.id:
        raise ApiProblem(400, "malformed", "this is another kiosk's proposal")
    expire(session, mine, now)
    held = session.get(Proposal, package.id)
    if held is not None:
        if held.device_id != kiosk.id:
            raise ApiProblem(400, "malformed", "this id is another kiosk's")
        return
    _known(session, mine, package.official)
    withdrawn = session.scalar(
        select(func.max(WithdrawalRow.at_ms)).where(
            WithdrawalRow.township_id == mine, WithdrawalRow.official == package.official
        )
    )
    too_old = now_ms - package.at_ms >= told.LIFETIME_MS
    if too_old or (withdrawn is not None and package.at_ms <= withdrawn):
        raise ApiProblem(409, "gone", "the proposal is too old, or consent was withdrawn since")
    undecided = (
        select(func.count())
        .select_from(Proposal)
        .where(Proposal.township_id == mine, Proposal.decided.is_(None))
    )
    of_one = session.scalar(undecided.where(Proposal.official == package.official)) or 0
    if of_one >= told.MAX_OF_ONE or (session.scalar(undecided) or 0) >= told.MAX_WAITING:
        raise ApiProblem(409, "full", "enough proposals wait for the desk already")
    session.add(
        Proposal(
            id=package.id,
            township_id=mine,
            device_id=kiosk.id,
            official=package.official,
            at_ms=package.at_ms,
            received_ms=now_ms,
            package=body,
        )
    )


def rows(session: Session, desk: Device, now: datetime) -> list[told.ProposalRow]:
    """What waits for the desk, oldest first."""
    expire(session, desk.township_id, now)
    found = session.execute(
        select(Proposal.id, Proposal.official, Proposal.device_id, Proposal.at_ms)
        .where(Proposal.township_id == desk.township_id, Proposal.package.is_not(None))
        .order_by(Proposal.received_ms, Proposal.id)
    )
    return [
        told.ProposalRow(id=ident, official=official, device=device, at_ms=at_ms)
        for ident, official, device, at_ms in found
    ]


def package_of(session: Session, desk: Device, ident: str) -> bytes:
    """The exact bytes of one. Raises ApiProblem `not_found`."""
    body = session.scalar(
        select(Proposal.package).where(
            Proposal.township_id == desk.township_id, Proposal.id == ident
        )
    )
    if body is None:
        raise ApiProblem(404, "not_found", "no such proposal waits")
    return body


def taken(session: Session, desk: Device, ident: str) -> None:
    """The desk has it: the picture is erased here, that it is undecided stays known."""
    row = _of(session, desk, ident)
    if row is not None:
        row.package = None


def decide(session: Session, desk: Device, asked: told.Decision, now: datetime) -> None:
    """Notes in the trail what the desk did with a proposal, and who decided; once each.

    A proposal that came to the desk by USB stick was never here: it is noted all the same. Raises
    ApiProblem `unknown_official`, `malformed` (a decision without a name).
    """
    by = clean(asked.by, len(asked.by))
    if asked.what != "erased" and not by:
        raise ApiProblem(400, "malformed", "a decision names who decided")
    expire(session, desk.township_id, now)
    _known(session, desk.township_id, asked.official)
    row = _of(session, desk, asked.id)
    if row is None:
        kiosk, taken_id = session.get(Device, asked.device), session.get(Proposal, asked.id)
        if kiosk is None or kiosk.township_id != desk.township_id or taken_id is not None:
            raise ApiProblem(400, "malformed", "this is no proposal of a kiosk of ours")
        row = Proposal(
            id=asked.id,
            township_id=desk.township_id,
            device_id=kiosk.id,
            official=asked.official,
            at_ms=asked.at_ms,
            received_ms=to_ms(now),
        )
        session.add(row)
    if row.decided is not None:
        return
    row.package, row.decided = None, asked.what
    who = f"device:{desk.id}" + (f" {by}" if by else "")
    target = f"{asked.official} {asked.id}"
    audit.note_for(session, desk.township_id, who, f"proposal_{asked.what}", target, now)


def forget(session: Session, township_id: int, official: str) -> int:
    """Consent was withdrawn: nothing of theirs stays. How many sealed pictures were erased."""
    mine = (Proposal.township_id == township_id, Proposal.official == official)
    held = session.scalar(
        select(func.count()).select_from(Proposal).where(*mine, Proposal.package.is_not(None))
    )
    _erase(session, *mine)
    return held or 0


def expire(session: Session, township_id: int, now: datetime) -> None:
    """Nothing stays longer than `attendance.proposals.LIFETIME_MS`."""
    oldest = to_ms(now) - told.LIFETIME_MS
    _erase(session, Proposal.township_id == township_id, Proposal.received_ms <= oldest)


def pending(session: Session, township: Township, now: datetime) -> list[Pending]:
    """Undecided proposals by site and official, for the supervisors' page; the pictures are sealed.

    What is due to be erased is left out.
    """
    oldest = to_ms(now) - told.LIFETIME_MS
    found = session.execute(
        select(
            Site.name,
            Proposal.official,
            Official.name,
            func.count(Proposal.package),
            func.count(),
            func.min(Proposal.at_ms),
        )
        .join(Device, Device.id == Proposal.device_id)
        .join(Site, Site.id == Device.site_id)
        .join(
            Official,
            (Official.township_id == Proposal.township_id)
            & (Official.official == Proposal.official),
        )
        .where(
            Proposal.township_id == township.id,
            Proposal.decided.is_(None),
            Proposal.received_ms > oldest,
        )
        .group_by(Site.name, Proposal.official, Official.name)
        .order_by(Site.name, Proposal.official)
    )
    return [
        Pending(site, official, name, waiting, total - waiting, first)
        for site, official, name, waiting, total, first in found
    ]


def _known(session: Session, township_id: int, official: str) -> None:
    known = select(Official.id).where(
        Official.township_id == township_id, Official.official == official
    )
    if session.scalar(known) is None:
        raise ApiProblem(404, "unknown_official", "the roster has no such official")


def _of(session: Session, desk: Device, ident: str) -> Proposal | None:
    return session.scalar(
        select(Proposal).where(Proposal.township_id == desk.township_id, Proposal.id == ident)
    )


def _erase(session: Session, *which: object) -> None:
    session.execute(
        delete(Proposal).where(*which).execution_options(synchronize_session="fetch")  # type: ignore[arg-type]
    )
