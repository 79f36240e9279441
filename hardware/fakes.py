"""Stand-ins for the edge that ship with the package and remember what was done to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from hardware.errors import CameraError, Notice
from hardware.frames import Camera, Frame, Image

Step = Image | CameraError | None
"""One step of a FakeCamera's script: a picture, a fault to raise, None for a picture skipped."""


class FakeCamera(Camera):
    """Plays a script of pictures and faults at a steady rate, in no time at all.

    fps: frames a second of the times that it states.
    live: what `Camera.live` says.
    given: the frames handed out so far; opened and released count what was done to it.
    """

    def __init__(
        self,
        script: Iterable[Step],
        *,
        fps: float = 10.0,
        live: bool = False,
        source: str = "fake",
        now_s: Callable[[], float] = time.monotonic,
        on_fault: Callable[[Notice], None] | None = None,
    ) -> None:
        super().__init__(source, on_fault)
        self.live = live
        self.fps = fps
        self.given: list[Frame] = []
        self.released = 0
        self._script = iter(script)
        self._now_s = now_s

    def frames(self) -> Iterator[Frame]:
        """The script's pictures; a fault in it is raised, and iterating again goes on after it."""
        for index, step in enumerate(self._script, start=len(self.given)):
            if self._closed:
                return
            if isinstance(step, CameraError):
                raise step
            if step is None:
                self._fault(f"第 {index} 帧已跳过。", f"Frame {index} was skipped.")
                continue
            frame = Frame(index, index / self.fps, step, self._now_s())
            self.given.append(frame)
            yield frame

    def _release(self) -> None:
        self.released += 1


class FakeCapture:
    """What `LiveCamera` reads from: hands out pictures when they are fed, with a memory.

    feed: an iterable whose items are pictures, None for the end, or exceptions to raise. It runs
        in the camera's thread, so a generator may wait there for whatever the test awaits.
    """

    def __init__(self, feed: Iterable[Any]) -> None:
        self._feed = iter(feed)
        self.reads = 0
        self.released = 0

    def read(self) -> tuple[bool, Any]:
        self.reads += 1
        step = next(self._feed, None)
        if isinstance(step, Exception):
            raise step
        return step is not None, step

    def release(self) -> None:
        self.released += 1


class FaultyPin(MockPWMPin):  # type: ignore[misc]
    """A mock pin, PWM and all, that can be made to fail at any moment.

    mode: ``works``; ``stuck`` (a torn or shorted wire: takes every value, stays as it was);
        ``broken`` (the driver fails at every write).
    watchers: called after each change with the pin; what hangs on the other end of the wire.
    """

    mode = "works"

    def __init__(self, factory: Any, info: Any) -> None:
        self.watchers: list[Callable[[FaultyPin], None]] = []
        super().__init__(factory, info)

    def _change_state(self, value: float) -> bool:
        changed = bool(super()._change_state(value))
        if changed:
            self._tell()
        return changed

    def output_with_state(self, state: float) -> None:
        """As the kernel does it: the level is there before the pin begins to drive."""
        watchers, self.watchers = self.watchers, []
        try:
            super().output_with_state(state)
        finally:
            self.watchers = watchers
        self._tell()

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's mock drives a pin low for an instant when it is let go; a real one just ends.
        if value is not None or self._frequency is not None:
            super()._set_frequency(value)

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self.watchers):
            watcher(self)

    def _set_state(self, value: float) -> None:
        if self.mode == "broken":
            raise OSError(f"cannot write to {self!r}")
        if self.mode == "works":
            super()._set_state(value)


def mock_pins() -> MockFactory:
    """A gpiozero factory of `FaultyPin`; ``factory.pin(17).mode = "stuck"`` spoils one."""
    return MockFactory(pin_class=FaultyPin)


def history(factory: MockFactory, number: int) -> list[int]:
    """Every state, 0 or 1, that a mock pin has had since its factory made it, oldest first."""
    return [int(bool(each.state)) for each in factory.pin(number).states]
