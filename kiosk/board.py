"""The site's board: the server's last snapshot with the kiosk's own newer facts over it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attendance.clock import ClockClass
from attendance.days import DAY_MS, day_of, day_start_ms
from attendance.statuses import Status, colour_of
from attendance.whereabouts import STALE_AFTER_MS, Absence, Fact, Whereabouts, overlay, whereabouts
from attendance.wire import Snapshot, WhereaboutsRow
from kiosk.people import People


@dataclass(frozen=True)
class BoardRow:
    """One lamp and one line of the board.

    `colour` is green, blue, yellow, red or off; `word_key` a `Status` value whose word and shape
    `attendance.statuses.LOOKS` has. A stale row keeps the colour last known, blinking. `pending`
    marks a declared trip or leave that nobody has approved yet. Times are Unix milliseconds.
    """

    official: str
    name: str
    title: str
    status: Status
    colour: str
    blinking: bool
    since_ms: int | None
    until_ms: int | None
    word_key: str
    pending: bool


def board_rows(
    people: People,
    snapshot: Snapshot | None,
    own_facts: Iterable[Fact],
    now_ms: int,
    heard_ms: int | None,
) -> list[BoardRow]:
    """Everybody whom this kiosk knows, in the desk's order.

    `own_facts` as of `Store.facts` since the day began; `heard_ms` is what the kiosk's own wall
    clock showed when the server last answered, None for never.
    """
    rows = {row.official: row for row in snapshot.rows} if snapshot else {}
    as_of = snapshot.as_of_ms if snapshot else 0
    # A clock that was stepped back must not make the board look fresh for ever, hence abs().
    heard = heard_ms is not None and abs(now_ms - heard_ms) <= STALE_AFTER_MS
    by_official: dict[str, list[Fact]] = {}
    for fact in own_facts:
        by_official.setdefault(fact.official, []).append(fact)
    board = []
    for person in people.all:
        row = rows.get(person.official)
        server = _of_snapshot(person.official, row, as_of, now_ms)
        own = whereabouts(
            person.official, by_official.get(person.official, ()), _void(row, as_of), now_ms
        )
        shown = overlay(server, own)
        stale = not heard and shown is not own
        pending = shown.pending
        if shown is own and server.status is own.status and not server.pending:
            pending = False  # declared here, and approved meanwhile
        colour = colour_of(shown.status)
        status = Status.STALE if stale else shown.status
        board.append(
            BoardRow(
                official=person.official,
                name=person.name,
                title=person.title,
                status=status,
                colour=colour,
                blinking=stale and colour != "off",
                since_ms=shown.since_ms,
                until_ms=shown.until_ms,
                word_key=str(status),
                pending=pending,
            )
        )
    return board


def _void(row: WhereaboutsRow | None, as_of_ms: int) -> list[Absence]:
    """What was declared on the snapshot's day and somebody took back since."""
    if row is None:
        return []
    start = day_start_ms(day_of(as_of_ms))
    return [Absence(row.official, s, start, start + DAY_MS, approved=None) for s in row.void]


def _of_snapshot(
    official: str, row: WhereaboutsRow | None, as_of_ms: int, now_ms: int
) -> Whereabouts:
    """What the snapshot says now: of an earlier day only absences that still run."""
    nothing = Whereabouts(official, Status.UNKNOWN)
    if row is None:
        return nothing
    said = Whereabouts(
        official,
        row.status,
        since_ms=row.since_ms,
        until_ms=row.until_ms,
        basis=row.basis,
        cls=_class(row.cls),
        pending=row.pending,
    )
    if said.basis == "absence":
        running = said.until_ms is not None and now_ms < said.until_ms
        return said if running else nothing
    return said if day_of(as_of_ms) == day_of(now_ms) else nothing


def _class(word: str | None) -> ClockClass | None:
    return ClockClass(word) if word in set(ClockClass) else None
