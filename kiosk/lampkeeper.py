"""Keeps the lamp board at what the site's board says; a broken lamp never stops a check-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hardware.errors import LampError
from hardware.lamps import LampBoard
from kiosk.board import BoardRow
from kiosk.events import EventLog

RETRY_S = 5.0
"""Seconds between two tries of a lamp that failed: a loose wire is found again soon, and a dead
driver does not cost every frame."""

UNKNOWN = "unknown"


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
        self._wanted: dict[str, tuple[str, bool]] = {}
        self._shown: dict[str, Shown] = {}
        self._retry_at: float | None = None
        self._told: str | None = None

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

    def apply(self, rows: Sequence[BoardRow]) -> bool:
        """Make the lamps show `rows`; returns whether anything was changed or tried anew."""
        wanted = {row.official: (row.colour, row.blinking) for row in rows}
        due = self._retry_at is not None and self._now_s() >= self._retry_at
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
        for lamp, (colour, blinking) in wanted.items():
            before = self._shown.get(lamp)
            same = before is not None and (before.colour, before.blinking) == (colour, blinking)
            if same and before is not None and (before.ok or not due):
                continue
            failure = self._set(lamp, colour, blinking) or failure
        self._remember(failure)
        return True

    def _set(self, lamp: str, colour: str, blinking: bool) -> LampError | None:
        before = self._shown.get(lamp)
        failure: LampError | None = None
        latched = UNKNOWN
        try:
            if before is None and (colour, blinking) == ("off", False):
                # The board opened dark: to find it so is no change, and no news.
                seen = self._board.latched(lamp)
                if seen.colour == "off" and not seen.blinking:
                    self._shown[lamp] = Shown(colour, blinking, "off")
                    return None
            seen = self._board.show(lamp, colour, blinking)
            latched = UNKNOWN if seen.colour is None else str(seen.colour)
            if latched != colour:
                failure = LampError(
                    f"灯 {lamp} 应为 {colour}，读回 {latched}，请检查接线。",
                    f"The lamp {lamp} should be {colour} and reads back {latched}: check its "
                    "wires.",
                )
        except LampError as error:
            failure = error
        self._shown[lamp] = Shown(colour, blinking, latched)
        # A lamp that still fails in the same way is not news.
        if before != self._shown[lamp]:
            self._events.lamp(lamp, self._board.driver_of(lamp), colour, latched, blinking)
        return failure

    def _remember(self, failure: LampError | None) -> None:
        if failure is None and not self.failed:
            self._retry_at, self._told = None, None
            return
        self._retry_at = self._now_s() + RETRY_S
        what = str(failure) if failure else None
        if what is not None and self._told is None:
            self._events.fault("lamps", what)
            self._told = what

    def close(self) -> None:
        """Let the board go; its lamps go dark with it."""
        self._board.close()
