"""`quxiang-server township`: several townships on one server, strictly apart."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select

from attendance.days import day_of, to_ms
from attendance.i18n import say
from server.cli_base import config_of, transaction
from server.cli_users import tell
from server.context import utcnow


def register(
    township: argparse.ArgumentParser, data: Callable[[argparse.ArgumentParser], None]
) -> None:
    """The actions of `township`; `data` adds --data and --database."""
    actions = township.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("add", help="add a township with an administrator of its own")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--admin", metavar="ACCOUNT", required=True, help="its administrator's name")
    new.set_defaults(run=add)
    listed = actions.add_parser("list", help="list townships, their boards and administrators")
    listed.set_defaults(run=show)
    for action in (new, listed):
        data(action)


def add(args: argparse.Namespace) -> int:
    """Adds a township and its administrator; the one-time password is the last line."""
    from server.services.access import accounts, second
    from server.services.evidence import audit
    from server.services.township.townships import create_township

    now, password = utcnow(), accounts.new_password()
    with transaction(config_of(args)) as session:
        made = create_township(session, args.name, now)
        accounts.add_user(session, made, args.admin, "admin", password, now)
        second.ask_for(session, made, day_of(to_ms(now)) + timedelta(second.GRACE_DAYS), now)
        audit.note_for(session, made.id, "command", "add_user", args.admin, now)
        said = say(
            f"已添加 {made.name}，公开去向牌在 /t/{made.slug}/，管理员 {args.admin}",
            f"{made.name} is there, its board at /t/{made.slug}/, its administrator {args.admin}",
        )
    print(said)
    tell(password)
    return 0


def show(args: argparse.Namespace) -> int:
    """A line for each township: its board's address, its name, its administrators."""
    from server.models import Role, Township, User

    with transaction(config_of(args)) as session:
        for place in session.scalars(select(Township).order_by(Township.id)):
            admins = session.scalars(
                select(User.name)
                .where(User.township_id == place.id, User.role == Role.ADMIN, User.active)
                .order_by(User.name)
            )
            print(f"/t/{place.slug}/  {place.name}  {' '.join(admins)}")
    return 0
