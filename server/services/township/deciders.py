"""Who may decide leave, and take back what was decided: a leader, neither who entered it nor
whose leave it is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.i18n import say
from server.errors import NotAllowed
from server.models import Township, User
from server.services.access.permissions import MAY, Act

#: Why an account may not decide about it, in words for the command line; pages have their own.
WHY = {
    "own_leave": ("本人的申请须由另一位领导审批", "another leader decides one's own request"),
    "entered_leave": (
        "登记请假的人不能审批：请另一位领导审批，没有其他领导账号的，请撤销后由党政办登记",
        "whoever entered leave does not decide it: another leader does, or, where there is none, "
        "withdraw it and let the clerk enter it",
    ),
    "decided_leave": (
        "审批这条请假的领导不能登记县级答复：请党政办或其他人登记",
        "whoever decided for the township does not enter the county's answer: let the clerk or "
        "somebody else enter it",
    ),
    "begun_leave": (
        "已批准且已开始的请假，须由登记人和本人以外的领导撤销",
        "approved leave that has begun is withdrawn by a leader who neither entered it nor "
        "takes it",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Deciders:
    """A township's leaders in force as (account, official or None), and every account's official.

    The person counts, not the account: an official with two accounts is one pair of eyes.
    """

    leaders: tuple[tuple[str, str | None], ...]
    officials: dict[str, str | None]

    def why_not(self, account: str, official: str | None, whose: str, asked_by: str) -> str:
        """A key of `WHY`, or "" where the account (of `official`) may decide the leave of `whose`
        (a code) that the account `asked_by` entered."""
        if official is not None and official == whose:
            return "own_leave"
        return "entered_leave" if self.same_person(account, official, asked_by) else ""

    def same_person(self, account: str, official: str | None, other: str | None) -> bool:
        """Whether the account (of `official`) and the account `other` are one person's."""
        own = official is not None and official == self.officials.get(other or "")
        return account == other or own

    def names(self, whose: str, asked_by: str) -> list[str]:
        """The leaders' accounts that may decide it, by name."""
        return [
            account
            for account, official in self.leaders
            if not self.why_not(account, official, whose, asked_by)
        ]


def deciders(session: Session, township: Township | int) -> Deciders:
    """Asked once for a page."""
    place = township if isinstance(township, int) else township.id
    rows = session.execute(
        select(User.name, User.official, User.role, User.active)
        .where(User.township_id == place)
        .order_by(User.name)
    ).all()
    return Deciders(
        tuple((r.name, r.official) for r in rows if r.active and r.role in MAY[Act.DECIDE_LEAVE]),
        {r.name: r.official for r in rows},
    )


def require_other(session: Session, by: User, whose: str, asked_by: str) -> None:
    """Raises NotAllowed, with a key of `WHY`, where `by` may not decide."""
    why = deciders(session, by.township_id).why_not(by.name, by.official, whose, asked_by)
    if why:
        raise NotAllowed(say(*WHY[why]), why)
