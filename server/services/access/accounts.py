"""Accounts and logins."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from attendance.chain import crockford
from attendance.days import from_ms, to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import LoginThrottle, Official, Role, SecondFactor, Township, User
from server.services.access.passwords import MAX_PASSWORD, check_password

#: Wrong passwords in a row before a name is locked, for one minute, doubling up to fifteen.
FREE_TRIES = 5
LOCK_MS = 60_000
MAX_LOCK_MS = 15 * 60_000
#: A one-time password that nobody used is worth nothing after a week.
ONE_TIME_MS = 7 * 86_400_000
#: Failures are forgotten after a day without one.
FORGET_MS = 86_400_000

# OWASP's password storage cheat sheet (argon2id, 19 MiB, two passes, one lane): a township's small
# PC answers within 50 ms. At most two at once, so that a flood of logins cannot take the memory.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_at_once = threading.BoundedSemaphore(2)


def new_password() -> str:
    """A one-time password: 80 random bits as four groups of four characters."""
    plain = crockford(secrets.token_bytes(10))
    return "-".join(plain[i : i + 4] for i in range(0, 16, 4))


def add_user(
    session: Session,
    township: Township,
    name: str,
    role: str,
    password: str,
    now: datetime,
    official: str | None = None,
    must_change: bool = True,
) -> User:
    """A new account. Raises InputInvalid (name, role, password) or NotFound (official)."""
    if not re.fullmatch(r"[\w.@-]{1,60}", name):
        raise InputInvalid(
            "user_name",
            say(
                "账号名为 1 至 60 个字母、数字、汉字或 . _ @ -",
                "an account name has 1 to 60 letters, digits or . _ @ -",
            ),
            "name",
        )
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise InputInvalid(
            "user_taken", say(f"账号 {name} 已存在", f"there is an account {name} already"), "name"
        )
    if role not in list(Role):
        raise InputInvalid("role", say(f"没有角色 {role}", f"there is no role {role}"), "role")
    check_password(password, name, township.name)
    if official is not None and not session.scalar(
        select(Official.id).where(
            Official.township_id == township.id, Official.official == official
        )
    ):
        raise NotFound(
            say(
                f"名册中没有编号 {official}：请先导入该干部，或去掉 --official",
                f"the roster has no official {official}: import them, or leave out --official",
            )
        )
    user = User(
        township_id=township.id,
        name=name,
        role=str(Role(role)),
        password_hash=_hash(password),
        official=official,
        must_change=must_change,
        one_time_ms=to_ms(now) if must_change else None,
        active=True,
        created_ms=to_ms(now),
    )
    session.add(user)
    session.flush()
    return user


def authenticate(
    session: Session, name: str, password: str, now: datetime, remote: str = ""
) -> User | None:
    """The account with this name and password, or None; takes the same time for unknown names.

    Counts failures, and answers None while the name is locked whatever the password. The caller
    commits either way: a failure that is rolled back is not counted. Whatever the session held
    before is rolled back, so that no kiosk waits for the database while a password is hashed.
    """
    now_ms = to_ms(now)
    stored = session.scalar(select(User.password_hash).where(User.name == name, User.active))
    session.rollback()
    fits = _verify(stored or _dummy_hash(), password)
    throttle = _throttle(session, name)
    user = session.scalar(select(User).where(User.name == name, User.active))
    if throttle.locked_until_ms > now_ms:
        return None
    if user is None or not fits or user.password_hash != stored:
        _count(session, throttle, now_ms)
        return None
    if not has_second(session, user):  # else the right code ends the counting, not the password
        throttle.failed = throttle.locked_until_ms = 0
    if _hasher.check_needs_rehash(user.password_hash):
        user.password_hash = _hash(password)
    return user


def ran_out(user: User, now: datetime) -> bool:
    """Whether the account's one-time password was left unused for too long."""
    made = user.one_time_ms
    return user.must_change and made is not None and to_ms(now) - made > ONE_TIME_MS


def has_second(session: Session, user: User) -> bool:
    """Whether the account signs in with a code as well."""
    row = session.get(SecondFactor, user.id)
    return row is not None and row.sealed is not None


def tried(session: Session, name: str, fits: Callable[[], bool], now: datetime) -> bool:
    """Whether something secret beside the password `fits`; counted as wrong passwords are.

    False while the name is locked, without asking. The caller commits either way.
    """
    throttle = _throttle(session, name)
    if throttle.locked_until_ms > to_ms(now):
        return False
    if not fits():
        _count(session, throttle, to_ms(now))
        return False
    throttle.failed = throttle.locked_until_ms = 0
    return True


def _count(session: Session, throttle: LoginThrottle, now_ms: int) -> None:
    if now_ms - throttle.last_ms > FORGET_MS:
        throttle.failed = 0
    throttle.failed += 1
    throttle.last_ms = now_ms
    over = throttle.failed - FREE_TRIES
    if over >= 0:
        throttle.locked_until_ms = now_ms + min(LOCK_MS << min(over, 10), MAX_LOCK_MS)
    _forget_old(session, now_ms)


def named(session: Session, name: str) -> User | None:
    """The account of that name in force, without asking for a password."""
    return session.scalar(select(User).where(User.name == name, User.active))


def locked_until(session: Session, name: str, now: datetime) -> datetime | None:
    """Until when the name, known or not, is locked; None where it is not."""
    row = session.get(LoginThrottle, _name_key(name))
    if row is None or row.locked_until_ms <= to_ms(now):
        return None
    return from_ms(row.locked_until_ms)


def change_password(
    session: Session, user: User, new: str, breached: Path | None = None
) -> None:
    """A new password. The caller ends the account's sessions (`sessions.end_all`).

    Raises InputInvalid for one too short, easy (`check_password`) or unchanged.
    """
    check_password(new, user.name, user.township.name, breached=breached)
    if _verify(user.password_hash, new):
        raise InputInvalid(
            "password_same", say("新密码不能与旧密码相同", "the new password is the old one"), "new"
        )
    set_password(session, user, new, must_change=False)


def set_password(
    session: Session, user: User, new: str, must_change: bool, now: datetime | None = None
) -> None:
    """Another password without asking for the one before; a lock on the name is lifted.

    One that `must_change` runs out ONE_TIME_MS after `now`.
    """
    check_password(new, user.name, user.township.name)
    user.password_hash = _hash(new)
    user.must_change = must_change
    user.one_time_ms = to_ms(now) if must_change and now is not None else None
    throttle = _throttle(session, user.name)
    throttle.failed = throttle.locked_until_ms = 0


def _hash(password: str) -> str:
    with _at_once:
        return _hasher.hash(password)


def _verify(stored: str, password: str) -> bool:
    try:
        with _at_once:
            return _hasher.verify(stored, password[: MAX_PASSWORD + 1])
    except (VerificationError, InvalidHashError):
        return False


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return _hash(secrets.token_hex(16))


def _name_key(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def _throttle(session: Session, name: str) -> LoginThrottle:
    key = _name_key(name)
    row = session.get(LoginThrottle, key, with_for_update=True)
    if row is None:
        row = LoginThrottle(name=key, failed=0, last_ms=0, locked_until_ms=0)
        session.add(row)
    return row


def _forget_old(session: Session, now_ms: int) -> None:
    session.flush()
    session.execute(
        delete(LoginThrottle)
        .where(LoginThrottle.last_ms < now_ms - FORGET_MS)
        .execution_options(synchronize_session=False)
    )
