"""What each role may do, in one table, and that nobody decides about themselves."""

from __future__ import annotations

from enum import StrEnum

from attendance.i18n import say
from server.errors import NotAllowed
from server.models import Role, Township, User


class Act(StrEnum):
    """Something that not everybody may do."""

    READ = "read"
    READ_TRAIL = "read_trail"
    ENTER_LEAVE = "enter_leave"
    DECIDE_LEAVE = "decide_leave"
    EDIT_ROSTER = "edit_roster"
    EDIT_TERMS = "edit_terms"
    PROPOSE_TERMS = "propose_terms"
    PROPOSE = "propose_correction"
    DECIDE = "decide_correction"
    INSPECT = "inspect"
    ANSWER = "answer_finding"
    REVIEW = "review_apart"
    SIGN = "sign_month"
    MANAGE_ACCOUNTS = "manage_accounts"


_STAFF = frozenset(Role)
#: product.md, "The people": the clerk enters, the inspector sees and opens findings and changes
#: nothing else, the leader approves and signs; the county's auditor reads.
MAY: dict[Act, frozenset[Role]] = {
    Act.READ: _STAFF,
    Act.READ_TRAIL: frozenset({Role.ADMIN, Role.LEADER, Role.AUDITOR}),
    Act.ENTER_LEAVE: frozenset({Role.ADMIN, Role.CLERK, Role.LEADER}),
    Act.DECIDE_LEAVE: frozenset({Role.LEADER}),
    Act.EDIT_ROSTER: frozenset({Role.ADMIN, Role.CLERK}),
    Act.EDIT_TERMS: frozenset({Role.ADMIN, Role.LEADER}),
    Act.PROPOSE_TERMS: frozenset({Role.ADMIN, Role.CLERK, Role.LEADER}),
    Act.PROPOSE: frozenset({Role.ADMIN, Role.CLERK, Role.LEADER}),
    Act.DECIDE: frozenset({Role.LEADER}),
    Act.INSPECT: frozenset({Role.INSPECTOR}),
    Act.ANSWER: frozenset({Role.CLERK, Role.INSPECTOR, Role.LEADER}),
    Act.REVIEW: frozenset({Role.INSPECTOR, Role.LEADER}),
    Act.SIGN: frozenset({Role.LEADER}),
    Act.MANAGE_ACCOUNTS: frozenset({Role.ADMIN}),
}


def may(user: User, act: Act) -> bool:
    """Whether the account's role allows it."""
    return user.role in MAY[act]


def require(user: User, act: Act, township: Township | int) -> None:
    """Raises NotAllowed where the role does not allow it, or the township is another."""
    place = township if isinstance(township, int) else township.id
    if user.township_id != place or not may(user, act):
        raise NotAllowed(say("该账号无权进行此操作", "this account may not do that"))


def not_own(user: User, *officials: str | None) -> None:
    """Raises NotAllowed where the account is that of one of these officials (codes)."""
    if user.official is not None and user.official in officials:
        raise NotAllowed(say("不能办理本人的事项", "nobody corrects or approves their own"), "own")


def another_person(user: User, name: str, official: str | None) -> None:
    """Raises NotAllowed where `user` is who proposed (`name`, `official`), by account or person."""
    same_person = official is not None and user.official == official
    if user.name == name or same_person:
        raise NotAllowed(
            say("须由另一人审批", "another person decides about what somebody proposed"), "another"
        )
