"""The township's rules by date: what they are called, what they say, which one is in force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import msgspec

from attendance.decoding import json_of


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a day in the village earns. `fen` are hundredths of a yuan.

    A day counts where a verified record of a class in `classes` shows somebody at a site of
    `site_kinds` for at least `min_minutes`, on leave or not being a matter of the verdict.
    """

    # product.md, "The practice it serves": a day in the village earns 35 yuan.
    fen: int = 3500
    site_kinds: tuple[str, ...] = ("village",)
    classes: tuple[str, ...] = ("A", "B")
    min_minutes: int = 0
    late_counts: bool = True


class MonthDays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days a month that whoever is expected in a village must be there; 0 for no minimum."""

    # 20 in some counties (the text); none until the township says so.
    days: int = 0


class LeaveTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days of leave in one piece that the township may approve itself; longer is the county's."""

    township_days: int = 3


class UsualShifts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shift (row id) of patterns that name none, by kind of site; None: any time will do."""

    office: int | None = None
    village: int | None = None


class SecondStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether those who approve sign in with a code as well (`services.access.second`)."""

    required: bool = False


TermValue = Allowance | MonthDays | LeaveTerms | UsualShifts | SecondStep
T = TypeVar("T", Allowance, MonthDays, LeaveTerms, UsualShifts, SecondStep)
#: The word in `township_rule.kind` for each.
KINDS: dict[str, type[TermValue]] = {
    "allowance": Allowance,
    "month_days": MonthDays,
    "leave": LeaveTerms,
    "usual_shifts": UsualShifts,
    "second_step": SecondStep,
}
_WORDS = {kind: word for word, kind in KINDS.items()}


@dataclass(frozen=True)
class Term:
    """A rule and the first day on which it is in force. `id` is the order of entry."""

    id: int
    first_day: date
    value: TermValue


def word_of(kind: type[TermValue]) -> str:
    """The word in `township_rule.kind` for a kind of rule."""
    return _WORDS[kind]


def read(kind: str, value: str) -> TermValue:
    """A stored rule. Raises ValueError for a kind or JSON that is none."""
    if kind not in KINDS:
        raise ValueError(f"there is no rule of kind {kind}")
    return json_of(KINDS[kind]).decode(value)


def write(value: TermValue) -> str:
    """The JSON of a rule, always in the same words."""
    return msgspec.json.encode(value).decode()


def in_force(terms: Iterable[Term], kind: type[T], day: date) -> T:
    """The rule of that kind on that day: the latest to begin, of those the last entered."""
    held = [t for t in terms if isinstance(t.value, kind) and t.first_day <= day]
    if not held:
        return kind()
    found = max(held, key=lambda t: (t.first_day, t.id)).value
    assert isinstance(found, kind)  # noqa: S101 (for the type checker; filtered above)
    return found
