"""The accounts of a township, as its administrator looks after them.

Nobody lifts themselves up: own role, state, password and second step are not for these functions,
nor is an account of the same official. A township always keeps an administrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from attendance.days import to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import TOWNSHIP_ROLES, LoginSession, Role, SecondFactor, Township, User
from server.services.access import accounts, second, sessions
from server.services.access.permissions import Act, require


@dataclass(frozen=True)
class Account:
    """One account in the list. `seen_ms` is when the last of its sessions was used."""

    id: int
    name: str
    role: str
    official: str | None
    active: bool
    must_change: bool
    second: bool
    sessions: int
    seen_ms: int | None


def listing(session: Session, township: Township, now: datetime) -> list[Account]:
    """All accounts of the township, those in force first, by name."""
    running = (
        select(
            LoginSession.user_id,
            func.count().label("n"),
            func.max(LoginSession.seen_ms).label("at"),
        )
        .where(
            LoginSession.stage != sessions.WAITING,
            LoginSession.created_ms > to_ms(now) - sessions.LONGEST_MS,
            LoginSession.seen_ms > to_ms(now) - sessions.IDLE_MS,
        )
        .group_by(LoginSession.user_id)
        .subquery()
    )
    rows = session.execute(
        select(User, SecondFactor.sealed, running.c.n, running.c.at)
        .outerjoin(SecondFactor, SecondFactor.user_id == User.id)
        .outerjoin(running, running.c.user_id == User.id)
        .where(User.township_id == township.id, User.role != Role.AUDITOR)
        .order_by(User.active.desc(), User.name)
    )
    return [
        Account(
            u.id, u.name, u.role, u.official, u.active, u.must_change, sealed is not None,
            count or 0, at,
        )
        for u, sealed, count, at in rows
    ]  # fmt: skip


def one(session: Session, township: Township, number: int) -> User:
    """An account of the township by its number. Raises NotFound."""
    found = session.scalar(
        select(User).where(
            User.id == number, User.township_id == township.id, User.role != Role.AUDITOR
        )
    )
    if found is None:
        raise NotFound(say("没有这个账号", "there is no such account"))
    return found


def named(session: Session, name: str) -> User:
    """An account by its name, in force or not, for the command line. Raises NotFound."""
    found = session.scalar(select(User).where(User.name == name))
    if found is None:
        raise NotFound(say(f"没有账号 {name}", f"there is no account {name}"))
    return found


def add(
    session: Session,
    township: Township,
    name: str,
    role: str,
    official: str | None,
    by: User,
    now: datetime,
) -> tuple[User, str]:
    """A new account and its one-time password. Raises NotAllowed, InputInvalid, NotFound."""
    require(by, Act.MANAGE_ACCOUNTS, township)
    if official is not None and official == by.official:
        raise _own()
    _of_a_township(role)
    password = accounts.new_password()
    return accounts.add_user(session, township, name, role, password, now, official), password


def set_role(session: Session, user: User, role: str, by: User | None) -> str:
    """Another role; the account's sessions end. What it was. `by` is None for the command line.

    Raises NotAllowed, InputInvalid (`role`, `own_account`, `last_admin`).
    """
    _may(user, by)
    before = user.role
    for one_of_them in (before, role):
        _of_a_township(one_of_them)
    if before == Role.ADMIN and role != Role.ADMIN:
        _keep_an_admin(session, user)
    if role != before:
        user.role = str(Role(role))
        sessions.end_all(session, user)
    return before


def set_active(session: Session, user: User, active: bool, by: User | None) -> None:
    """Takes an account out of force, which ends its sessions, or back. Raises as `set_role`."""
    _may(user, by)
    if not active:
        if user.role == Role.ADMIN:
            _keep_an_admin(session, user)
        sessions.end_all(session, user)
    user.active = active


def reset_password(session: Session, user: User, by: User | None, now: datetime) -> str:
    """A one-time password, to be changed at once; sessions end, the lock opens. Raises as above."""
    _may(user, by)
    password = accounts.new_password()
    accounts.set_password(session, user, password, must_change=True, now=now)
    sessions.end_all(session, user)
    return password


def reset_second(session: Session, user: User, by: User | None) -> None:
    """Takes somebody's second step away: the telephone is lost. Sessions end. Raises as above."""
    _may(user, by)
    second.forget(session, user)
    sessions.end_all(session, user)


def end_sessions(session: Session, user: User, by: User | None) -> int:
    """Signs somebody out everywhere; from how many places. Raises as above."""
    _may(user, by)
    return sessions.end_all(session, user)


def end_session(session: Session, user: User, number: int, by: User) -> LoginSession:
    """Signs somebody out in one place; what that was. Raises NotFound, and as above."""
    _may(user, by)
    return sessions.end(session, user, number)


def _may(user: User, by: User | None) -> None:
    if by is None:
        return
    require(by, Act.MANAGE_ACCOUNTS, user.township_id)
    if by.id == user.id or (user.official is not None and user.official == by.official):
        raise _own()


def _of_a_township(role: str) -> None:
    """Raises InputInvalid for anything but a role of a township: the county's is no step up."""
    if role not in TOWNSHIP_ROLES:
        raise InputInvalid("role", say(f"没有角色 {role}", f"there is no role {role}"), "role")


def _own() -> InputInvalid:
    return InputInvalid(
        "own_account",
        say("不能在此管理本人的账号", "nobody looks after an account of their own here"),
    )


def _keep_an_admin(session: Session, user: User) -> None:
    """Raises InputInvalid (`last_admin`) where no other administrator is in force.

    The rows are locked, so that two administrators do not take each other out at once.
    """
    rows = session.scalars(
        select(User.id)
        .where(
            User.township_id == user.township_id, User.role == Role.ADMIN, User.active
        )
        .order_by(User.id)
        .with_for_update(of=User)
    ).all()
    if not set(rows) - {user.id}:
        raise InputInvalid(
            "last_admin",
            say("这是最后一个在用的管理员账号", "this is the last administrator in force"),
        )

