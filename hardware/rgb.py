"""Driver ``rgb``: three GPIO pins a lamp through gpiozero's RGBLED, read back from the pins."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hardware.errors import LampError, NoGpio, WiringError
from hardware.lamps import BLINK_S, Colour, Latched, ScreenBoard, colour_of
from hardware.wiring import FREE_PINS, Pins, Wiring

T = TypeVar("T")


class RgbBoard(ScreenBoard):
    """RGB lamps on pins; ids for which no pins are left are kept for the screen only.

    Blinking lamps are all in step. Arguments as for `hardware.drivers.open_lamps`.
    """

    driver = "rgb"

    def __init__(
        self,
        lamps: Sequence[str],
        wiring: Wiring | None = None,
        pin_factory: Any = None,
    ) -> None:
        super().__init__()
        if wiring is not None and wiring.driver != self.driver:
            raise WiringError(
                f"接线文件是给 {wiring.driver} 的，不是 {self.driver}。",
                f"The wiring file is for {wiring.driver}, not for {self.driver}.",
            )
        self._wiring = wiring
        self._factory = pin_factory if pin_factory is not None else default_factory()
        self._leds: dict[str, Any] = {}
        self._pins: dict[str, Pins] = {}
        # The colour that a blinking lamp was last seen to show in its lit half.
        self._lit: dict[str, Colour | None] = {}
        self._dark = False
        self._closed = False
        try:
            for lamp, pins in (wiring.lamps if wiring else {}).items():
                self._attach(lamp, pins)
            self.set_lamps(lamps)
        except BaseException:
            self.close()
            raise

    @property
    def pins(self) -> dict[str, Pins]:
        """The pins of every lamp that has some."""
        with self._lock:
            return dict(self._pins)

    def set_lamps(self, lamps: Sequence[str]) -> None:
        """As `LampBoard.set_lamps`; without a wiring file new lamps get the pins that are free.

        A lamp that has gone is switched off; its pins go to the next new one. Raises LampError.
        """
        with self._lock:
            for lamp in set(self._shown) - set(lamps):
                if lamp in self._leds:
                    self.show(lamp, Colour.OFF)
                    if self._wiring is None:
                        self._detach(lamp)
            super().set_lamps(lamps)
            if self._wiring is not None:
                return
            for lamp in self._shown:
                if lamp in self._leds:
                    continue
                used = {n for p in self._pins.values() for n in (p.red, p.green, p.blue)}
                free = [number for number in FREE_PINS if number not in used]
                if len(free) < 3:
                    break
                self._attach(lamp, Pins(*free[:3]))
                shown = self._shown[lamp]
                if shown.colour is not None:
                    self.show(lamp, shown.colour, shown.blinking)

    @property
    def wired(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._leds)

    def has(self, lamp: str) -> bool:
        with self._lock:
            return lamp in self._leds

    def show(self, lamp: str, colour: Colour | str, blinking: bool = False) -> Latched:
        with self._lock:
            shown = super().show(lamp, colour, blinking)
            if lamp not in self._leds or shown.colour is None:
                return shown
            # Lit at once, whatever half the others are in: the change is to be seen.
            self._write(lamp, shown.colour)
            self._lit[lamp] = self._read(lamp)
            return Latched(self._lit[lamp], shown.blinking)

    def latched(self, lamp: str) -> Latched:
        with self._lock:
            shown = super().latched(lamp)
            if lamp not in self._leds:
                return shown
            seen = self._read(lamp)
            if shown.blinking and seen is Colour.OFF:
                seen = self._lit.get(lamp)
            return Latched(seen, shown.blinking)

    def tick(self, now_s: float) -> None:
        """As `LampBoard.tick`: dark in every second stretch of `BLINK_S`. Raises LampError."""
        with self._lock:
            dark = int(now_s / BLINK_S) % 2 == 1
            if self._closed or dark == self._dark:
                return
            self._dark = dark
            failed: LampError | None = None
            for lamp in self._leds:
                shown = self._shown.get(lamp)
                if shown is None or not shown.blinking or shown.colour is None:
                    continue
                try:
                    self._write(lamp, Colour.OFF if dark else shown.colour)
                    if not dark:
                        self._lit[lamp] = self._read(lamp)
                except LampError as error:
                    failed = error
            if failed is not None:
                raise failed

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for lamp in list(self._leds):
                try:
                    self._write(lamp, Colour.OFF)
                except LampError:
                    pass
                finally:
                    self._detach(lamp)
            super().close()

    def _attach(self, lamp: str, pins: Pins) -> None:
        from gpiozero import RGBLED

        self._shown.setdefault(lamp, Latched(Colour.OFF))
        active_high = self._wiring.active_high if self._wiring else True
        self._leds[lamp] = _tried(
            lamp,
            lambda: RGBLED(
                pins.red,
                pins.green,
                pins.blue,
                active_high=active_high,
                pwm=False,
                pin_factory=self._factory,
            ),
        )
        self._pins[lamp] = pins

    def _detach(self, lamp: str) -> None:
        led = self._leds.pop(lamp)
        self._pins.pop(lamp, None)
        self._lit.pop(lamp, None)
        try:
            led.close()
        except Exception as error:  # noqa: BLE001 (closing goes on whatever the driver says)
            warnings.warn(f"lamp {lamp}: {error}", RuntimeWarning, stacklevel=2)

    def _write(self, lamp: str, colour: Colour) -> None:
        led = self._leds[lamp]

        def write() -> None:
            led.value = colour.rgb

        _tried(lamp, write)

    def _read(self, lamp: str) -> Colour | None:
        led = self._leds[lamp]
        return _tried(lamp, lambda: colour_of(tuple(int(bool(bit)) for bit in led.value)))


def default_factory() -> Any:
    """The pin factory that gpiozero chooses for this machine, or ``GPIOZERO_PIN_FACTORY`` names.

    Raises NoGpio where there is none.
    """
    import gpiozero

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gpiozero.Device.ensure_pin_factory()
    except Exception as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise NoGpio(
            f"本机没有可用的 GPIO 引脚（{why}）：树莓派上请运行 quxiang-kiosk doctor 查原因；"
            "其他机器请用 --lamps screen，或设 GPIOZERO_PIN_FACTORY=mock 使用模拟引脚。",
            f"This machine has no usable GPIO pins ({why}): on a Raspberry Pi run quxiang-kiosk "
            "doctor to see why; elsewhere use --lamps screen, or set GPIOZERO_PIN_FACTORY=mock "
            "for mock pins.",
        ) from error
    return gpiozero.Device.pin_factory


def _tried(lamp: str, action: Callable[[], T]) -> T:
    """The action's result; whatever a pin driver raises becomes LampError."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001 (a driver may raise anything; told below)
        failure = LampError(
            f"灯 {lamp} 的驱动出错（{error}），请检查接线，并确认没有其他程序占用引脚。",
            f"The driver of lamp {lamp} failed ({error}): check its wires and that no other "
            "program uses its pins.",
        )
    # Out here, without the cause: its frames would keep half-made devices and their pins.
    raise failure
