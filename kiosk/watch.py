"""Frames from the source to the kiosk, for as long as there are any and nobody stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hardware.errors import CameraError
from hardware.frames import Camera, Frame
from kiosk.events import EventLog
from kiosk.loop import Kiosk
from kiosk.screen.feed import ScreenFeed
from kiosk.troubles import Trouble, Troubles
from kiosk.views import Lookout

IDLE_S = 0.1
"""Between two turns while no frame comes."""
LOST = ("摄像头没有画面", "The camera gives no picture")
REOPEN_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits before a lost camera is opened again; the last one repeats."""


class Watch:
    """Opens the source, opens a live one again whenever it is lost, and says how it is.

    state: "", `ok`, `fault` or `ended`, and of a live camera also how its pictures are (`View`);
    `on_state` is told each change. lookout: looks at the pictures of a live camera, and at the
    machine's heat also while there are none. mono: the clock that frames arrive by.
    """

    def __init__(
        self,
        opener: Callable[[], Camera],
        kiosk: Kiosk,
        events: EventLog,
        feed: ScreenFeed,
        troubles: Troubles,
        stop: threading.Event,
        *,
        live: bool,
        on_state: Callable[[str], None],
        lookout: Lookout | None = None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = ""
        self._opener = opener
        self._kiosk = kiosk
        self._events = events
        self._feed = feed
        self._troubles = troubles
        self._stop = stop
        self._live = live
        self._on_state = on_state
        self._lookout = lookout if live else None
        self._mono = mono
        self._camera: Camera | None = None

    def open(self, *, patient: bool) -> None:
        """Open the source for the first time.

        patient: begin without a live camera that is not there, since others can be served until
        it comes. Raises CameraError.
        """
        try:
            self._camera = self._opener()
        except CameraError as error:
            if not (patient and self._live):
                raise
            self._lost(error)

    def run(self) -> None:
        """All frames. Returns at the end of footage, or when stopped. Raises CameraError where
        footage cannot be read on."""
        tries = 0
        while not self._stop.is_set():
            camera, self._camera = self._camera, None
            try:
                if camera is None:
                    self.idle(REOPEN_S[min(tries, len(REOPEN_S) - 1)])
                    tries += 1
                    if self._stop.is_set():
                        return
                    camera = self._opener()
                with camera:
                    index = 0
                    for frame in camera.frames():
                        if self.state in ("", "fault"):
                            tries = 0
                            self._found()
                        self._look(frame)
                        index = frame.index
                        if self._stop.is_set():
                            return
                self._kiosk.ended(index)
                self._set("ended")
                self._feed.update(camera=False, ended=True)
                return
            except CameraError as error:
                if not self._live:
                    raise
                self._lost(error)

    def _look(self, frame: Frame) -> None:
        """One frame; a machine that is too hot passes some over."""
        if self._lookout is None:
            self._kiosk.process(frame)
        elif self._lookout.due(frame.arrived):
            self._set(str(self._lookout.see(frame.image, frame.arrived)))
            self._kiosk.process(frame)
        else:
            self._kiosk.idle()

    def idle(self, seconds: float) -> None:
        """Keep the rest of the kiosk going for so long, or until it is stopped."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.wait(IDLE_S):
            if self._lookout is not None:
                self._lookout.turn(self._mono())
            self._kiosk.idle()

    def _found(self) -> None:
        self._set("ok")
        self._feed.fault("camera", None)
        self._troubles.set("camera", None)
        self._feed.update(camera=True)

    def _lost(self, error: CameraError) -> None:
        if self._lookout is not None:
            self._lookout.lost()
        if self.state != "fault":
            self._events.fault("camera", str(error))
        self._set("fault")
        words = error.words("zh"), error.words("en")
        self._feed.fault("camera", {"zh": words[0], "en": words[1]})
        self._troubles.set("camera", Trouble("camera", LOST, words), tell=False)
        self._feed.update(camera=False, guidance=None)

    def _set(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._on_state(state)
