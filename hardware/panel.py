"""What surrounds the screen: buttons, motion sensor, door buzzer, tones and the fill light's pin.

Each is optional and may fail: it then carries its `fault`, does nothing, and is opened again after
`RETRY_S`. None of them ever raises. Nothing runs by itself: `turn` is called at any rate with a
reading of the monotonic clock, which is what times pulses and tones.
"""

from __future__ import annotations

import contextlib
import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from hardware.errors import PanelError
from hardware.rgb import default_factory
from hardware.wiring import Door, Switch

RETRY_S = 5.0
"""Seconds between two tries of a pin that failed."""
BOUNCE_S = 0.05
"""A contact that moves again so soon still bounces; nobody presses 20 times a second."""


class Part(ABC):
    """One optional thing on pins, opened when it is first needed.

    name: how faults call it, in Chinese and English. fault: why it does nothing now, None while it
    works.
    """

    def __init__(self, name: tuple[str, str], pin_factory: Any = None) -> None:
        self.name = name
        self.fault: PanelError | None = None
        self._given = pin_factory
        self._devices: list[Any] = []
        self._retry_at: float | None = None
        self._closed = False

    @abstractmethod
    def _open(self, factory: Any) -> list[Any]:
        """Make the devices. May raise anything."""

    def _try(self, action: Callable[[], None], now_s: float) -> bool:
        """Do something with the devices, opening them first; whether it worked."""
        if self._closed or (self._retry_at is not None and now_s < self._retry_at):
            return False
        try:
            if not self._devices:
                self._devices = self._open(self._given or default_factory())
            action()
        except Exception as error:  # noqa: BLE001 (a driver may raise anything; told by `fault`)
            self.fault = PanelError(
                f"{self.name[0]}出错（{error}），请检查接线，并确认没有其他程序占用引脚。",
                f"The {self.name[1]} failed ({error}): check its wires and that no other program "
                "uses its pin.",
            )
            self._retry_at = now_s + RETRY_S
        else:
            self.fault, self._retry_at = None, None
            return True
        self._let_go()
        return False

    def turn(self, now_s: float) -> None:
        """Open what is not open yet, and carry on what takes time."""
        if not self._devices:
            self._try(lambda: None, now_s)

    def _let_go(self) -> None:
        for device in self._devices:
            with contextlib.suppress(Exception):
                device.close()
        self._devices = []

    def close(self) -> None:
        """Let the pins go; may be called again."""
        self._closed = True
        self._let_go()


class Contacts(Part):
    """Buttons or sensors that each close a contact; what they did is fetched by `take`.

    pins: by the name under which a contact is told. pull_up: True for contacts to ground, False
    for sensors that drive their pin high.
    """

    def __init__(
        self,
        name: tuple[str, str],
        pins: Mapping[str, Switch],
        now_s: Callable[[], float],
        pin_factory: Any = None,
    ) -> None:
        super().__init__(name, pin_factory)
        self._pins = pins
        self._now_s = now_s
        self._moved: dict[str, float] = {}
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def _open(self, factory: Any) -> list[Any]:
        from gpiozero import DigitalInputDevice

        made: list[Any] = []
        try:
            for key, switch in self._pins.items():
                device = DigitalInputDevice(
                    switch.pin, pull_up=not switch.active_high, pin_factory=factory
                )
                made.append(device)
                device.when_activated = lambda key=key: self._edge(key, True)
                device.when_deactivated = lambda key=key: self._edge(key, False)
        except BaseException:
            for device in made:
                device.close()
            raise
        return made

    def _edge(self, key: str, closed: bool) -> None:
        """Called by gpiozero in a thread of its own, for every edge."""
        now = self._now_s()
        quiet = now - self._moved.get(key, -BOUNCE_S) >= BOUNCE_S
        self._moved[key] = now
        if closed and quiet:
            self._told.put(key)

    def take(self) -> list[str]:
        """Which contacts closed since this was last asked, in order."""
        told = []
        while not self._told.empty():
            told.append(self._told.get())
        return told

    @property
    def active(self) -> bool:
        """Whether any contact is closed now."""
        with contextlib.suppress(Exception):
            return any(device.is_active for device in self._devices)
        return False


class Pulse(Part):
    """A door buzzer or lock relay: on for a while, then off."""

    def __init__(self, name: tuple[str, str], door: Door, pin_factory: Any = None) -> None:
        super().__init__(name, pin_factory)
        self._door = door
        self._until: float | None = None

    def _open(self, factory: Any) -> list[Any]:
        from gpiozero import OutputDevice

        door = self._door
        return [
            OutputDevice(
                door.pin, active_high=door.active_high, initial_value=False, pin_factory=factory
            )
        ]

    def fire(self, now_s: float) -> None:
        """Switch it on for `Door.seconds` from now."""
        if self._try(lambda: self._devices[0].on(), now_s):
            self._until = now_s + self._door.seconds

    def turn(self, now_s: float) -> None:
        super().turn(now_s)
        if self._until is not None and now_s >= self._until:
            self._until = None
            self._try(lambda: self._devices[0].off(), now_s)


Note = tuple[float | None, float]
"""Hertz, None for silence, and seconds."""

TONES: Mapping[str, tuple[Note, ...]] = {
    "recorded": ((1318.5, 0.12), (1975.5, 0.2)),
    "again": ((1975.5, 0.1),),
    "refused": ((1046.5, 0.15), (None, 0.1), (1046.5, 0.15)),
    "fault": ((784.0, 0.4), (None, 0.2), (784.0, 0.4), (None, 0.2), (784.0, 0.4)),
}
"""What is played for each outcome: apart in pitch, number and rhythm, so that it is told by any one
of them. 784 to 1976 Hz are where small piezos are loud and ageing ears still hear."""


class Tones(Part):
    """A passive buzzer (piezo) that plays `TONES`; a new tune ends the one before."""

    def __init__(self, name: tuple[str, str], pin: int, pin_factory: Any = None) -> None:
        super().__init__(name, pin_factory)
        self._pin = pin
        self._tune: tuple[Note, ...] = ()
        self._began = 0.0
        self._sounding: float | None = None

    def _open(self, factory: Any) -> list[Any]:
        from gpiozero import TonalBuzzer
        from gpiozero.tones import Tone

        # Two octaves on either side of A5: 220 to 3520 Hz.
        return [TonalBuzzer(self._pin, mid_tone=Tone("A5"), octaves=2, pin_factory=factory)]

    def play(self, tune: str, now_s: float) -> None:
        """Begin a tune of `TONES`."""
        self._tune, self._began = TONES[tune], now_s
        self.turn(now_s)

    def turn(self, now_s: float) -> None:
        super().turn(now_s)
        wanted, left = None, now_s - self._began
        for hertz, seconds in self._tune:
            if left < seconds:
                wanted = hertz
                break
            left -= seconds
        else:
            self._tune = ()
        if wanted != self._sounding and self._try(lambda: self._sound(wanted), now_s):
            self._sounding = wanted

    def _sound(self, hertz: float | None) -> None:
        from gpiozero.tones import Tone

        if hertz is None:
            self._devices[0].stop()
        else:
            self._devices[0].play(Tone(frequency=hertz))

    def _let_go(self) -> None:
        super()._let_go()
        self._sounding = None


class Dimmer(Part):
    """A lamp on a PWM pin."""

    def __init__(self, name: tuple[str, str], switch: Switch, pin_factory: Any = None) -> None:
        super().__init__(name, pin_factory)
        self._switch = switch
        self._level = 0.0

    def _open(self, factory: Any) -> list[Any]:
        from gpiozero import PWMLED

        return [
            PWMLED(
                self._switch.pin,
                active_high=self._switch.active_high,
                initial_value=self._level,
                frequency=500,
                pin_factory=factory,
            )
        ]

    @property
    def level(self) -> float:
        """What it was set to, 0 (dark) to 1."""
        return self._level

    def set(self, level: float, now_s: float) -> None:
        """Set it, 0 to 1."""
        if level != self._level or self.fault is not None:
            self._level = level
            self._try(self._apply, now_s)

    def _apply(self) -> None:
        self._devices[0].value = self._level
