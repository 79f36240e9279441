"""What of a person is public: the township decides it field by field, and how far it goes."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, to_ms
from server.errors import InputInvalid, NotAllowed
from server.models import Official, PublicChoice, Role, Township, User

#: Fields beside name and status, which are the board itself, and whether a wall board has them.
#: A leave's reason is not among them: nobody can switch it on.
FIELDS: dict[str, bool] = {
    "portrait": True,
    "title": True,
    "phone": True,
    "duties": True,
    "work_group": True,
    "until": True,
    "since": False,
    "village": False,
    "reason": False,
}
USUAL = frozenset(name for name, shown in FIELDS.items() if shown)
#: Private, loopback and link-local networks: RFC 1918, 1122, 3927, 4193, 4291.
_OWN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
#: Crockford's letters and digits: nothing that is read for something else on a plate.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAGE_LETTERS = 12


@dataclass(frozen=True)
class Publication:
    """What is shown: `fields` of FIELDS; `beyond` the township's own network or not.

    `signer` and `signed_day` are of the impact assessment, `assessment` the number of its paper.
    """

    fields: frozenset[str] = USUAL
    beyond: bool = False
    signer: str = ""
    signed_day: str | None = None
    assessment: int | None = None
    by: str = ""
    at_ms: int | None = None


def publication(session: Session, township_id: int) -> Publication:
    """What the township decided last; the usual wall board, in its own network, before."""
    mine = PublicChoice.township_id == township_id
    newest = session.scalar(
        select(PublicChoice).where(mine).order_by(PublicChoice.id.desc()).limit(1)
    )
    if newest is None:
        return Publication()
    assessed = session.scalar(
        select(PublicChoice)
        .where(mine, PublicChoice.assessment_id.is_not(None))
        .order_by(PublicChoice.id.desc())
        .limit(1)
    )
    return Publication(
        frozenset(json.loads(newest.fields)) & FIELDS.keys(),
        newest.beyond,
        assessed.signer if assessed else "",
        assessed.signed_day if assessed else None,
        assessed.assessment_id if assessed else None,
        newest.by,
        newest.at_ms,
    )


def choose(
    session: Session,
    township: Township,
    fields: Iterable[str],
    beyond: bool,
    user: User,
    now: datetime,
    *,
    assessment: int | None = None,
    signer: str = "",
    signed_day: date | None = None,
) -> Publication:
    """Appends a decision; the caller commits.

    The first that leaves the township's own network needs the signed impact assessment: who signed
    it, when, and the number of its paper among the attachments. Raises NotAllowed for whoever is
    neither leader nor administrator, InputInvalid (`unknown_field`, `assessment`, `day`).
    """
    if user.township_id != township.id or user.role not in (Role.LEADER, Role.ADMIN):
        raise NotAllowed("only a leader or administrator decides what is public")
    wanted = frozenset(fields)
    if not wanted <= FIELDS.keys():
        raise InputInvalid("unknown_field", "there is no such field")
    before = publication(session, township.id)
    signer = " ".join(signer.split())[:60]
    if beyond and before.assessment is None and (assessment is None or not signer):
        raise InputInvalid("assessment", "the signed impact assessment is missing")
    if assessment is not None and (signed_day is None or signed_day > day_of(to_ms(now))):
        raise InputInvalid("day", "the day of the signature lies in the future or is missing")
    session.add(
        PublicChoice(
            township_id=township.id,
            fields=json.dumps(sorted(wanted)),
            beyond=beyond,
            assessment_id=assessment,
            signer=signer if assessment is not None else "",
            signed_day=signed_day.isoformat() if assessment is not None and signed_day else None,
            by=user.name,
            at_ms=to_ms(now),
        )
    )
    session.flush()
    return publication(session, township.id)


def is_near(remote: str) -> bool:
    """Whether an address belongs to a network of one's own; one that cannot be read does not."""
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _OWN)


def page_of(session: Session, official: Official) -> str:
    """The name of an official's public page, made where it has none; the caller commits."""
    if official.page is None:
        official.page = "".join(secrets.choice(_LETTERS) for _ in range(PAGE_LETTERS))
        session.flush()
    return official.page
