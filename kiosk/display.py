"""What the site sees: the board computed from facts, put on the lamps and on the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from attendance.chain import head_code
from attendance.clock import Anchor, from_anchor, wall_is_off
from attendance.days import day_of, day_start_ms
from attendance.whereabouts import FUTURE_TOLERANCE_MS
from attendance.wire import Snapshot, WhereaboutsRow
from hardware.errors import LampError
from kiosk.board import BoardRow, board_rows
from kiosk.clock import Clock
from kiosk.exchange import SyncReport, last_contact, last_snapshot
from kiosk.initials import initials
from kiosk.lampkeeper import LampKeeper
from kiosk.people import People
from kiosk.portraits import Portraits
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Store

CLOCK_PUSH_S = 15.0
"""How often the page is told the time; between, it counts for itself."""


class Display:
    """Belongs to whoever holds the kiosk's lock. `rows` is the board as last shown.

    on_show: called with the board after the lamps were set.
    """

    def __init__(
        self,
        store: Store,
        keeper: LampKeeper,
        feed: ScreenFeed,
        clock: Clock,
        *,
        mono: Callable[[], float] = time.monotonic,
        on_show: Callable[[list[BoardRow]], None] | None = None,
        portraits: Portraits | None = None,
    ) -> None:
        self._portraits = portraits
        self._on_show = on_show
        self._store = store
        self._keeper = keeper
        self._feed = feed
        self._clock = clock
        self._mono = mono
        self.rows: list[BoardRow] = []
        self.snapshot: Snapshot | None = last_snapshot(store)
        self._heard_wall = last_contact(store)
        self._heard_mono: float | None = None
        self._down_since: int | None = None
        self._anchor: Anchor | None = None
        self._pushed = -CLOCK_PUSH_S
        self.load_anchor()

    @property
    def lamp_failure(self) -> LampError | None:
        """Why some lamp does not show what it should, None where all do."""
        return self._keeper.failure if self._keeper.failed else None

    @property
    def lamps_due(self) -> bool:
        """Whether a lamp that failed is to be tried again."""
        return self._keeper.due

    def tick_lamps(self) -> None:
        """Carry the blinking on; cheap."""
        self._keeper.tick()

    def load_anchor(self) -> None:
        """Take the newest time proof of this boot. Raises StoreUnusable."""
        self._anchor = self._store.newest_anchor(self._clock.read().boot_id)

    @property
    def sure(self) -> bool:
        """Whether the time shown rests on a proof of the server in this boot."""
        return self._anchor is not None

    def now_ms(self) -> int:
        """The true time as well as the kiosk knows it, in Unix milliseconds."""
        now = self._clock.read()
        if self._anchor is None:
            return now.wall_ms
        return from_anchor(self._anchor, now.boottime_ns).at_ms

    def wall_off_ms(self) -> int | None:
        """How far the wall clock is ahead of the proof where that is too far, else 0; None: no
        proof."""
        if self._anchor is None:
            return None
        now = self._clock.read()
        true = from_anchor(self._anchor, now.boottime_ns)
        return now.wall_ms - true.at_ms if wall_is_off(now.wall_ms, true) else 0

    def heard(self, report: SyncReport) -> None:
        """An exchange went well. Raises StoreUnusable."""
        self.snapshot = report.snapshot or self.snapshot
        self._heard_mono = self._mono()
        self._down_since = None
        self.load_anchor()
        self._feed.update(pending=report.pending)

    def unheard(self) -> None:
        """An exchange failed."""
        if self._down_since is None:
            self._down_since = self._heard_ms(self.now_ms()) or self.now_ms()

    def heard_at_ms(self) -> int | None:
        """When the server was last heard, Unix milliseconds; None: never."""
        return self._heard_ms(self.now_ms())

    def _heard_ms(self, now_ms: int) -> int | None:
        """When the server was last heard, on the scale of `now_ms`."""
        if self._heard_mono is not None:
            return now_ms - round((self._mono() - self._heard_mono) * 1000)
        if self._heard_wall is None:
            return None
        return now_ms - (self._clock.read().wall_ms - self._heard_wall)

    def refresh(self, people: People) -> None:
        """Compute the board anew and show it: lamps first, then the page. Raises StoreUnusable."""
        now_ms = self.now_ms()
        facts = self._store.facts(day_start_ms(day_of(now_ms)), now_ms + FUTURE_TOLERANCE_MS)
        heard_ms = self._heard_ms(now_ms)
        self.rows = board_rows(people, self.snapshot, facts, now_ms, heard_ms)
        self._keeper.apply(self.rows)
        if self._on_show is not None:
            self._on_show(self.rows)
        failed = self._keeper.failed
        self._feed.fault("lamps", {"zh": "灯板故障", "en": "lamp fault"} if failed else None)
        public = {row.official: row for row in self.snapshot.rows} if self.snapshot else {}
        self._feed.update(
            rows=[self._row(row, public.get(row.official)) for row in self.rows],
            people=[
                {"official": p.official, "name": p.name, "initials": initials(p.name)}
                for p in people.all
            ],
            pending=self._store.pending(),
            head_code=head_code(self._store.head().head),
            link={
                "ok": None
                if self._heard_mono is None and self._down_since is None
                else self._down_since is None,
                # To the minute, which is all that the page shows.
                "heard_ms": None if heard_ms is None else heard_ms // 60_000 * 60_000,
                "since_ms": self._down_since,
            },
        )
        self.tick(force=True)

    def tick(self, *, force: bool = False) -> None:
        """Tell the page the time, now and then."""
        mono = self._mono()
        if force or mono - self._pushed >= CLOCK_PUSH_S:
            self._pushed = mono
            self._feed.update(clock={"now_ms": self.now_ms(), "sure": self.sure})

    def _row(self, row: BoardRow, public: WhereaboutsRow | None) -> Mapping[str, Any]:
        lamp = self._keeper.shown.get(row.official)
        portrait = public.portrait if public else None
        here = portrait and self._portraits and self._portraits.path(portrait)
        return {
            "official": row.official,
            "name": row.name,
            "title": row.title,
            "phone": public.phone if public else "",
            "portrait": portrait if here else None,
            "status": row.word_key,
            "colour": row.colour,
            "blinking": row.blinking,
            "since_ms": row.since_ms,
            "until_ms": row.until_ms,
            "pending": row.pending,
            "lamp": "ok" if lamp is None or lamp.ok else "unknown",
        }
