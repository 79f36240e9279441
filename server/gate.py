"""Pages before devices: a process that makes a page takes no new work for devices meanwhile."""

from __future__ import annotations

import threading
from time import monotonic

from flask import Flask, Response, g, request

from attendance.wire import PREFIX

#: The longest that devices stand back for the pages at work, seconds.
COURTESY_S = 0.25
#: Requests of devices that one process has at once when it is crowded.
CROWD = 8


class Gate:
    """Counts the pages being made. Between two pieces of work for devices it lets them pass.

    Else both would take turns at the interpreter, some milliseconds each, hundreds of times a page.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._devices = 0
        self._owed = 0.0
        self._condition = threading.Condition()

    def enter(self) -> None:
        """A page is begun."""
        with self._condition:
            self._inside += 1

    def leave(self) -> None:
        """It is made."""
        with self._condition:
            self._inside -= 1
            if not self._inside:
                self._condition.notify_all()

    def give_way(self) -> None:
        """Waits until no page is being made, COURTESY_S at the most, and not all of the time:
        after each wait devices get as long again for themselves."""
        began = monotonic()
        if self._inside and began >= self._owed:
            with self._condition:
                self._condition.wait_for(lambda: not self._inside, COURTESY_S)
            self._owed = 2 * monotonic() - began

    def device(self, more: int) -> None:
        """So many more requests of devices wait or are at work; fewer where negative."""
        with self._condition:
            self._devices += more

    @property
    def crowded(self) -> bool:
        """Whether so many devices wait that pages are hard to make."""
        return self._devices > CROWD


#: That of this process.
gate = Gate()


def register(app: Flask) -> None:
    """Counts every request but the devices', until its answer is made (not until it is sent)."""

    @app.before_request
    def enter() -> None:
        if not request.path.startswith(f"{PREFIX}/"):
            gate.enter()
            g.quxiang_gate = True

    @app.after_request
    def leave(response: Response) -> Response:
        _leave()
        return response

    @app.teardown_request
    def left(_error: BaseException | None) -> None:
        _leave()


def _leave() -> None:
    if g.pop("quxiang_gate", False):
        gate.leave()
