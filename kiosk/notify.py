"""What systemd is told: that the kiosk is ready, and that its loop still turns.

The protocol of sd_notify(3): datagrams to the socket named by NOTIFY_SOCKET. Twenty lines need no
library. Outside a unit with Type=notify everything here does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """The unit's socket. `beat` comes from the loop itself, so a loop that hangs falls silent."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        env = os.environ if environ is None else environ
        self._address = env.get("NOTIFY_SOCKET", "")
        self._mono = mono
        self._every_s = _interval_s(env)
        self._next = 0.0
        self.is_ready = False

    @property
    def watched(self) -> bool:
        """Whether systemd restarts this process when it falls silent."""
        return bool(self._address) and self._every_s is not None

    def ready(self) -> None:
        """The kiosk records: store open, weights loaded, loop turning. Said once."""
        if not self.is_ready:
            self.is_ready = True
            self._tell("READY=1")

    def beat(self) -> None:
        """The loop turned once more; told at a third of the watchdog's time."""
        now = self._mono()
        if self._every_s is not None and now >= self._next:
            self._next = now + self._every_s
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The run ends on purpose."""
        self._tell("STOPPING=1")

    def status(self, line: str) -> None:
        """One line for `systemctl status`."""
        self._tell("STATUS=" + " ".join(line.split()))

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the NUL of the abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.sendto(words.encode(), address)


def _interval_s(env: Mapping[str, str]) -> float | None:
    """A third of WATCHDOG_USEC in seconds, None where nobody watches this process."""
    pid, text = env.get("WATCHDOG_PID", ""), env.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(text) / 3_000_000
