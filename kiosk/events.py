"""What happens at the kiosk, as lines of JSON (`run --events`) and to whoever listens inside."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from kiosk.errors import KioskError

Event = Mapping[str, Any]
Listener = Callable[[Event], None]


class EventsUnwritable(KioskError, OSError):
    """The file for `--events` cannot be opened."""


class EventLog:
    """Writes each event as one line, flushed as it happens, and tells the listeners.

    Thread-safe; lines are whole and in one order. A context manager; `close` is idempotent.
    """

    def __init__(self, target: Path | str | None = None) -> None:
        """target: a file, which is begun anew; `-` for standard output; None for listeners only.

        Raises EventsUnwritable.
        """
        self._guard = threading.RLock()
        self._listeners: list[Listener] = []
        self._stream: TextIO | None = None
        self._owned = False
        self.to_stdout = str(target) == "-"
        if self.to_stdout:
            self._stream = sys.stdout
        elif target is not None:
            try:
                self._stream = Path(target).open("w", encoding="utf-8")  # noqa: SIM115
            except OSError as error:
                raise EventsUnwritable(
                    f"无法写入事件文件 {target}（{error.strerror}）：请换一个位置",
                    f"the events file {target} cannot be written ({error.strerror}): "
                    "choose another place",
                ) from error
            self._owned = True

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with every later event, in the thread that emits it."""
        self._listeners.append(listener)

    def checkin(
        self,
        official: str,
        status: str,
        method: str,
        *,
        score: float | None = None,
        margin: float | None = None,
        liveness: str | None = None,
        frame: int | None = None,
        latency_ms: float | None = None,
        seq: int,
    ) -> None:
        """Somebody is recorded. Score and margin are cosines; `frame` counts from 0."""
        self._emit(
            event="checkin",
            official=official,
            status=str(status),
            method=str(method),
            score=_rounded(score),
            margin=_rounded(margin),
            liveness=liveness,
            frame=frame,
            latency_ms=_rounded(latency_ms, 1),
            seq=seq,
        )

    def again(self, official: str, frame: int | None = None) -> None:
        """The same person within 60 s: nothing was added."""
        self._emit(event="again", official=official, frame=frame)

    def refused(self, reason: str, frame: int | None = None) -> None:
        """Nobody was recorded: unknown, ambiguous, not_live, quality or locked."""
        self._emit(event="refused", reason=reason, frame=frame)

    def lamp(
        self, official: str, driver: str, colour: str, latched: str, blinking: bool = False
    ) -> None:
        """A lamp was set to `colour`; `latched` is what its driver reads back, or `unknown`."""
        self._emit(
            event="lamp",
            official=official,
            driver=driver,
            colour=colour,
            latched=latched,
            blinking=blinking,
        )

    def sync(self, sent: int, stored: int, duplicate: int, rejected: int, pending: int) -> None:
        """An exchange with the server ended."""
        self._emit(
            event="sync",
            sent=sent,
            stored=stored,
            duplicate=duplicate,
            rejected=rejected,
            pending=pending,
        )

    def fault(self, part: str, what: str) -> None:
        """A part failed; `what` says how, in English."""
        self._emit(event="fault", part=part, what=what)

    def _emit(self, **event: Any) -> None:
        with self._guard:
            if self._stream is not None:
                # A full disk or a closed pipe costs a line here, never a check-in.
                with contextlib.suppress(OSError, ValueError):
                    self._stream.write(json.dumps(event, ensure_ascii=False) + "\n")
                    self._stream.flush()
            for listener in self._listeners:
                listener(event)

    def close(self) -> None:
        """Let the file go; later events only reach the listeners."""
        with self._guard:
            stream, self._stream = self._stream, None
            if stream is not None and self._owned:
                with contextlib.suppress(OSError):
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rounded(value: float | None, digits: int = 4) -> float | None:
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return round(float(value), digits)
