"""Messages about enrolling again those whose face let somebody else in (docs/wire.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from attendance.messages import VERSION, Reply, Request
from attendance.records import OfficialId, UnixMs
from attendance.wire import PREFIX

DESK_REENROLMENTS = f"{PREFIX}/desk/reenrolments"
Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Reenrolment(Reply, frozen=True, kw_only=True):
    """The desk is to enrol `official` again: finding number `finding`, of the `day` (ISO date) on
    which somebody else was taken for them; asked at `asked_ms` (Unix milliseconds)."""

    finding: Number
    official: OfficialId
    day: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    asked_ms: UnixMs


class Reenrolled(Request, frozen=True, kw_only=True):
    """The desk's answer: a newer enrolment of `official` is there (`face`), or their face is gone
    from the desk."""

    v: int = VERSION
    finding: Number
    official: OfficialId
    face: bool
