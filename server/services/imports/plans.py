"""What every row of a table would do, said before anything is written.

A plan is made from the file and the township as it stands, in a fixed number of queries, and is
made again when it is applied; only if both say the same is anything written.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import day_of, day_start_ms, to_ms
from server.errors import InputInvalid
from server.models import Expectation, Official, Township, User, WorkGroup
from server.services.imports.tables import Line, Table, date_of, read_table
from server.services.sheets.roster import Roster, roster_of
from server.services.township import leave, settings
from server.services.township.settings import CODE, Particulars

#: Days that one file of rosters may touch.
MAX_DAYS = 20_000
#: Headings by which a column goes, the Chinese one of the template first, then the English one.
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "officials": {
        "official": ("编号", "Id", "工号"),
        "name": ("姓名", "Name"),
        "title": ("职务", "Title"),
        "phone": ("电话", "Telephone", "联系电话", "手机"),
        "duties": ("职责", "Duties", "职责分工"),
        "households": ("包联户数", "Households", "户数"),
        "work_group": ("工作组", "Work group"),
        "sites": ("应到站点", "Expected at", "站点"),
    },
    "rosters": {
        "official": ("编号", "Id", "工号"),
        "name": ("姓名", "Name"),
        "first": ("开始日期", "First day", "日期"),
        "last": ("结束日期", "Last day"),
        "what": ("安排", "What holds"),
        "site": ("站点", "Site"),
        "weekdays": ("星期", "Weekdays"),
        "shift": ("班次", "Shift"),
        "reason": ("事由", "Reason"),
    },
    "leave": {
        "official": ("编号", "Id", "工号"),
        "name": ("姓名", "Name"),
        "status": ("类别", "Kind"),
        "first": ("开始日期", "First day"),
        "last": ("结束日期", "Last day"),
        "reason": ("事由", "Reason"),
    },
}
NEEDED = {
    "officials": ("official", "name"),
    "rosters": ("official", "first", "what"),
    "leave": ("official", "status", "first", "last"),
}
#: What the column `what` of a roster may say.
WHATS = {
    "到站点": "at", "at": "at", "不安排": "off", "休息": "off", "off": "off",
    "按排班": "pattern", "pattern": "pattern", "每周": "weekly", "weekly": "weekly",
}  # fmt: skip
STATUSES = {
    "请休假": "on_leave", "请假": "on_leave", "leave": "on_leave",
    "出差": "business_trip", "trip": "business_trip",
}  # fmt: skip
FATES = ("new", "changed", "same", "refused")


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a row would write. `sites` are ids; days are ISO dates, `first` to `last`."""

    official: str
    particulars: Particulars | None = None
    sites: tuple[int, ...] | None = None
    what: str = ""
    first: str = ""
    last: str = ""
    site: int | None = None
    shift: int | None = None
    weekdays: int = 0
    reason: str = ""


class Fate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row's fate, one of FATES. `why` is a key of the pages; `about` what it concerns."""

    number: int
    official: str
    name: str
    fate: str
    why: str = ""
    about: str = ""
    act: Act | None = None


@dataclass(frozen=True)
class Plan:
    """All rows in the order of the sheet. `digest` is the same where the outcome would be."""

    kind: str
    columns: tuple[str, ...]
    fates: tuple[Fate, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all fates, hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self.fates)).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """How many rows have each fate."""
        return {f: sum(row.fate == f for row in self.fates) for f in FATES}


class _Refused(Exception):
    def __init__(self, why: str, about: str = "") -> None:
        super().__init__(why)
        self.why, self.about = why, about


def plan(
    session: Session, township: Township, kind: str, body: bytes, by: User, now: datetime
) -> Plan:
    """What the table in `body` would do now. Raises InputInvalid (`read_table`)."""
    if kind not in COLUMNS:
        raise InputInvalid("kind", "no such table", "kind")
    table = read_table(body, COLUMNS[kind], NEEDED[kind])
    roster = roster_of(session, township)
    makers: dict[str, Callable[..., _Maker]] = {
        "officials": _Officials, "rosters": _Rosters, "leave": _Leave,
    }  # fmt: skip
    maker = makers[kind](session, township, roster, table, by, now)
    return Plan(kind, table.columns, tuple(maker.fate(line) for line in table.lines))


class _Maker(ABC):
    """What all kinds share: who a row is about."""

    def __init__(
        self,
        session: Session,
        township: Township,
        roster: Roster,
        table: Table,
        by: User,
        now: datetime,
    ) -> None:
        self.roster, self.by, self.today = roster, by, day_of(to_ms(now))
        self.columns, self.lines = table.columns, table.lines
        self.places = {p.name: p for p in roster.places.values()}
        self.prepare(session, township)

    @abstractmethod
    def prepare(self, session: Session, township: Township) -> None:
        """Reads what the rows are compared with."""

    @abstractmethod
    def row(self, line: Line) -> Fate:
        """The fate of a row whose cells can be read. Raises _Refused."""

    def fate(self, line: Line) -> Fate:
        code, name = line.text("official").strip(), line.text("name").strip()
        try:
            if line.has_formula():
                raise _Refused("formula")
            if not CODE.fullmatch(code):
                raise _Refused("official_code", code)
            return self.row(line)
        except _Refused as refused:
            return Fate(line.number, code[:32], name[:60], "refused", refused.why, refused.about)

    def known(self, line: Line) -> tuple[str, str]:
        """Code and name of an official whom the roster holds; a name in the row must be theirs."""
        code, name = line.text("official").strip(), line.text("name").strip()
        person = self.roster.by_code.get(code)
        if person is None or not person.active:
            raise _Refused("unknown_official", code)
        if name and name != person.name:
            raise _Refused("other_name", person.name)
        return code, person.name

    def dates(self, line: Line) -> tuple[date, date]:
        """First and last day of the row."""
        first = date_of(line.cells.get("first", ""))
        last = date_of(line.cells["last"]) if line.text("last") else first
        if first is None or last is None:
            raise _Refused("date", line.text("first" if first is None else "last"))
        if last < first:
            raise _Refused("order")
        return first, last


class _Officials(_Maker):
    def prepare(self, session: Session, township: Township) -> None:
        self.seen: set[str] = set()
        self.held: dict[str, tuple[Official, str]] = {
            o.official: (o, group or "")
            for o, group in session.execute(
                select(Official, WorkGroup.name)
                .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
                .where(Official.township_id == township.id)
            )
        }
        self.sites: dict[int, set[int]] = {}
        for official_id, site_id in session.execute(
            select(Expectation.official_id, Expectation.site_id).where(
                Expectation.township_id == township.id
            )
        ):
            self.sites.setdefault(official_id, set()).add(site_id)

    def row(self, line: Line) -> Fate:
        code = line.text("official").strip()
        if code in self.seen:
            raise _Refused("twice", code)
        self.seen.add(code)
        found = self.held.get(code)
        before = None if found is None else settings.particulars_of(*found)
        after = self._particulars(line, before or Particulars(""))
        sites = self._sites(line)
        there = set() if found is None else self.sites.get(found[0].id, set())
        if found is not None and not found[0].active:
            raise _Refused("inactive", code)
        if sites is not None and set(sites) != there and self.by.official == code:
            raise _Refused("own")
        about = settings.differences(before, after) if before is not None else ""
        if sites is not None and set(sites) != there:
            names = {p.id: p.name for p in self.places.values()}
            moved = "、".join(names[n] for n in sites) or "–"
            about = f"{about}; sites: {moved}".removeprefix("; ")
        fate = "new" if before is None else "changed" if about else "same"
        act = None if fate == "same" else Act(code, after, sites)
        return Fate(line.number, code, after.name, fate, "", about, act)

    def _particulars(self, line: Line, before: Particulars) -> Particulars:
        def typed(column: str) -> str:
            held = str(getattr(before, column) or "")
            return line.text(column).strip() if column in self.columns else held

        households = before.households
        if "households" in self.columns:
            text = line.text("households").strip()
            if text and not (text.isascii() and text.isdigit() and len(text) <= 5):
                raise _Refused("households", text)
            households = int(text) if text else None
        try:
            return settings.checked(
                Particulars(
                    typed("name"), typed("title"), typed("phone"), typed("duties"), households,
                    typed("work_group"),
                )
            )  # fmt: skip
        except InputInvalid as error:
            raise _Refused(error.key) from None

    def _sites(self, line: Line) -> tuple[int, ...] | None:
        if "sites" not in self.columns:
            return None
        text = line.text("sites")
        for mark in "；、,，\n":
            text = text.replace(mark, ";")
        names = [name.strip() for name in text.split(";") if name.strip()]
        unknown = next((name for name in names if name not in self.places), None)
        if unknown is not None:
            raise _Refused("unknown_site", unknown)
        return tuple(sorted({self.places[name].id for name in names}))


class _Rosters(_Maker):
    def prepare(self, session: Session, township: Township) -> None:
        self.seen: set[tuple[str, date]] = set()
        self.weekly: set[tuple[str, int]] = set()
        self.days = 0
        # The latest shift of a name counts, as where it was made again with other hours.
        self.shifts = {s.name: n for n, s in sorted(self.roster.shifts.items())}

    def row(self, line: Line) -> Fate:
        code, name = self.known(line)
        if self.by.official == code:
            raise _Refused("own")
        what = WHATS.get(line.text("what").strip().casefold())
        if what is None:
            raise _Refused("what", line.text("what"))
        shift_name, site_name = line.text("shift").strip(), line.text("site").strip()
        if shift_name and shift_name not in self.shifts:
            raise _Refused("unknown_shift", shift_name)
        site = None
        if what in ("at", "weekly"):
            if site_name not in self.places:
                raise _Refused("unknown_site", site_name)
            site = self.places[site_name].id
        act = Act(
            code, what=what, site=site, reason=line.text("reason")[:200],
            shift=self.shifts[shift_name] if shift_name and what in ("at", "weekly") else None,
        )  # fmt: skip
        return self._weekly(line, name, act) if what == "weekly" else self._dated(line, name, act)

    def _dated(self, line: Line, name: str, act: Act) -> Fate:
        first, last = self.dates(line)
        days = [first + timedelta(n) for n in range((last - first).days + 1)]
        self.days += len(days)
        if len(days) > 366 or self.days > MAX_DAYS:
            raise _Refused("too_many_days")
        if any((act.official, day) in self.seen for day in days):
            raise _Refused("twice", act.official)
        self.seen.update((act.official, day) for day in days)
        held = self.roster.by_code[act.official].dated
        about = first.isoformat() if first == last else f"{first}..{last}"
        states = {self._state(held.get(day), act) for day in days}
        fate = "same" if states == {"same"} else "changed" if "changed" in states else "new"
        if fate != "same" and first < self.today:
            raise _Refused("over", about)
        act = msgspec.structs.replace(act, first=first.isoformat(), last=last.isoformat())
        return Fate(line.number, act.official, name, fate, "", about,
                    None if fate == "same" else act)  # fmt: skip

    def _state(self, dated: object, act: Act) -> str:
        what = getattr(dated, "what", "pattern")
        place, hours = getattr(dated, "place", None), getattr(dated, "hours", None)
        mine = (act.what, act.site, act.shift)
        if (what, getattr(place, "id", None), getattr(hours, "id", None)) == mine:
            return "same"
        return "new" if what == "pattern" else "changed"

    def _weekly(self, line: Line, name: str, act: Act) -> Fate:
        mask = weekdays_of(line.text("weekdays"))
        if mask is None:
            raise _Refused("weekdays", line.text("weekdays"))
        first = date_of(line.cells.get("first", ""))
        if first is None:
            raise _Refused("date", line.text("first"))
        if first < self.today:
            raise _Refused("past", first.isoformat())
        if (act.official, act.site or 0) in self.weekly:
            raise _Refused("twice", act.official)
        self.weekly.add((act.official, act.site or 0))
        held = next(
            (p for p in self.roster.by_code[act.official].patterns
             if p.place.id == act.site and p.last is None),
            None,
        )  # fmt: skip
        fate = "new" if held is None else "changed"
        if held is not None and (held.weekdays, held.hours.id if held.hours else None) == (
            mask, act.shift,
        ):  # fmt: skip
            fate = "same"
        act = msgspec.structs.replace(act, weekdays=mask, first=first.isoformat())
        return Fate(line.number, act.official, name, fate, "", first.isoformat(),
                    None if fate == "same" else act)  # fmt: skip


class _Leave(_Maker):
    def prepare(self, session: Session, township: Township) -> None:
        days = [
            day
            for line in self.lines
            for column in ("first", "last")
            if (day := date_of(line.cells.get(column, ""))) is not None
        ]
        self.held: dict[str, list[tuple[int, int, str]]] = {}
        if not days:
            return
        first, last = day_start_ms(min(days)), day_start_ms(max(days) + timedelta(1))
        for held in leave.absences(session, township, first, last):
            if held.void:
                continue
            span = (held.start_ms, held.end_ms, str(held.status))
            self.held.setdefault(held.official, []).append(span)

    def row(self, line: Line) -> Fate:
        code, name = self.known(line)
        status = STATUSES.get(line.text("status").strip().casefold())
        if status is None:
            raise _Refused("status", line.text("status"))
        first, last = self.dates(line)
        if (last - first).days >= leave.MAX_DAYS:
            raise _Refused("too_many_days")
        reason = line.text("reason")[:200]
        span = (day_start_ms(first), day_start_ms(last + timedelta(1)), status)
        about = f"{first}..{last}"
        mine = self.held.setdefault(code, [])
        if span in mine:
            return Fate(line.number, code, name, "same", "", about)
        if any(held[0] < span[1] and span[0] < held[1] for held in mine):
            raise _Refused("overlaps", about)
        mine.append(span)
        act = Act(code, what=status, first=first.isoformat(), last=last.isoformat(), reason=reason)
        return Fate(line.number, code, name, "new", "", about, act)


_WEEK = {**{c: n for n, c in enumerate("一二三四五六日")}, "天": 6,
         **{str(n + 1): n for n in range(7)}}  # fmt: skip


def weekdays_of(text: str) -> int | None:
    """A mask of weekdays: `工作日`, `每天`, `一三五`, `周一至周五`, `1-5`, `135`; None for none."""
    text = "".join(text.split()).replace("星期", "").replace("周", "").replace("礼拜", "")
    usual: Mapping[str, int] = {"工作日": 0b0011111, "workingdays": 0b0011111,
                                "每天": 0b1111111, "everyday": 0b1111111}  # fmt: skip
    if text.casefold() in usual:
        return usual[text.casefold()]
    for mark in "至到~～—–":
        text = text.replace(mark, "-")
    for mark in "、，,;；":
        text = text.replace(mark, "")
    mask, chars = 0, list(text)
    for n, char in enumerate(chars):
        if char == "-":
            if not 0 < n < len(chars) - 1 or not _ends(chars[n - 1 : n + 2]):
                return None
            first, last = _WEEK[chars[n - 1]], _WEEK[chars[n + 1]]
            if last < first:
                return None
            mask |= sum(1 << day for day in range(first, last + 1))
        elif char in _WEEK:
            mask |= 1 << _WEEK[char]
        else:
            return None
    return mask or None


def _ends(around: Sequence[str]) -> bool:
    return around[0] in _WEEK and around[2] in _WEEK
