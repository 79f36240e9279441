"""Who decides leave, in words: for whoever may not."""

from __future__ import annotations

from server.models import User
from server.services.access.permissions import Act, may
from server.services.township.deciders import Deciders
from server.services.township.leave import Leave
from server.web.language import lang
from server.web.say import gettext

#: Accounts named at most.
NAMED = 3


def waits_words(eyes: Deciders, item: Leave, user: User) -> str:
    """Who decides a request that waits; "" where it is `user`."""
    others, why = eyes.names(item.official, item.asked_by), ""
    if may(user, Act.DECIDE_LEAVE):
        why = eyes.why_not(user.name, user.official, item.official, item.asked_by)
        if not why:
            return ""
    if why == "own_leave":
        return (
            gettext("Your own leave, for %(who)s to decide.", who=_any_of(others)) if others else
            gettext("Your own leave, and no other leader has an account: let the administrator "
                    "open one for whoever decides in your place.")
        )  # fmt: skip
    if why:
        return (
            gettext("You entered this yourself: for %(who)s to decide.", who=_any_of(others))
            if others else
            gettext("You entered this yourself, and no other leader has an account: withdraw it "
                    "and let the clerk enter it.")
        )  # fmt: skip
    if others:
        return gettext("waiting for a leader")
    return gettext(
        "No leader may decide this: nobody decides what they entered, nor their own. "
        "Another leader needs an account."
    )


def entering_words(eyes: Deciders, user: User) -> str:
    """What a leader is told before entering or importing leave; "" for others."""
    if not may(user, Act.DECIDE_LEAVE):
        return ""
    others = eyes.names("", user.name)
    if others:
        return gettext("What you enter here is for %(who)s to decide.", who=_any_of(others))
    return gettext(
        "No other leader has an account: let the clerk enter leave, since nobody decides what "
        "they entered."
    )


def _any_of(accounts: list[str]) -> str:
    comma, either = ("、", " 或 ") if lang() == "zh" else (", ", " or ")
    *some, last = accounts[:NAMED]
    return f"{comma.join(some)}{either}{last}" if some else last
