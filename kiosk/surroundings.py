"""What surrounds the screen, told what happens: voice, tones, door, buttons, motion, fill light.

Nothing here confirms before the record is durable, since only the events of what was recorded are
heard; nothing here can stop a check-in, since every part only carries its fault.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from attendance.days import local
from attendance.statuses import LOOKS, Status
from hardware.errors import HardwareError
from hardware.light import FillLight
from hardware.panel import Contacts, Dimmer, Part, Pulse, Tones
from hardware.voice import Voice, outputs_of
from hardware.wiring import Switch, Wiring
from kiosk.checkin import AMEND_S, Refused
from kiosk.events import Event
from kiosk.people import Person
from kiosk.screen.app import Answer
from kiosk.screen.feed import ScreenFeed
from kiosk.settings import Settings, is_quiet
from kiosk.troubles import Trouble, Troubles
from recognition.types import Face

P = TypeVar("P", bound=Part)

REFUSED_S = 10.0
"""Between two refusals that are said aloud: who tries again and again is told once."""
FAULT_S = 60.0
"""Between two tones of a fault."""
GRAVE = ("store", "camera", "recognition")
"""Parts whose fault is heard, since it turns people away from what they came to do."""
SAID = ("unknown", "ambiguous", "not_live", "quality")
"""Refusals that are said aloud, each with what to do."""

NAMES: Mapping[str, tuple[str, str]] = {
    "buttons": ("按钮", "buttons"),
    "motion": ("人体感应器", "motion sensor"),
    "door": ("门铃", "door buzzer"),
    "buzzer": ("蜂鸣器", "buzzer"),
    "light": ("补光灯", "fill light"),
    "voice": ("语音", "voice"),
}


class Deciding(Protocol):
    """What a button asks of the kiosk's loop."""

    @property
    def greeted(self) -> tuple[Mapping[str, Any], float] | None:
        """The last greeting, and when it was, on the monotonic clock."""
        ...

    def choose(
        self, record_id: str, status: str, reason: str | None, until_ms: int | None
    ) -> Answer:
        """As `kiosk.screen.app.Actions.choose`."""
        ...


class Surroundings:
    """Belongs to the kiosk's loop; calling it with an event is safe in any thread."""

    def __init__(
        self,
        wiring: Wiring | None,
        settings: Settings,
        *,
        live: bool,
        troubles: Troubles,
        feed: ScreenFeed,
        person_of: Callable[[str], Person | None],
        now_ms: Callable[[], int],
        mono: Callable[[], float] = time.monotonic,
        pin_factory: Any = None,
        voice: Voice | None = None,
        on_level: Callable[[float, float], None] | None = None,
        root: Path = Path("/"),
    ) -> None:
        """wiring: what hangs on the pins, None for nothing. now_ms: the time for quiet hours.
        root: sound cards are looked for below it.

        on_level: told each level of the fill light with the time of the frame that led to it, and
        while a level is wanted the one that stands: whoever wants it may be new.
        """
        self.kiosk: Deciding | None = None
        self._settings = settings
        self._troubles = troubles
        self._feed = feed
        self._person_of = person_of
        self._now_ms = now_ms
        self._mono = mono
        self._on_level = on_level
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._refused_at = self._fault_at = -1e9
        self._moves = 0
        self._closed = False
        wired = wiring or Wiring("screen")
        self.parts: dict[str, Part] = {}
        self._buttons = self._motion = None
        self._door = self._tones = self._dimmer = None
        if wired.buttons and settings.buttons.on:
            pins = {colour: Switch(pin, False) for colour, pin in wired.buttons.items()}
            self._buttons = self._part(
                "buttons", Contacts(NAMES["buttons"], pins, mono, pin_factory)
            )
        if wired.motion and settings.motion.on:
            pins = {"motion": wired.motion}
            self._motion = self._part("motion", Contacts(NAMES["motion"], pins, mono, pin_factory))
        if wired.door:
            self._door = self._part("door", Pulse(NAMES["door"], wired.door, pin_factory))
        if wired.buzzer is not None and settings.buzzer.on:
            self._tones = self._part("buzzer", Tones(NAMES["buzzer"], wired.buzzer, pin_factory))
        if wired.light and settings.light.on:
            self._dimmer = self._part("light", Dimmer(NAMES["light"], wired.light, pin_factory))
        light = settings.light
        self.light = FillLight(light.level, dark=light.dark, bright=light.bright)
        self._voice = voice
        spoken = settings.voice.on if settings.voice.on is not None else live
        if not spoken:
            self._voice = None
        elif voice is None:
            try:
                command = settings.voice.command
                self._voice = Voice(command, outputs=outputs_of(command, root))
            except HardwareError as error:
                self._tell("voice", error)

    def _part(self, key: str, part: P) -> P:
        self.parts[key] = part
        return part

    # -- from the loop ----------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        """An event of the log (`EventLog.listen`)."""
        if event["event"] in ("checkin", "again", "refused", "fault"):
            self._events.put(event)

    def turn(self) -> None:
        """Once each turn of the loop."""
        if self._closed:
            return
        now = self._mono()
        while not self._events.empty():
            self._heard(self._events.get(), now)
        for part in self.parts.values():
            part.turn(now)
        if self._buttons is not None:
            for colour in self._buttons.take():
                self._pressed(colour, now)
        if self._motion is not None and self._motion.take():
            self._moves += 1
            self._feed.update(motion=self._moves)
        if self._voice is not None:
            self._voice.turn(now)
            self._tell("voice", self._voice.fault)
        for key, part in self.parts.items():
            self._tell(key, part.fault)

    def seen(
        self, image: NDArray[np.uint8], face: Face | None, t: float, wanted: float | None = None
    ) -> None:
        """A frame (uint8 BGR, (h, w, 3)) with the face looked at, and its time in seconds.

        wanted: the level that the recognition asks for now, None where it leaves the light alone.
        """
        if self._dimmer is None:
            return
        now, before = self._mono(), self.light.level
        if wanted is None:
            level = self.light.see(brightness(image, face), now)
        else:
            level = self.light.command(wanted, now)
        self._dimmer.set(level, now)
        told = level != before or wanted is not None
        if told and self._on_level is not None and self._dimmer.fault is None:
            self._on_level(level, t)

    # -- what follows from an event ---------------------------------------------------------

    def _heard(self, event: Event, now: float) -> None:
        kind = event["event"]
        if kind == "checkin":
            self._tone("recorded", now)
            if self._door is not None:
                self._door.fire(now)
            self._say(self._greeting(event), now)
        elif kind == "again":
            self._tone("again", now)
            person = self._person_of(event["official"])
            self._say(f"{person.name if person else ''}您好，刚才已经记录。", now)
        elif kind == "refused":
            self._tone("refused", now)
            if event["reason"] in SAID and now - self._refused_at >= REFUSED_S:
                self._refused_at = now
                self._say(Refused(event["reason"]).words("zh"), now)
        elif event["part"] in GRAVE and now - self._fault_at >= FAULT_S:
            self._fault_at = now
            self._tone("fault", now)

    def _greeting(self, event: Event) -> str:
        person = self._person_of(event["official"])
        greeted = self.kiosk.greeted if self.kiosk is not None else None
        doubtful = (
            greeted is not None
            and greeted[0].get("official") == event["official"]
            and not greeted[0].get("verified", True)
        )
        if person is None or doubtful:
            return "您好，已记录，工作人员会核对。"
        status = Status(event["status"])
        if status is Status.LEFT:
            return f"{person.name}再见，已记录离开。"
        return f"{person.name}您好，已记录，{LOOKS[status].zh}。"

    def _say(self, text: str, now: float) -> None:
        if self._voice is not None and not self._quiet(self._settings.voice.quiet):
            self._voice.say(text, now)

    def _tone(self, tune: str, now: float) -> None:
        if self._tones is not None and not self._quiet(self._settings.buzzer.quiet):
            self._tones.play(tune, now)

    def _quiet(self, hours: tuple[str, str] | None) -> bool:
        return hours is not None and is_quiet(hours, f"{local(self._now_ms()):%H:%M}")

    def _pressed(self, colour: str, now: float) -> None:
        """A button: the status of that colour for whoever was recognised within 10 s."""
        greeted = self.kiosk.greeted if self.kiosk is not None else None
        if self.kiosk is None or greeted is None or now - greeted[1] > AMEND_S:
            self._tone("refused", now)
            return
        greeting = greeted[0]
        status = next(s for s, look in LOOKS.items() if look.colour == colour)
        if greeting["status"] == status:
            self._tone("again", now)
            return
        if not greeting["choices"] or not self._chosen(greeting["id"], status):
            self._tone("refused", now)

    def _chosen(self, record_id: str, status: Status) -> bool:
        return self.kiosk is not None and self.kiosk.choose(record_id, status, None, None).ok

    def _tell(self, key: str, fault: HardwareError | None) -> None:
        if fault is None:
            self._troubles.set(key, None)
            return
        zh, en = NAMES[key]
        words = fault.words("zh"), fault.words("en")
        known = self._troubles.now.get(key)
        if known is None or known.advice != words:
            self._troubles.set(key, Trouble(key, (f"{zh}故障", f"The {en} failed"), words))

    def close(self) -> None:
        """Let everything go; may be called again."""
        self._closed = True
        for part in self.parts.values():
            part.close()
        if self._voice is not None:
            self._voice.close()


def brightness(image: NDArray[np.uint8], face: Face | None) -> float | None:
    """Mean grey (0 to 255) of the middle of a face, None without one."""
    if face is None:
        return None
    x, y, width, height = face.box
    left, right = round(max(x + width / 4, 0)), round(max(x + 3 * width / 4, 0))
    top, bottom = round(max(y + height / 4, 0)), round(max(y + 3 * height / 4, 0))
    middle = image[top:bottom:2, left:right:2]
    if middle.size == 0:
        return None
    # The weights of ITU-R BT.601, which OpenCV's grey uses too; blue, green, red.
    return float(middle.reshape(-1, 3).mean(axis=0) @ np.array([0.114, 0.587, 0.299]))
