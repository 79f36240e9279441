"""What the templates of the public board are given: people drawn, counts, sites cut off."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from flask import url_for
from sqlalchemy.orm import Session

from attendance.days import day_of, local, to_ms
from attendance.statuses import LOOKS, Status
from server.models import Township
from server.services.public.publicboard import PublicBoard, PublicRow, public_board, ranked
from server.web import words
from server.web.language import clock_words, lang, short_day
from server.web.pieces import pieces
from server.web.say import gettext

#: Statuses in the order of the legend.
LEGEND = tuple(status for status in LOOKS if status is not Status.STALE)


@dataclass(frozen=True)
class ShownRow:
    """A `PublicRow` with its times in words and the addresses of its picture and page."""

    name: str
    title: str
    phone: str
    status: str
    duties: str
    notes: list[str]
    heard_words: str
    portrait_url: str | None
    page_url: str | None


def until_words(until: datetime | None, present: datetime) -> str:
    """A stated return in words. Midnight is the end of the day before, not a time to be back."""
    if until is None:
        return ""
    ms, today = to_ms(until), day_of(to_ms(present))
    if local(ms).strftime("%H:%M") == "00:00":
        return gettext("through %(day)s", day=short_day(day_of(ms - 1), today))
    return gettext("back about %(at)s", at=clock_words(ms, today))


def shown(row: PublicRow, present: datetime) -> ShownRow:
    """A row as the templates want it."""
    today = day_of(to_ms(present))
    notes = [until_words(row.until, present)]
    if row.since is not None:
        notes.append(gettext("since %(at)s", at=clock_words(to_ms(row.since), today)))
    notes += [row.village, words.reason_words(row.reason)]
    heard = ""
    if row.heard is not None:
        heard = gettext("last heard at %(at)s", at=clock_words(to_ms(row.heard), today))
    return ShownRow(
        row.name,
        row.title,
        row.phone,
        row.status,
        row.duties,
        [note for note in notes if note],
        heard,
        url_for("board.portrait", token=row.portrait) if row.portrait else None,
        url_for("person.page", token=row.page) if row.page else None,
    )


def drawn(
    township: Township, session: Session, present: datetime, piece: str, query: str = ""
) -> dict[str, object]:
    """What both a page and its live part show; `piece` is the macro that draws a person."""
    board = public_board(session, township, present)
    everybody = board.rows
    rows = ranked(everybody, query) if query else everybody
    at = {id(row): n for n, row in enumerate(everybody)} if query else {}
    today = day_of(to_ms(present))
    people = pieces().drawn(
        piece, (township.id, lang()), today, rows, lambda row: shown(row, present),
        whole=not query,
    )  # fmt: skip
    pairs = groupby(zip(rows, people, strict=True), key=lambda pair: pair[0].work_group)
    counted = Counter(row.status for row in rows)
    return {
        "query": query,
        # Whom of the whole board's people a search found: `board.js` looks for them in the news.
        "found": [at[id(row)] for row in rows] if query else None,
        "groups": [(group, [drawing for _, drawing in held]) for group, held in pairs],
        "counts": [(str(status), counted[status]) for status in LEGEND],
        "silent": _silent(board, present),
        "clock": clock_words(to_ms(present), today),
        "today": today,
    }


def _silent(board: PublicBoard, present: datetime) -> list[tuple[str, str]]:
    """What is cut off, and when it was last heard, "" for never.

    Sites are named only where the township shows villages: beside somebody's own "last heard" a
    name would tell where they are expected.
    """
    today = day_of(to_ms(present))
    sites = board.silent
    if "village" in board.fields:
        return [
            (site.name, "" if site.heard is None else clock_words(to_ms(site.heard), today))
            for site in sites
        ]
    heard = [site.heard for site in sites if site.heard is not None]
    if not sites:
        return []
    times = ""
    if heard:
        # The oldest alone would belie what stands beside people of the others.
        oldest, newest = min(heard), max(heard)
        first, last = (clock_words(to_ms(moment), today) for moment in (oldest, newest))
        if first == last:
            times = first
        elif day_of(to_ms(oldest)) != today == day_of(to_ms(newest)):
            times = gettext("%(first)s to today %(last)s", first=first, last=last)
        else:
            times = gettext("%(first)s to %(last)s", first=first, last=last)
    return [(gettext("%(n)s sites", n=len(sites)), times)]
