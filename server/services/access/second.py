"""The second step at sign-in: codes of an authenticator (TOTP, RFC 6238) and recovery codes.

Thirty-second steps, six digits, SHA-1, as every authenticator does by itself. A code of the step
before or after is taken too; none is taken twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from datetime import date, datetime

import segno
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from attendance.chain import crockford
from attendance.days import day_of, to_ms
from attendance.i18n import say
from server.config import ServerKeys
from server.errors import InputInvalid, NotAllowed
from server.models import RecoveryCode, Role, SecondFactor, Township, TownshipRule, User
from server.rules import terms
from server.rules.terms import SecondStep
from server.services.access import accounts

#: Who approves or rules: those whom a township can ask for a second step.
APPROVES = frozenset({Role.ADMIN, Role.LEADER})
STEP_MS = 30_000
#: Steps before and after the present one that are taken: clocks of telephones differ.
DRIFT = 1
RECOVERY_CODES = 8
#: How long setting up may take, milliseconds.
FRESH_MS = 15 * 60_000
#: Days that a new township has until its leaders and administrators need one.
GRACE_DAYS = 30
ISSUER = "Quxiang"
#: RFC 4226, 4: at least 128 bits, 160 recommended.
_SECRET_BYTES = 20
#: 120 bits: from 112 on no hash made slow is asked for, nor would one help.
_RECOVERY_BYTES = 15


def required_from(session: Session, user: User, now: datetime) -> date | None:
    """The day from which this account must have a second step; None where it need not.

    A day to come is the grace; the rule is the township's (`rules.terms.SecondStep`).
    """
    if user.role not in APPROVES:
        return None
    today = day_of(to_ms(now))
    rows = session.scalars(
        select(TownshipRule)
        .where(TownshipRule.township_id == user.township_id, TownshipRule.kind == "second_step")
        .order_by(TownshipRule.first_day, TownshipRule.id)
    )
    held: date | None = None
    by_day = {date.fromisoformat(row.first_day): terms.read(row.kind, row.value) for row in rows}
    for first, value in by_day.items():
        wanted = isinstance(value, SecondStep) and value.required
        if first <= today:
            held = (held or first) if wanted else None
        elif wanted and held is None:
            return first
    return held


def overdue(session: Session, user: User, now: datetime) -> bool:
    """Whether the account must set a second step up before anything else."""
    day = required_from(session, user, now)
    late = day is not None and day <= day_of(to_ms(now))
    return late and not accounts.has_second(session, user)


def ask_for(session: Session, township: Township, first: date | None, now: datetime) -> None:
    """Those who approve need a second step from `first` on; None: the password is enough.

    For commands: on the page it is a rule like any other (`rosters.set_rule`).
    """
    value = SecondStep(required=first is not None)
    day = first or day_of(to_ms(now))
    session.add(
        TownshipRule(
            township_id=township.id, kind="second_step", first_day=day.isoformat(),
            value=terms.write(value), note="", by="command", at_ms=to_ms(now),
        )
    )  # fmt: skip


def prepare(session: Session, user: User, keys: ServerKeys, now: datetime) -> None:
    """A fresh secret, to be confirmed by a code; the one in force stays until then."""
    row = session.get(SecondFactor, user.id)
    if row is None:
        row = SecondFactor(user_id=user.id, last_step=0)
        session.add(row)
    row.fresh = _seal(secrets.token_bytes(_SECRET_BYTES), user.id, keys)
    row.fresh_ms = to_ms(now)
    session.flush()


def fresh_secret(session: Session, user: User, keys: ServerKeys, now: datetime) -> str | None:
    """The secret that is being set up, as authenticators want it typed (base 32).

    None without one, and where it was left lying for longer than FRESH_MS.
    """
    row = session.get(SecondFactor, user.id)
    if row is None or row.fresh is None or to_ms(now) - (row.fresh_ms or 0) > FRESH_MS:
        return None
    return _open(row.fresh, user.id, keys)


def address(user: User, secret: str) -> str:
    """The `otpauth:` address of a secret, for a QR code."""
    import pyotp  # as everything heavy or rarely asked for: with the first use

    return pyotp.TOTP(secret).provisioning_uri(name=user.name, issuer_name=ISSUER)


def picture(text: str) -> str:
    """A QR code as SVG to stand in a page, without size and without inline style."""
    code = segno.make(text, error="m", micro=False)
    return code.svg_inline(omitsize=True, svgclass="qr", light="#fff", border=4)


def confirm(session: Session, user: User, text: str, keys: ServerKeys, now: datetime) -> list[str]:
    """Puts the fresh secret in force, where `text` is its code; the recovery codes, shown once.

    Raises InputInvalid (`code`). The caller commits either way: wrong codes count.
    """
    row, secret = session.get(SecondFactor, user.id), fresh_secret(session, user, keys, now)
    step: list[int] = []

    def fits() -> bool:
        found = None if secret is None else _step_of(secret, text, now)
        step.extend([] if found is None else [found])
        return bool(step)

    if row is None or not accounts.tried(session, user.name, fits, now):
        raise _wrong()
    row.sealed, row.fresh = row.fresh, None
    row.last_step, row.since_ms = step[0], to_ms(now)
    return new_recovery(session, user, keys)


def check(session: Session, user: User, text: str, keys: ServerKeys, now: datetime) -> bool:
    """Whether `text` is a code that is good now, or a recovery code not used yet; it is used up.

    Counted against the name as wrong passwords are; the caller commits either way.
    """

    def fits() -> bool:
        return _take_code(session, user, text, keys, now) or _take_recovery(
            session, user, text, keys, now
        )

    return accounts.tried(session, user.name, fits, now)


def _take_code(
    session: Session, user: User, text: str, keys: ServerKeys, now: datetime
) -> bool:
    row = session.get(SecondFactor, user.id)
    secret = None if row is None or row.sealed is None else _open(row.sealed, user.id, keys)
    step = None if secret is None else _step_of(secret, text, now)
    if step is None:
        return False
    taken = session.execute(
        update(SecondFactor)
        .where(SecondFactor.user_id == user.id, SecondFactor.last_step < step)
        .values(last_step=step)
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(taken, "rowcount", 0) == 1)


def _step_of(secret: str, text: str, now: datetime) -> int | None:
    """The step whose code `text` is, of those near; every one of them is compared in full."""
    import pyotp

    typed = _typed(text).encode("utf-8", "replace")
    present, code, found = to_ms(now) // STEP_MS, pyotp.HOTP(secret), None
    for step in range(max(0, present - DRIFT), present + DRIFT + 1):
        if hmac.compare_digest(code.at(step).encode(), typed):
            found = step
    return found


def _take_recovery(
    session: Session, user: User, text: str, keys: ServerKeys, now: datetime
) -> bool:
    digest = _digest(_typed(text), user.id, keys)
    found: int | None = None
    for row in session.scalars(select(RecoveryCode).where(RecoveryCode.user_id == user.id)):
        if hmac.compare_digest(row.digest, digest):
            found = row.id
    if found is None:
        return False
    taken = session.execute(
        update(RecoveryCode)
        .where(RecoveryCode.id == found, RecoveryCode.used_ms.is_(None))
        .values(used_ms=to_ms(now))
        .execution_options(synchronize_session=False)
    )
    return bool(getattr(taken, "rowcount", 0) == 1)


def new_recovery(session: Session, user: User, keys: ServerKeys) -> list[str]:
    """Other recovery codes in place of all before; they exist nowhere else."""
    _forget_recovery(session, user)
    made: list[str] = []
    for _ in range(RECOVERY_CODES):
        plain = crockford(secrets.token_bytes(_RECOVERY_BYTES))
        session.add(RecoveryCode(user_id=user.id, digest=_digest(plain, user.id, keys)))
        made.append("-".join(plain[i : i + 4] for i in range(0, len(plain), 4)))
    session.flush()
    return made


def recovery_left(session: Session, user: User) -> int:
    """Recovery codes that were not used yet."""
    rows = session.scalars(
        select(RecoveryCode.id).where(
            RecoveryCode.user_id == user.id, RecoveryCode.used_ms.is_(None)
        )
    )
    return len(rows.all())


def switch_off(
    session: Session, user: User, text: str, keys: ServerKeys, now: datetime
) -> None:
    """Takes the own second step away, against a code; the caller commits either way.

    Raises NotAllowed where the township asks for one, InputInvalid (`code`).
    """
    if required_from(session, user, now) is not None:
        raise NotAllowed(
            say("本乡镇要求审批人员使用两步验证", "the township asks for a second step here")
        )
    if not check(session, user, text, keys, now):
        raise _wrong()
    forget(session, user)


def forget(session: Session, user: User) -> None:
    """Takes the second step away without asking: for an administrator, or the command line."""
    _forget_recovery(session, user)
    row = session.get(SecondFactor, user.id)
    if row is not None:
        session.delete(row)
    session.flush()


def _forget_recovery(session: Session, user: User) -> None:
    session.execute(
        delete(RecoveryCode)
        .where(RecoveryCode.user_id == user.id)
        .execution_options(synchronize_session=False)
    )


def _typed(text: str) -> str:
    """A code as people type it: full-width, in groups, in small letters, O for 0, l for 1."""
    plain = unicodedata.normalize("NFKC", text[:64]).upper()
    plain = "".join(c for c in plain if c.isalnum())
    return plain.replace("O", "0").replace("I", "1").replace("L", "1")


def _key(keys: ServerKeys, purpose: bytes) -> bytes:
    return hashlib.blake2b(keys.secret, digest_size=32, person=purpose).digest()


def _seal(secret: bytes, user_id: int, keys: ServerKeys) -> bytes:
    box = SecretBox(_key(keys, b"quxiang-second"))
    return bytes(box.encrypt(user_id.to_bytes(8, "big") + secret))


def _open(sealed: bytes, user_id: int, keys: ServerKeys) -> str | None:
    """The secret in base 32; None for one of another account or of a server with another key."""
    try:
        plain = SecretBox(_key(keys, b"quxiang-second")).decrypt(sealed)
    except (CryptoError, ValueError):
        return None
    if not hmac.compare_digest(plain[:8], user_id.to_bytes(8, "big")):
        return None
    return base64.b32encode(plain[8:]).decode()


def _digest(plain: str, user_id: int, keys: ServerKeys) -> bytes:
    # Random bits enough that no slow hash is needed; of older codes of 80 the key keeps a stolen
    # database from trying.
    text = f"{user_id}/{plain}".encode("utf-8", "replace")
    return hmac.digest(_key(keys, b"quxiang-recover"), text, "sha256")


def _wrong() -> InputInvalid:
    return InputInvalid("code", say("验证码不正确", "the code is wrong"), "code")
