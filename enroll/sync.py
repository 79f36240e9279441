"""One round between desk and server: withdrawals, roster, portraits, receipts, galleries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from attendance import wire
from attendance.days import MAX_MS, MIN_MS
from attendance.errors import SignatureInvalid
from attendance.galleries import is_believable
from attendance.i18n import defect
from attendance.signing import fingerprint, from_text
from enroll.client import Client
from enroll.desk import Desk
from enroll.errors import (
    EnrollError,
    GalleryTooLarge,
    KioskKeyChanged,
    KioskOdd,
    ReceiptForged,
    ServerForeign,
    ServerRefused,
    ServerUnreachable,
)
from enroll.files import locked
from enroll.ledger import Kiosk, Owed
from enroll.proposals import Proposals
from enroll.reenrol import Reenrolments
from enroll.seal import OnHash, Sealed, Sealer
from enroll.withdraw import follow_withdrawal

EVERYBODYS = ("signature", "wrong_kind", "slow_down", "busy", "")
"""Refusals of a gallery that would meet every other kiosk's too: the round ends, and waits."""
ROSTER_BYTES = wire.MAX_JSON // 2
"""A roster is sent in parts of at most this many bytes, half of what one request may have."""


@dataclass
class SyncOutcome:
    """What one round did. `followed` are withdrawals (official, Unix ms) that this desk, put back
    to an older copy, had forgotten; `changed` kiosks that were refused, `problems` what the server
    said of single rows or galleries: neither stops the rest."""

    roster: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    withdrawals: list[str] = field(default_factory=list)
    followed: list[tuple[str, int]] = field(default_factory=list)
    portraits: list[str] = field(default_factory=list)
    pinned: list[Kiosk] = field(default_factory=list)
    sealed: list[Sealed] = field(default_factory=list)
    changed: list[KioskKeyChanged] = field(default_factory=list)
    receipts: list[wire.ErasureRow] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    proposals: int = 0
    reenrol: int = 0
    reenrolled: int = 0
    problems: list[EnrollError] = field(default_factory=list)


def sync_once(
    desk: Desk,
    client: Client,
    *,
    accept: frozenset[str] = frozenset(),
    on_hash: OnHash | None = None,
) -> SyncOutcome:
    """One round; whatever was reached before a fault stays done.

    accept: fingerprints of changed kiosk keys that a person compared with the kiosk's screen.
    on_hash: see `Sealer.seal_for`. Raises ServerUnreachable, ServerForeign, ServerRefused (of the
    desk as a whole), NotPaired, DeskUnusable.
    """
    done = SyncOutcome()
    with locked(desk.data / "sync.lock"):
        _send_withdrawals(desk, client, done)
        desk.store.set_sites(client.sites(), desk.now_ms())
        _send_roster(desk, client, done)
        # Only now: who was taken off a site here would else stay expected there for a round.
        expected = client.expected()
        if expected is not None:
            desk.store.set_expected(expected)
        _repeat_withdrawals(desk, client, done)
        _send_portraits(desk, client, done)
        held = see_kiosks(desk, client, accept, done)
        done.receipts, forged = desk.ledger.take_receipts(client.erasures())
        done.problems += [_forged(row) for row in forged]
        done.proposals, _ = Proposals(desk).exchange(client)
        done.reenrol, done.reenrolled = Reenrolments(desk.store).exchange(client)
        _send_galleries(desk, client, held, on_hash, done)
        done.owed = desk.ledger.owed()
    return done


def _send_withdrawals(desk: Desk, client: Client, done: SyncOutcome) -> None:
    for ident, official, at_ms in desk.ledger.unsent_withdrawals():
        if _tell(client, official, at_ms):
            done.withdrawals.append(official)
        desk.ledger.withdrawal_sent(ident)


def _tell(client: Client, official: str, at_ms: int) -> bool:
    """False where the server does not know them: then it has nothing of them to erase."""
    try:
        client.withdraw(official, at_ms)
    except ServerRefused as error:
        if error.word != "unknown_official":
            raise
        return False
    return True


def _repeat_withdrawals(desk: Desk, client: Client, done: SyncOutcome) -> None:
    """Tell again what a server that was put back to an older backup knows no more.

    Whoever consented to everything since is left as they are. A portrait that may stay is dropped
    there with the rest: the next import sends it again.
    """
    known = client.withdrawn()
    _follow_withdrawals(desk, known or set(), done)
    for ident, official, at_ms in [] if known is None else desk.ledger.sent_withdrawals():
        consents = [desk.store.consent(official, what) for what in ("face", "portrait")]
        anew = all(consent is not None and consent.stands for consent in consents)
        if anew or (official, at_ms) in (known or ()):
            continue
        if _tell(client, official, at_ms):
            with desk.store.transaction():
                desk.ledger.withdrawal_sent(ident)
                desk.store.forget_sent_portrait(official)
            done.withdrawals.append(official)


def _follow_withdrawals(desk: Desk, known: set[tuple[str, int]], done: SyncOutcome) -> None:
    """The other way round: a desk that was put back to an older copy does again what it forgot."""
    for official, at_ms in sorted(known - desk.ledger.withdrawals()):
        if MIN_MS <= at_ms <= MAX_MS and follow_withdrawal(desk, official, at_ms):
            done.followed.append((official, at_ms))


def _send_roster(desk: Desk, client: Client, done: SyncOutcome) -> None:
    for rows in _parts(desk.store.unsent()):
        results = {each.official: each for each in client.put_roster(rows).results}
        for row in rows:
            result = results.get(row.official)
            if result is not None and result.result == "stored":
                desk.store.roster_result(row, None)
                done.roster.append(row.official)
            else:
                why = "no answer" if result is None else result.why or result.result
                desk.store.roster_result(row, why)
    done.refused = desk.store.refused()


def _parts(rows: list[wire.RosterRow]) -> Iterator[list[wire.RosterRow]]:
    part: list[wire.RosterRow] = []
    size = 0
    for row in rows:
        length = len(wire.encode(row)) + 1
        if part and size + length > ROSTER_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def _send_portraits(desk: Desk, client: Client, done: SyncOutcome) -> None:
    for official in desk.store.waiting_portraits():
        jpeg = desk.store.portrait(official)
        if jpeg is None or official in done.refused:
            continue
        try:
            client.put_portrait(official, jpeg)
        except ServerRefused as error:
            if error.status not in (400, 404, 413):
                raise
            done.problems.append(error)
            continue
        desk.store.portrait_sent(official, hashlib.sha256(jpeg).hexdigest())
        done.portraits.append(official)


def see_kiosks(
    desk: Desk, client: Client, accept: frozenset[str], done: SyncOutcome
) -> dict[str, int]:
    """Compare the server's kiosks with the pinned ones; the version that it holds for each that
    may be sealed to."""
    held: dict[str, int] = {}
    for row in client.kiosks():
        try:
            new = desk.ledger.see(row, desk.now_ms(), accept)
        except SignatureInvalid:
            new = None
        if new is None:
            done.changed.append(_changed(desk.ledger.kiosk(row.device), row))
            continue
        kiosk = desk.ledger.kiosk(row.device)
        if new and kiosk is not None:
            done.pinned.append(kiosk)
        if not row.revoked:
            held[row.device] = row.gallery
    return held


def _changed(known: Kiosk | None, row: wire.KioskRow) -> KioskKeyChanged:
    try:
        offered = fingerprint(from_text(row.box_key, 32))
    except SignatureInvalid:
        offered = "?"
    pinned = "?" if known is None else known.fingerprint
    where = "?" if known is None else f"{known.site} ({known.site_kind})"
    return KioskKeyChanged(
        f"一体机 {row.device}（{row.site}）的密钥或地点与首次所见不同：原为 {pinned}，{where}；"
        f"服务器现称 {offered}，{row.site}（{row.site_kind}）。已拒绝下发。"
        f"请到现场核对一体机屏幕上的指纹；确为 {offered} 时运行 "
        f"quxiang-enroll sync --accept-key {offered}，否则服务器可能被人动过",
        f"kiosk {row.device} ({row.site}) has another key or site than at first: it was {pinned}, "
        f"{where}; the server now says {offered}, {row.site} ({row.site_kind}). Nothing was sealed "
        "for it. Compare with the fingerprint on the kiosk's own screen; if that is "
        f"{offered} run quxiang-enroll sync --accept-key {offered}, if not the server was "
        "tampered with",
    )


def _forged(row: wire.ErasureRow) -> ReceiptForged:
    return ReceiptForged(
        f"服务器称 {row.site}（{row.device}）已删除 {row.official} 的人脸，"
        "但回执不是该一体机签发的：未采用，请到现场核对；服务器可能被人动过",
        f"the server says that {row.site} ({row.device}) erased {row.official}'s face, but that "
        "kiosk's key did not sign the receipt: it is not taken; look at the kiosk itself, the "
        "server may have been tampered with",
    )


def _send_galleries(
    desk: Desk,
    client: Client,
    held: dict[str, int],
    on_hash: OnHash | None,
    done: SyncOutcome,
) -> None:
    sealer = Sealer(desk.store, desk.ledger)
    done.outdated = sealer.outdated
    keys = desk.keys()
    broken_off: EnrollError | None = None
    nobody, left = not desk.store.known(), list[str]()
    for kiosk in desk.ledger.kiosks():
        now_ms = desk.now_ms()
        version = held.get(kiosk.device)
        if version is None:
            continue
        if nobody and version > 0 and not kiosk.put_version:
            left.append(kiosk.site)
            continue
        if not is_believable(version, kiosk.version):
            done.problems.append(_impossible(kiosk, version))
            version = kiosk.put_version
        try:
            if not sealer.is_due(kiosk, version, now_ms):
                continue
            sealed = sealer.seal_for(kiosk, keys, now_ms, held=version, on_hash=on_hash)
            client.put_gallery(kiosk.device, sealed.package)
            desk.ledger.was_put(kiosk.device, sealed.version, sealed.digest, now_ms)
        except GalleryTooLarge as error:
            done.problems.append(error)
        except ServerRefused as error:
            # Of this kiosk alone, as in rollback, where another round made a newer one meanwhile.
            if error.word in EVERYBODYS:
                raise
            done.problems.append(error)
        except (ServerUnreachable, ServerForeign) as error:
            if broken_off is not None:
                raise
            broken_off = error  # one package may be what a proxy does not pass: try the next
        except EnrollError:
            raise
        except Exception as error:  # noqa: BLE001 - one kiosk's fault, and the others wait
            done.problems.append(_unsealed(kiosk, error))
        else:
            done.sealed.append(sealed)
    if broken_off is not None:
        raise broken_off
    if left:
        done.problems.append(_nobody_yet(left))


def _nobody_yet(sites: list[str]) -> EnrollError:
    """A desk in place of one that is lost: an empty gallery would take everybody's away."""
    return EnrollError(
        f"本机还没有任何人员，{'、'.join(sites)} 的一体机先保留原登记台的人脸库：请先导入全部人员"
        "（quxiang-enroll import）",
        f"nobody is enrolled here yet, and the kiosks of {', '.join(sites)} keep what the desk "
        "before had sealed for them: import everybody first (quxiang-enroll import)",
    )


def _impossible(kiosk: Kiosk, version: int) -> KioskOdd:
    return KioskOdd(
        f"服务器称一体机 {kiosk.device}（{kiosk.site}）已有第 {version} 版人脸库，登记台不可能"
        "发过，未采信：请到现场查看该机；若它仍不采用新人脸库，撤销后重新配对",
        f"the server says that kiosk {kiosk.device} ({kiosk.site}) has gallery version {version}, "
        "which no desk can have given: it is not believed. Look at that kiosk; if it still takes "
        "no new gallery, revoke it and pair it anew",
    )


def _unsealed(kiosk: Kiosk, error: Exception) -> KioskOdd:
    return KioskOdd(
        f"没能为一体机 {kiosk.device}（{kiosk.site}）密封人脸库，其他一体机不受影响；"
        f"该机的密钥或数据可能有误，可撤销后重新配对：{defect(error, 'zh')}",
        f"no gallery could be sealed for kiosk {kiosk.device} ({kiosk.site}); the others are not "
        f"concerned. Its keys or data may be wrong: revoke it and pair it anew. "
        f"{defect(error, 'en')}",
    )
