"""Proposed pictures at the desk: taken from kiosks, kept sealed, decided by a supervisor by name.

Nothing here becomes a template by itself: `accept` is a person's act, and the picture passes the
gate that every enrolment picture passes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from attendance import wire
from attendance.days import DAY_MS
from attendance.errors import QuxiangError
from attendance.proposals import (
    LIFETIME_MS,
    MAX_OF_ONE,
    MAX_WAITING,
    Decision,
    ProposalContents,
    ProposalPackage,
    check_proposal,
    open_proposal,
)
from attendance.signing import from_text
from enroll.client import Client
from enroll.desk import Desk
from enroll.errors import EnrollError, ProposalUnknown, ServerRefused
from enroll.keyring import KEY_BYTES, open_secret, seal_secret
from enroll.store import Consented, Store

AHEAD_MS = DAY_MS
"""How far a kiosk's clock may be ahead of the desk's before its word is not taken."""
MAX_FILE = 64 << 20
"""Bytes of a file from a stick."""

Fate = Literal["taken", "known", "full", "unasked", "stale", "foreign"]


class ProposalFile(wire.Reply, frozen=True, kw_only=True):
    """What `quxiang-kiosk export` writes."""

    v: int = wire.VERSION
    proposals: list[ProposalPackage]


@dataclass(frozen=True)
class Proposal:
    """A row of the desk's log. `what` is None while undecided, else `accepted`, `refused` or
    `erased` (unseen: consent withdrawn, or out of time), by `who` at `decided_ms`."""

    id: str
    official: str
    device: str
    at_ms: int
    taken_ms: int
    what: str | None
    who: str
    decided_ms: int | None


class Proposals:
    """The desk's pile and log of proposals. Rows stay; pictures go with the decision."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.store: Store = desk.store

    def rows(self, *, undecided: bool = True) -> list[Proposal]:
        """Those that wait for a decision, or all, oldest first."""
        found = self.store.rows(
            "SELECT id, official, device, at_ms, taken_ms, what, who, decided_ms FROM proposals"
            " WHERE what IS NULL OR NOT ? ORDER BY at_ms, id",
            undecided,
        )
        return [Proposal(*row) for row in found]

    def find(self, start: str) -> Proposal:
        """The undecided one whose id starts so. Raises ProposalUnknown."""
        found = [row for row in self.rows() if start and row.id.startswith(start.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            raise ProposalUnknown(
                f"{start} 不止一张：请多写几位", f"{start} is not the only one: give more of it"
            )
        raise ProposalUnknown(
            f"没有编号以 {start} 开头的待审照片：quxiang-enroll proposals list",
            f"no picture with an id like {start} waits: quxiang-enroll proposals list",
        )

    def contents(self, ident: str) -> ProposalContents:
        """What was sealed to the desk. Raises ProposalUnknown where it is gone."""
        with self.store.locked():
            found = self.store.rows("SELECT wrapped, box FROM proposals WHERE id = ?", ident)
            if not found or found[0][1] is None:
                raise ProposalUnknown(f"{ident} 已处理", f"{ident} was decided already")
            key = self.store.keyring.unwrap(found[0][0])
            data = open_secret(key, f"{ident} proposal", found[0][1])
        return msgspec.msgpack.decode(data, type=ProposalContents)

    # -- taking -------------------------------------------------------------------------------
    def take(self, package: ProposalPackage) -> Fate:
        """Keep a kiosk's proposal, once.

        foreign: of no kiosk whose key is pinned, or forged, or not sealed to this desk; unasked:
        no consent stands that is older; stale: past its time, or of a clock far ahead.
        """
        if self.store.rows("SELECT 1 FROM proposals WHERE id = ?", package.id):
            return "known"
        kiosk, now_ms = self.desk.ledger.kiosk(package.device), self.desk.now_ms()
        if kiosk is None or kiosk.revoked:
            return "foreign"
        try:
            check_proposal(package, from_text(kiosk.sign_key, 32))
            contents = open_proposal(package, self.desk.keys())
        except QuxiangError:
            return "foreign"
        if not -AHEAD_MS <= now_ms - package.at_ms < LIFETIME_MS:
            return "stale"
        asked_ms = asked_since(self.store, package.official)
        if asked_ms is None or package.at_ms < asked_ms:
            return "unasked"
        with self.store.transaction() as db:
            waiting = self.rows()
            of_one = sum(row.official == package.official for row in waiting)
            if of_one >= MAX_OF_ONE or len(waiting) >= MAX_WAITING:
                return "full"
            key = secrets.token_bytes(KEY_BYTES)
            db.execute(
                "INSERT INTO proposals (id, official, device, at_ms, taken_ms, wrapped, box, who)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, '')",
                (
                    package.id,
                    package.official,
                    package.device,
                    package.at_ms,
                    now_ms,
                    self.store.keyring.wrap(key),
                    seal_secret(key, f"{package.id} proposal", msgspec.msgpack.encode(contents)),
                ),
            )
        return "taken"

    def take_file(self, path: Path) -> list[Fate]:
        """Everything in a stick's file. Raises EnrollError where it is none, OSError."""
        try:
            if path.stat().st_size > MAX_FILE:
                raise msgspec.DecodeError
            file = msgspec.json.decode(path.read_bytes(), type=ProposalFile)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise EnrollError(
                f"{path} 不是一体机导出的待审照片，或已损坏",
                f"{path} is not a file of proposed pictures, or it is damaged",
            ) from None
        return [self.take(package) for package in file.proposals]

    # -- deciding -----------------------------------------------------------------------------
    def decide(self, ident: str, what: str, who: str, *, told: bool = False) -> None:
        """Note a decision and erase the picture; within a transaction of the caller's where there
        is one. Call `Store.shred` afterwards."""
        with self.store.transaction() as db:
            db.execute(
                "UPDATE proposals SET what = ?, who = ?, decided_ms = ?, told = ?,"
                " wrapped = NULL, box = NULL WHERE id = ? AND what IS NULL",
                (what, who, self.desk.now_ms(), told, ident),
            )
        page_of(self.desk, ident).unlink(missing_ok=True)

    def erase(self, official: str, *, told: bool = False) -> int:
        """Consent ended: their undecided pictures go; how many. Shred afterwards."""
        gone = [row for row in self.rows() if row.official == official]
        for row in gone:
            self.decide(row.id, "erased", "", told=told)
        return len(gone)

    def expire(self) -> int:
        """What nobody decided in time goes; how many."""
        old = self.desk.now_ms() - LIFETIME_MS
        gone = [row for row in self.rows() if row.at_ms <= old]
        for row in gone:
            self.decide(row.id, "erased", "")
        if gone:
            self.store.shred()
        return len(gone)

    # -- with the server ----------------------------------------------------------------------
    def exchange(self, client: Client) -> tuple[int, int]:
        """Fetch what waits at the server and tell it what was decided: (taken, told).

        Raises as `Client`; a server that knows no proposals is left alone.
        """
        self.expire()
        try:
            offered = client.proposals()
        except ServerRefused as error:
            if error.status == 404:
                return 0, 0
            raise
        taken = 0
        for row in offered[:MAX_WAITING]:
            package = client.proposal(row.id)
            fate: Fate = "foreign" if package is None else self.take(package)
            taken += fate == "taken"
            if fate in ("taken", "known"):
                client.proposal_taken(row.id)
            else:
                self._tell(client, _erased(row.id, row.official, row.device, row.at_ms))
        return taken, self._tell_decided(client)

    def _tell_decided(self, client: Client) -> int:
        found = self.store.rows(
            "SELECT id, official, device, what, who, decided_ms FROM proposals"
            " WHERE what IS NOT NULL AND NOT told ORDER BY decided_ms"
        )
        for ident, official, device, what, who, at_ms in found:
            self._tell(
                client,
                Decision(
                    id=ident, official=official, device=device, what=what, by=who, at_ms=at_ms
                ),
            )
            with self.store.transaction() as db:
                db.execute("UPDATE proposals SET told = 1 WHERE id = ?", (ident,))
        return len(found)

    @staticmethod
    def _tell(client: Client, decision: Decision) -> None:
        try:
            client.proposal_decided(decision)
        except ServerRefused as error:
            # Not on its roster, or of a kiosk of another server: it has nothing to note.
            if error.word not in ("unknown_official", "malformed"):
                raise


def _erased(ident: str, official: str, device: str, at_ms: int) -> Decision:
    return Decision(id=ident, official=official, device=device, what="erased", at_ms=at_ms)


def asked_since(store: Store, official: str) -> int | None:
    """When the desk noted the consent to proposals that stands, Unix ms; None without one, or
    where no face may be enrolled any more."""
    purposes: tuple[Consented, ...] = ("face", "proposals")
    for what in purposes:
        consent = store.consent(official, what)
        if consent is None or not consent.stands:
            return None
    return store.granted_ms(official, "proposals")


def page_of(desk: Desk, ident: str) -> Path:
    """Where `proposals show` writes the page of one."""
    return desk.data / "proposals" / f"{ident}.html"


def fates_counted(fates: Iterable[Fate]) -> dict[Fate, int]:
    """How many of each."""
    counted: dict[Fate, int] = {}
    for fate in fates:
        counted[fate] = counted.get(fate, 0) + 1
    return counted
