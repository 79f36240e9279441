"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

#: Below those that the kernel lends to whoever connects somewhere (from 32768 on): between the
#: moment when a port is found and its server's start, tests beside this one connect all the time.
_FIRST, _LAST = 10_240, 32_000


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, and that nobody is given by chance."""
    numbers = random.SystemRandom()
    while True:
        port = numbers.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
