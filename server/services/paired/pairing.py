"""Pairing: a one-time code makes a machine a kiosk of a site, or the township's desk."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from attendance import wire
from attendance.chain import crockford, genesis
from attendance.days import to_ms
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.i18n import say
from attendance.pairing import PairingCode, certificate_digest
from attendance.pairing_file import FILE_NAME, PairingFile
from attendance.signing import KEY_BYTES, from_text, to_text
from attendance.statuses import SiteKind
from server.config import ServerConfig, ServerKeys
from server.errors import ApiProblem, InputInvalid
from server.models import AuditEntry, Device, EpochRow, PairingAttempt, PairingCodeRow, Township
from server.services.access import limits
from server.services.evidence import audit
from server.services.records.cursors import desk_key, desk_keys
from server.services.township.townships import site_of

#: docs/wire.md, "Pairing": 30 minutes; ten wrong codes of one place within ten minutes close it to
#: that place for ten, a thousand of all places to everybody: three thousand guesses of 2^40 in a
#: code's life.
LIFE_MS = 30 * 60_000
WRONG = 10
WRONG_OF_ALL = 1000
WINDOW_MS = 10 * 60_000


def write_file(path: Path, address: str, code: PairingCode) -> None:
    """Writes what a USB stick pairs a kiosk by; into `path`, or under the usual name where it is a
    folder. 0600 where the file system knows modes. Raises OSError, and InputInvalid for an address
    that is no http or https URL."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputInvalid(
            "address",
            say("地址应像 https://192.168.1.10:8443", "write it like https://192.168.1.10:8443"),
            "address",
        )
    target = path / FILE_NAME if path.is_dir() else path
    body = wire.encode(PairingFile(server=address, code=str(code)))
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(body + b"\n")
        file.flush()
        os.fsync(file.fileno())


def make_code(
    session: Session,
    township: Township,
    kind: str,
    now: datetime,
    keys: ServerKeys,
    site: str | None = None,
    site_kind: str | None = None,
    certificate: bytes | None = None,
) -> PairingCode:
    """A code for a `kiosk` at `site`, made where it is new, or a `desk`. Raises InputInvalid.

    `certificate` is the SHA-256 of what TLS presents, None without TLS.
    """
    if kind not in ("kiosk", "desk"):
        raise InputInvalid("device_kind", say("类别只能是 kiosk 或 desk", "kiosk or desk"), "kind")
    if kind == "kiosk" and site is None:
        raise InputInvalid(
            "site_needed", say("终端需要站点：--site 名称", "a kiosk needs --site NAME"), "site"
        )
    place = None if kind == "desk" or site is None else site_of(session, township, site, site_kind)
    code = PairingCode.make(keys.sign_public, desk_key(session, township.id), certificate)
    now_ms = to_ms(now)
    session.add(
        PairingCodeRow(
            township_id=township.id,
            secret_hash=_hash(keys, code.secret),
            kind=kind,
            site_id=None if place is None else place.id,
            made_ms=now_ms,
            expires_ms=now_ms + LIFE_MS,
        )
    )
    session.flush()
    return code


def pair(
    session: Session, asked: wire.PairRequest, now: datetime, keys: ServerKeys, remote: str = ""
) -> wire.PairReply:
    """Makes the device. The same request again, its answer lost, gets the same answer.

    A kiosk that names itself gets that id where this server never knew it: its chain is bound to
    it, and what it keeps comes with its next sync. It may have stood there since the backup that
    was restored, so `paired_ms` is then; nothing is concluded of the days until now.

    Raises ApiProblem: `slow_down` while pairing is closed to `remote`, `code` for a code that is
    wrong, used, over or of the other kind (commit: the try is counted), `malformed` for keys that
    are none, `known_device` for a name that is taken, whoever has it (the code stays good).
    """
    now_ms = to_ms(now)
    who = limits.place(remote)[:64]
    wait_s = _closed_for(session, who, now_ms)
    if wait_s:
        raise ApiProblem(
            429,
            "slow_down",
            say(
                f"错误的配对码太多，请在 {wait_s} 秒后再试",
                f"too many wrong codes: try again in {wait_s} seconds",
            ),
            retry_after_s=wait_s,
        )
    try:
        sign_key = from_text(asked.sign_key, KEY_BYTES)
        box_key = from_text(asked.box_key, KEY_BYTES)
    except SignatureInvalid as error:
        raise ApiProblem(
            400, "malformed", f"a key is {KEY_BYTES} bytes in base64: {error}"
        ) from None
    row = _find(session, asked.code, keys)
    if row is not None and row.kind == asked.kind and row.expires_ms > now_ms:
        if row.used_ms is None:
            name = None if asked.device is msgspec.UNSET else asked.device
            taken = name is not None and session.get(Device, name) is not None
            if taken or (name is not None and row.kind != "kiosk"):
                raise ApiProblem(409, "known_device", "that id is taken here")
            made = _make(session, row, sign_key, box_key, now, remote, name)
            return _reply(session, made, now, keys)
        device = session.get(Device, row.device_id)
        if device and (device.sign_key, device.box_key) == (sign_key, box_key):
            return _reply(session, device, now, keys)
    session.execute(delete(PairingAttempt).where(PairingAttempt.at_ms < now_ms - 2 * WINDOW_MS))
    session.add(PairingAttempt(at_ms=now_ms, remote=who))
    raise ApiProblem(
        403,
        "code",
        say(
            "配对码不正确、已用过或已过期：请在服务器上用 quxiang-server code 重新生成",
            "the pairing code is wrong, used or over: make another with quxiang-server code",
        ),
        keep=True,
    )


def hint(session: Session, keys: ServerKeys, certificate: bytes | None) -> wire.PairHint:
    """What a device compares with its code before it tells the secret."""
    return wire.PairHint(
        server_key=to_text(keys.sign_public),
        desk_keys=[to_text(key) for key in desk_keys(session)],
        certificate=None if certificate is None else certificate.hex(),
    )


def keep_certificate(config: ServerConfig, pem: bytes) -> None:
    """Notes what TLS presents, for codes and for devices that knew an older one.

    Raises WireInvalid where that is no certificate.
    """
    certificate_digest(pem)
    beside = config.certificate.with_suffix(".new")
    beside.write_bytes(pem)
    beside.replace(config.certificate)


def kept_certificate(config: ServerConfig) -> bytes | None:
    """The SHA-256 of what TLS presents, None where that was never told."""
    try:
        return certificate_digest(config.certificate.read_bytes())
    except (OSError, WireInvalid):
        return None


def _hash(keys: ServerKeys, secret: str) -> str:
    # Keyed, since 40 bits alone would soon be guessed from a stolen database.
    return hmac.new(keys.secret, b"quxiang/code/1\n" + secret.encode(), hashlib.sha256).hexdigest()


def _closed_for(session: Session, who: str, now_ms: int) -> int:
    """Seconds for which pairing stays closed to this place, 0 while it is open.

    Asked before the code is looked at, so that a right one is told apart by nothing.
    """
    # Tries that a clock which was ahead put into the future would close it for as long.
    asked = (
        select(PairingAttempt.at_ms)
        .where(PairingAttempt.at_ms <= now_ms)
        .order_by(PairingAttempt.at_ms.desc())
    )
    own = session.scalars(asked.where(PairingAttempt.remote == who).limit(WRONG)).all()
    every = session.scalars(asked.limit(WRONG_OF_ALL)).all()
    return max(_wait_s(own, WRONG, now_ms), _wait_s(every, WRONG_OF_ALL, now_ms))


def _wait_s(tries: Sequence[int], most: int, now_ms: int) -> int:
    """Seconds after the newest `most` tries, newest first, fell into one window."""
    if len(tries) < most or tries[0] - tries[-1] > WINDOW_MS:
        return 0
    return max(0, -(-(tries[0] + WINDOW_MS - now_ms) // 1000))


def _find(session: Session, text: str, keys: ServerKeys) -> PairingCodeRow | None:
    try:
        secret = PairingCode.parse(text).secret
    except WireInvalid:
        secret = text  # a device may keep the fingerprints to itself and send the secret alone
    return session.scalar(
        select(PairingCodeRow).where(PairingCodeRow.secret_hash == _hash(keys, secret))
    )


def _make(
    session: Session,
    row: PairingCodeRow,
    sign_key: bytes,
    box_key: bytes,
    now: datetime,
    remote: str,
    again: str | None,
) -> Device:
    now_ms = to_ms(now)
    name = again or crockford(secrets.token_bytes(5)).lower()
    device = Device(
        id=name,
        township_id=row.township_id,
        kind=row.kind,
        site_id=row.site_id,
        sign_key=sign_key,
        box_key=box_key,
        paired_ms=now_ms if again is None else _unknown_since(session, row.township_id, now_ms),
        gallery_version=0,
        gallery_on_device=0,
        epoch=1,
        seq=0,
        head=genesis(name, 1),
        pending=0,
    )
    session.add(device)
    session.flush()
    taken = session.execute(
        update(PairingCodeRow)
        .where(PairingCodeRow.id == row.id, PairingCodeRow.used_ms.is_(None))
        .values(used_ms=now_ms, device_id=name)
        .execution_options(synchronize_session=False)
    )
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        raise ApiProblem(503, "busy", "this code is being used right now", retry_after_s=1)
    if row.kind == "kiosk":
        session.add(
            EpochRow(
                township_id=row.township_id,
                device_id=name,
                epoch=1,
                cites=b"",
                follows=True,
                opened_ms=now_ms,
            )
        )
    what = row.kind if again is None else f"{row.kind} again"
    audit.note_for(session, row.township_id, f"device:{name}", "pair", what, now, remote)
    session.flush()
    session.refresh(device)
    return device


def _unknown_since(session: Session, township_id: int, now_ms: int) -> int:
    """From when on a kiosk may have been paired that this server forgot: from where the backup ends
    that was restored, as the trail says; without that since the township is here."""
    told = session.scalars(
        select(AuditEntry.target)
        .where(AuditEntry.township_id == township_id, AuditEntry.what == "restore")
        .order_by(AuditEntry.id.desc())
        .limit(1)
    ).first()
    ends = re.search(r"up to (\S+)$", told or "")
    if ends is None:
        return min(session.get_one(Township, township_id).created_ms, now_ms)
    return min(to_ms(datetime.fromisoformat(ends[1])), now_ms)


def _reply(session: Session, device: Device, now: datetime, keys: ServerKeys) -> wire.PairReply:
    township = session.get_one(Township, device.township_id)
    desk = desk_key(session, township.id)
    return wire.PairReply(
        device=device.id,
        township=township.name,
        site=None if device.site is None else device.site.name,
        site_kind=None if device.site is None else SiteKind(device.site.kind),
        server_key=to_text(keys.sign_public),
        desk_key=None if desk is None else to_text(desk),
        server_ms=to_ms(now),
    )
