"""Findings of an inspection: their kinds, and the state that their events leave them in."""

from __future__ import annotations

from collections.abc import Sequence

#: `absent` not where records say · `mistaken` somebody else's face · `record` a record that does
#: not hold · `device` a kiosk or site · `other`.
KINDS = ("absent", "mistaken", "record", "device", "other")
#: What may follow a state: the state that an event leads to, None where it changes none.
NEXT: dict[str, dict[str, str | None]] = {
    "open": {"note": None, "answered": "answered", "closed": "closed"},
    "answered": {"note": None, "answered": "answered", "closed": "closed", "reopened": "open"},
    "closed": {"reopened": "open"},
}
STATES = tuple(NEXT)
#: What the enrolment desk says of a mistaken identity; it changes no state.
REENROLLED = "reenrolled"


def state(events: Sequence[str]) -> str:
    """The state after events in their order; `open` before any."""
    now = "open"
    for what in events:
        now = NEXT[now].get(what) or now
    return now


def may_follow(now: str, what: str) -> bool:
    """Whether an event is possible in a state."""
    return what in NEXT[now]
