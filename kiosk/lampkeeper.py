"""Keeps the lamp board at what the site's board says; a broken lamp never stops a check-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hardware.errors import LampError
from hardware.lamps import LampBoard, Latched
from kiosk.board import BoardRow
from kiosk.events import EventLog

RETRY_S = 5.0
"""Seconds between two tries of a lamp that failed: a loose wire is found again soon, and a dead
driver does not cost every frame."""

UNKNOWN = "unknown"
_COLOURS = {"green": "绿", "blue": "蓝", "yellow": "黄", "red": "红", "off": "灭"}


def colour_words(colour: str | None) -> tuple[str, str]:
    """A lamp's colour as people read it; one that could not be read back is unknown."""
    if colour is None or colour == UNKNOWN:
        return "未知", UNKNOWN
    return _COLOURS.get(colour, colour), colour


@dataclass(frozen=True)
class Shown:
    """What was asked of a lamp, and what its driver read back (`unknown` where it failed)."""

    colour: str
    blinking: bool
    latched: str

    @property
    def ok(self) -> bool:
        """The lamp shows what it was asked to."""
        return self.latched == self.colour


class LampKeeper:
    """Sets the lamps that changed, reads them back, and tells each change once.

    Not thread-safe: belongs to the kiosk's loop. `shown` is what each official's lamp shows.
    """

    def __init__(
        self,
        board: LampBoard,
        events: EventLog,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._events = events
        self._now_s = now_s
        self._lamps: tuple[str, ...] | None = None
        self._names: dict[str, str] = {}
        self._wanted: dict[str, tuple[str, bool]] = {}
        self._shown: dict[str, Shown] = {}
        self._retry_at: float | None = None
        self._told: str | None = None
        self.failure: LampError | None = None

    @property
    def driver(self) -> str:
        """The driver's name as `--lamps` takes it."""
        return self._board.driver

    @property
    def shown(self) -> Mapping[str, Shown]:
        """What each lamp shows."""
        return self._shown

    @property
    def failed(self) -> bool:
        """Whether some lamp does not show what it should."""
        return any(not each.ok for each in tuple(self._shown.values()))

    @property
    def due(self) -> bool:
        """Whether a lamp that failed is to be tried again."""
        return self._retry_at is not None and self._now_s() >= self._retry_at

    def self_test(self, pause: Callable[[], None]) -> None:
        """Show every colour once on all wired lamps, and tell which did not follow.

        pause: called while a colour is lit.
        """
        try:
            bad = self._board.self_test(pause)
        except LampError as error:
            bad = {"": error}
        if bad:
            why = next((str(error) for error in bad.values() if error), "wrong colours read back")
            named = ", ".join(sorted(filter(None, bad))) or "-"
            self._events.fault("lamps", f"self-test: {named}: {why}")

    def tick(self) -> None:
        """Carry blinking on; cheap."""
        try:
            self._board.tick(self._now_s())
        except LampError as error:
            if self._retry_at is not None:
                return  # known, and tried again when it is due
            seen: Latched | LampError
            for lamp, before in tuple(self._shown.items()):
                try:
                    seen = self._board.latched(lamp)
                except LampError as worse:
                    seen = worse
                self._seen(lamp, before.colour, before.blinking, seen)
            self._remember(error)

    def apply(self, rows: Sequence[BoardRow]) -> bool:
        """Make the lamps show `rows`; returns whether anything was changed or tried anew."""
        wanted = {row.official: (row.colour, row.blinking) for row in rows}
        self._names = {row.official: row.name for row in rows}
        due = self.due
        if wanted == self._wanted and not due and self._lamps is not None:
            return False
        self._wanted = wanted
        failure: LampError | None = None
        ids = tuple(wanted)
        if ids != self._lamps:
            try:
                self._board.set_lamps(ids)
                self._lamps = ids
            except LampError as error:
                failure = error
            self._shown = {lamp: self._shown[lamp] for lamp in ids if lamp in self._shown}
        changed = {}
        for lamp, asked in wanted.items():
            before = self._shown.get(lamp)
            same = before is not None and (before.colour, before.blinking) == asked
            if same and before is not None and (before.ok or not due):
                continue
            if before is None and asked == ("off", False) and self._found_dark(lamp):
                continue
            changed[lamp] = asked
        for lamp, seen in self._board.show_all(changed).items() if changed else ():
            failure = self._seen(lamp, *changed[lamp], seen) or failure
        self._remember(failure)
        return True

    def _found_dark(self, lamp: str) -> bool:
        """The board opened dark: to find it so is no change, and no news."""
        try:
            seen = self._board.latched(lamp)
        except LampError:
            return False
        if seen.colour != "off" or seen.blinking:
            return False
        self._shown[lamp] = Shown("off", False, "off")
        return True

    def _seen(
        self, lamp: str, colour: str, blinking: bool, seen: Latched | LampError
    ) -> LampError | None:
        failure: LampError | None = None
        if isinstance(seen, LampError):
            failure, latched = seen, UNKNOWN
        else:
            latched = UNKNOWN if seen.colour is None else str(seen.colour)
            if latched != colour:
                asked, got = colour_words(colour), colour_words(latched)
                failure = LampError(
                    f"{self._names.get(lamp, '')}的灯（{lamp}）应为{asked[0]}，读回{got[0]}，"
                    "请检查接线。",
                    f"The lamp of {self._names.get(lamp, '')} ({lamp}) should be {asked[1]} and "
                    f"reads back {got[1]}: check its wires.",
                )
        self._note(lamp, Shown(colour, blinking, latched))
        return failure

    def _note(self, lamp: str, now: Shown) -> None:
        before = self._shown.get(lamp)
        self._shown[lamp] = now
        # A lamp that still fails in the same way is not news.
        if before != now:
            self._events.lamp(
                lamp, self._board.driver_of(lamp), now.colour, now.latched, now.blinking
            )

    def _remember(self, failure: LampError | None) -> None:
        if failure is None and not self.failed:
            self._retry_at, self._told, self.failure = None, None, None
            return
        self._retry_at = self._now_s() + RETRY_S
        if failure is not None:
            self.failure = failure
            if self._told is None:
                self._events.fault("lamps", str(failure))
                self._told = str(failure)

    def close(self) -> None:
        """Let the board go; its lamps go dark with it."""
        self._board.close()
