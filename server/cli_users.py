"""`quxiang-server user`: accounts, from the machine itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

from sqlalchemy.orm import Session

from attendance.days import local
from attendance.i18n import say
from server.cli_base import config_of, transaction
from server.context import utcnow
from server.errors import InputInvalid
from server.models import User

ROLES = ("admin", "clerk", "inspector", "leader")


def register(
    user: argparse.ArgumentParser, data: Callable[[argparse.ArgumentParser], None]
) -> None:
    """The actions of `user`; `data` adds --data and --database."""
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Callable[[argparse.Namespace], int], what: str,
               *, named: bool = True) -> argparse.ArgumentParser:  # fmt: skip
        made = actions.add_parser(name, help=what, description=what)
        data(made)
        if named:
            made.add_argument("name", metavar="NAME")
        made.set_defaults(run=run)
        return made

    new = action("add", add, "add an account")
    new.add_argument("--role", choices=ROLES, required=True)
    new.add_argument("--official", metavar="ID", help="the cadre whose account this is")
    new.add_argument("--password-file", type=Path, metavar="F")
    new.add_argument("--township", metavar="NAME")

    auditor = action("auditor", add, "add an auditor of the county, who reads every township")
    auditor.add_argument("--password-file", type=Path, metavar="F")
    auditor.set_defaults(role="auditor", official=None, township=None)

    listed = action("list", show, "list accounts and their state", named=False)
    listed.add_argument("--township", metavar="NAME")
    role = action("role", change, "give an account another role")
    role.add_argument("role", metavar="ROLE", choices=ROLES)
    action("disable", change, "take an account out of force and sign it out")
    action("enable", change, "put an account in force again")
    password = action("password", change, "make a one-time password, the last line")
    password.add_argument("--password-file", type=Path, metavar="F")
    action("reset-code", change, "take a lost telephone's second step away")
    action("sign-out", change, "sign an account out everywhere")
    step = action(
        "second-step", second_step, "from when leaders and administrators need a code", named=False
    )
    step.add_argument("--township", metavar="NAME")
    when = step.add_mutually_exclusive_group(required=True)
    when.add_argument("--from", dest="first", type=date.fromisoformat, metavar="DATE")
    when.add_argument("--off", action="store_true", help="the password is enough")


def password_of(path: Path | None) -> str:
    """The password in a file, without its line's end, or a new one. Raises InputInvalid."""
    from server.services.access import accounts

    if path is None:
        return accounts.new_password()
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputInvalid(
            "password_file", say(f"{path} 不是 UTF-8 文本", f"{path} is not UTF-8 text")
        ) from None


def tell(password: str) -> None:
    """Prints a one-time password as the last line."""
    print(say("一次性密码（首次登录须更改）：", "one-time password, to be changed at once:"))
    print(password)


def add(args: argparse.Namespace) -> int:
    """Adds an account."""
    from server.services.access import accounts
    from server.services.evidence import audit
    from server.services.township.townships import only_township

    given = args.password_file
    password = password_of(given)
    now = utcnow()
    with transaction(config_of(args)) as session:
        township = only_township(session, args.township)
        accounts.add_user(
            session, township, args.name, args.role, password, now, args.official, given is None
        )
        audit.note_for(session, township.id, "command", "add_user", args.name, now)
    print(say(f"已添加账号 {args.name}", f"the account {args.name} is there"))
    if given is None:
        tell(password)
    return 0


def show(args: argparse.Namespace) -> int:
    """A line for each account: name, role, official, state, second step, sessions."""
    from server.services.access import staff
    from server.services.township.townships import only_township

    with transaction(config_of(args)) as session:
        rows = staff.listing(session, only_township(session, args.township), utcnow())
    for a in rows:
        state = say("在用", "in force") if a.active else say("停用", "disabled")
        code = say("两步验证", "second step") if a.second else "-"
        seen = "-" if a.seen_ms is None else local(a.seen_ms).strftime("%Y-%m-%d %H:%M")
        print(f"{a.name}  {a.role}  {a.official or '-'}  {state}  {code}  {a.sessions}  {seen}")
    return 0


def _change(session: Session, user: User, args: argparse.Namespace) -> tuple[str, str, str]:
    """Does what was asked; the trail's word and target, and what is printed last."""
    from server.services.access import accounts, sessions, staff

    name = user.name
    if args.action == "role":
        before = staff.set_role(session, user, args.role, None)
        return "account_role", f"{name}: {before} → {args.role}", ""
    if args.action in ("disable", "enable"):
        on = args.action == "enable"
        staff.set_active(session, user, on, None)
        return "account_on" if on else "account_off", name, ""
    if args.action == "password":
        given = args.password_file
        password = password_of(given)
        accounts.set_password(session, user, password, given is None, utcnow())
        sessions.end_all(session, user)
        return "account_password", name, password if given is None else ""
    if args.action == "reset-code":
        staff.reset_second(session, user, None)
        return "account_second", name, ""
    return "account_sign_out", f"{name}: {staff.end_sessions(session, user, None)}", ""


def change(args: argparse.Namespace) -> int:
    """Changes an account, noted in its township's trail."""
    from server.services.access import staff
    from server.services.evidence import audit

    with transaction(config_of(args)) as session:
        user = staff.named(session, args.name)
        what, target, last = _change(session, user, args)
        audit.note_for(session, user.township_id, "command", what, target, utcnow())
    print(say(f"已办理：{args.name}", f"done: {args.name}"))
    if last:
        tell(last)
    return 0


def second_step(args: argparse.Namespace) -> int:
    """Sets from when those who approve need a code, or that they need none."""
    from server.services.access import second
    from server.services.evidence import audit
    from server.services.township.townships import only_township

    now = utcnow()
    with transaction(config_of(args)) as session:
        township = only_township(session, args.township)
        second.ask_for(session, township, args.first, now)
        said = "off" if args.first is None else args.first.isoformat()
        audit.note_for(session, township.id, "command", "set_rule", f"second_step {said}", now)
    print(say(f"两步验证：{said}", f"second step: {said}"))
    return 0
