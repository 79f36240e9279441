"""Withdrawal: consent ends, the face vanishes here at once, kiosks are told and must confirm."""

from __future__ import annotations

from dataclasses import dataclass

from attendance.days import day_of
from attendance.statuses import SiteKind
from enroll.desk import Desk
from enroll.errors import OfficialUnknown
from enroll.ledger import Owed
from enroll.proposals import Proposals
from enroll.store import Consented, Store


@dataclass(frozen=True)
class Withdrawn:
    """What a withdrawal did. `had_consent` is False where none stood; `templates` counts those
    erased here, `proposals` the pictures that nobody had decided yet; `owed` are the kiosks that
    have to confirm."""

    official: str
    had_consent: bool
    templates: int
    portrait: bool
    pin: bool
    owed: list[Owed]
    proposals: int = 0


def withdraw_consent(
    desk: Desk,
    official: str,
    *,
    what: tuple[Consented, ...] = ("face", "portrait"),
    leaving: bool = False,
) -> Withdrawn:
    """End the consent and erase the templates on this desk, whether or not the server is reached.

    The PIN stays, with which the official goes on checking in. leaving: they leave the township,
    so particulars and PIN go too. Safe to repeat. Raises OfficialUnknown or DeskUnusable.
    """
    store, ledger = desk.store, desk.ledger
    if store.official(official) is None and store.consent(official, "face") is None:
        raise OfficialUnknown(
            f"本机没有编号为 {official} 的人员：用 quxiang-enroll list 查看",
            f"nobody here has the id {official}: quxiang-enroll list shows who is",
        )
    now_ms = desk.now_ms()
    face = store.face(official)
    pin = store.pin(official) is not None
    portrait = "portrait" in what and (
        store.portrait(official) is not None or store.sent_portrait(official) is not None
    )
    with store.transaction():
        ended = [store.end_consent(official, purpose, now_ms) for purpose in what]
        # What hangs on the face goes with it; the server erases its own with the withdrawal.
        store.end_consent(official, "proposals", now_ms)
        pictures = Proposals(desk).erase(official, told=True)
        # The server drops every portrait with a withdrawal: one that may stay is sent again.
        store.erase(official, "face", "portrait")
        if any(ended) or face is not None or leaving:
            ledger.bury(official, now_ms)
        if leaving:
            store.remove_official(official)
    store.shred()
    return Withdrawn(
        official,
        any(ended),
        0 if face is None else len(face.templates),
        portrait,
        pin and leaving,
        ledger.owed(official),
        pictures,
    )


def follow_withdrawal(desk: Desk, official: str, at_ms: int) -> bool:
    """Do again a withdrawal of `at_ms` that this desk, put back to an older copy, knows no more.

    Every consent that was not given since ends as of then, face and portrait are erased here, and
    each kiosk that may hold the face is asked to erase it. False where there was nothing to end.
    Raises DeskUnusable.
    """
    store, ledger = desk.store, desk.ledger
    purposes: tuple[Consented, ...] = ("face", "portrait", "proposals")
    with store.transaction():
        ended = [what for what in purposes if _is_before(store, official, what, at_ms)]
        if not ended:
            return False
        ended_ms = min(at_ms, desk.now_ms())  # a wrong clock's word must not bar a new consent
        for what in ended:
            store.end_consent(official, what, ended_ms)
        if "face" in ended:
            store.end_consent(official, "proposals", ended_ms)
            store.erase(official, "face")
            Proposals(desk).erase(official, told=True)
            ledger.bury(official, at_ms, told=True, also=_expecting(desk, official))
        public = store.consent(official, "portrait")
        if public is None or not public.stands:
            store.erase(official, "portrait")
    store.shred()
    return True


def _is_before(store: Store, official: str, what: Consented, at_ms: int) -> bool:
    """Whether a consent stands that was given before that moment."""
    consent, day = store.consent(official, what), day_of(at_ms)
    if consent is None or not consent.stands:
        return False
    if consent.given_on != day:
        return consent.given_on < day
    return (store.granted_ms(official, what) or 0) <= at_ms


def _expecting(desk: Desk, official: str) -> list[str]:
    """Kiosks to which the face may have been sealed after the copy was made."""
    row = desk.store.official(official)
    sites = [] if row is None else row.sites
    return [
        kiosk.device
        for kiosk in desk.ledger.kiosks()
        if not kiosk.revoked and (kiosk.site_kind is SiteKind.OFFICE or kiosk.site in sites)
    ]
