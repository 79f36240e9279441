"""What the drivers ``shift`` and ``apa102`` share: lamps along one SPI line, written as a whole.

A picture of the whole chain goes out only when it differs from the last one, once for any number
of changed lamps, and again every `REWRITE_S`, so that chips which lost their power for a moment
show the truth again.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hardware.errors import LampError, WiringError
from hardware.lamps import BLINK_S, Asked, Colour, Latched, ScreenBoard
from hardware.rgb import default_factory
from hardware.wiring import Chain, Wiring

REWRITE_S = 60.0
"""Seconds after which an unchanged chain is written again."""

USUAL_LAMPS = 72
"""Lamps that a chain of unstated length is assumed to reach: what lies beyond the known ones is
written dark, so that chips left over from a longer board show nothing stale."""


class ChainBoard(ScreenBoard):
    """Lamps on a chain of chips; ids that have no place on it are kept for the screen only."""

    def __init__(
        self, lamps: Sequence[str], wiring: Wiring | None = None, pin_factory: Any = None
    ) -> None:
        """Arguments as for `hardware.drivers.open_lamps`."""
        super().__init__()
        if wiring is not None and wiring.driver != self.driver:
            raise WiringError(
                f"接线文件是给 {wiring.driver} 的，不是 {self.driver}。",
                f"The wiring file is for {wiring.driver}, not for {self.driver}.",
            )
        self._wiring = wiring or Wiring(self.driver)
        self._factory = pin_factory if pin_factory is not None else default_factory()
        self._devices = contextlib.ExitStack()
        self._spi: Any = None
        self._places: dict[str, int] = {}
        self._seen: dict[str, Colour | None] = {}
        self._written: Mapping[int, Colour] | None = None
        self._rewrite_at = math.inf
        self._now_s = 0.0
        self._dark = False
        self._closed = False
        try:
            for lamp in self._wired():
                self._shown.setdefault(lamp, Latched(Colour.OFF))
            self._places = dict(self._wired())
            self.set_lamps(lamps)
        except BaseException:
            self.close()
            raise

    @property
    def chain(self) -> Chain:
        """The line that the chips hang on."""
        return self._wiring.chain

    # -- what a kind of chip must say -------------------------------------------------------

    @abstractmethod
    def _wired(self) -> Mapping[str, int]:
        """Lamp ids of the wiring file with a number each that stands for their place."""

    @abstractmethod
    def _reach(self) -> int:
        """Places that the chain has where its length is known."""

    @abstractmethod
    def _open(self) -> None:
        """Take the pins, everything dark; what is opened goes into `_devices`."""

    @abstractmethod
    def _send(self, lit: Mapping[int, Colour]) -> Mapping[int, Colour | None]:
        """Write the whole chain; the colour that each place was read back to show."""

    # -- the board --------------------------------------------------------------------------

    def set_lamps(self, lamps: Sequence[str]) -> None:
        """As `LampBoard.set_lamps`; without wired lamps new ones get the places that are free.

        A lamp that has gone goes dark. Raises LampError.
        """
        with self._lock:
            super().set_lamps(lamps)
            if not self._wired():
                kept = {lamp: at for lamp, at in self._places.items() if lamp in self._shown}
                free = iter(sorted(set(range(len(self._shown))) - set(kept.values())))
                reach = self._reach() if self.chain.length else math.inf
                for lamp in self._shown:
                    if lamp not in kept:
                        place = next(free)
                        if place < reach:
                            kept[lamp] = place
                self._places = kept
            self._seen = {lamp: seen for lamp, seen in self._seen.items() if lamp in self._places}
            self._write()

    @property
    def wired(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._places)

    def has(self, lamp: str) -> bool:
        with self._lock:
            return lamp in self._places

    def show(self, lamp: str, colour: Colour | str, blinking: bool = False) -> Latched:
        shown = self.show_all({lamp: (colour, blinking)})[lamp]
        if isinstance(shown, LampError):
            raise shown
        return shown

    def show_all(self, wanted: Mapping[str, Asked]) -> dict[str, Latched | LampError]:
        """As `LampBoard.show_all`, in one go."""
        with self._lock:
            found: dict[str, Latched | LampError] = {}
            for lamp, (colour, blinking) in wanted.items():
                found[lamp] = super().show(lamp, colour, blinking)
            ours = [lamp for lamp in wanted if lamp in self._places]
            if not ours:
                return found
            try:
                # Lit at once, whatever half the others are in: the change is to be seen.
                self._write(frozenset(ours))
            except LampError as error:
                return {**found, **dict.fromkeys(ours, error)}
            return {**found, **{lamp: self.latched(lamp) for lamp in ours}}

    def latched(self, lamp: str) -> Latched:
        with self._lock:
            shown = super().latched(lamp)
            if lamp not in self._places:
                return shown
            if self._spi is None and not self._closed:
                self._write()
            return Latched(self._seen.get(lamp, Colour.OFF), shown.blinking)

    def tick(self, now_s: float) -> None:
        """As `LampBoard.tick`: dark in every second stretch of `BLINK_S`. Raises LampError."""
        with self._lock:
            dark = int(now_s / BLINK_S) % 2 == 1
            due = now_s >= self._rewrite_at
            if self._closed or (dark == self._dark and not due and self._rewrite_at < math.inf):
                return
            self._dark = dark
            self._now_s = now_s
            if due or self._rewrite_at == math.inf:
                self._rewrite_at = now_s + REWRITE_S
            self._write(again=due)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._spi is not None:
                with contextlib.suppress(LampError):
                    self._tried(lambda: self._send({}))
            self._let_go()
            super().close()

    # -- writing ----------------------------------------------------------------------------

    def _write(self, lit_now: frozenset[str] = frozenset(), *, again: bool = False) -> None:
        """Make the chips show what is wanted. Raises LampError; the next call opens them anew."""
        wanted: dict[int, Colour] = {}
        for lamp, place in self._places.items():
            shown = self._shown.get(lamp)
            if shown is None or shown.colour is None or shown.colour is Colour.OFF:
                continue
            if shown.blinking and self._dark and lamp not in lit_now:
                continue
            wanted[place] = shown.colour
        if wanted == self._written and not again and not lit_now:
            return
        if self._spi is None:
            self._tried(self._open)
        seen = self._tried(lambda: self._send(wanted))
        self._written = wanted
        for lamp, place in self._places.items():
            shown = self._shown.get(lamp)
            hidden = shown is not None and shown.blinking and place not in wanted
            # In its dark half a blinking lamp counts as what its lit half was read back to show.
            if not (hidden and seen.get(place, Colour.OFF) is Colour.OFF and lamp in self._seen):
                self._seen[lamp] = seen.get(place, Colour.OFF)

    def _tried(self, action: Any) -> Any:
        """The action's result; whatever a pin driver raises becomes LampError."""
        try:
            with warnings.catch_warnings():
                # Without spidev gpiozero shifts the bits out itself: slower, and just as good.
                warnings.simplefilter("ignore")
                return action()
        except LampError as error:
            failure = LampError(error.words("zh"), error.words("en"))
        except Exception as error:  # noqa: BLE001 (a driver may raise anything; told below)
            failure = LampError(
                f"灯板的 {self.driver} 驱动出错（{error}），请检查接线和电源，并确认已打开 SPI、"
                "没有其他程序占用引脚。",
                f"The lamp driver {self.driver} failed ({error}): check wires and power, that SPI "
                "is switched on and that no other program uses its pins.",
            )
        self._let_go()
        # Out here, without the cause: its frames would keep half-made devices and their pins.
        raise failure

    def _let_go(self) -> None:
        self._written, self._spi = None, None
        self._seen.clear()
        with contextlib.suppress(Exception):
            self._devices.close()
        self._devices = contextlib.ExitStack()

    def _take_spi(self) -> Any:
        """The SPI line, in clock mode 0, highest bit first."""
        from gpiozero import Device

        line, before = self.chain, Device.pin_factory
        # gpiozero's SPI by software asks for the process's factory whatever it is given.
        Device.pin_factory = self._factory
        try:
            self._spi = self._factory.spi(
                clock_pin=line.clock,
                mosi_pin=line.data,
                miso_pin=line.readback,
                select_pin=line.select,
            )
        finally:
            Device.pin_factory = before
        self._devices.callback(self._spi.close)
        return self._spi


def bits_of(data: Sequence[int]) -> list[int]:
    """The bits of bytes, highest first."""
    return [byte >> bit & 1 for byte in data for bit in range(7, -1, -1)]
