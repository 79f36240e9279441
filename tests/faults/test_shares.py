"""Two workers of the real server take equally many connections."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.faults.line import workers_of
from tests.faults.rig import served


def sockets_of(pid: int) -> int:
    """How many sockets a process has open."""
    kinds = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(kind.startswith("socket") for kind in kinds)


def counts(server: int, together: int, apart: int = 1000) -> list[int]:
    """Each worker's sockets, the fewest first, once there are at least that many, and no more
    `apart`."""
    until = time.monotonic() + 20
    while True:
        try:
            found = sorted(map(sockets_of, workers_of(server)))
        except FileNotFoundError:  # one ended while it was looked at
            found = []
        if len(found) == 2 and sum(found) >= together and found[1] - found[0] <= apart:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.01)


def test_workers_share_connections_by_count() -> None:
    held: list[socket.socket] = []
    with served(None, 2, begun=False) as town:
        town.serve()
        assert town.server is not None
        server = town.server.pid

        def connect(times: int) -> None:
            for _ in range(times):
                held.append(socket.create_connection(("127.0.0.1", town.port)))

        calm = sum(counts(server, 6, apart=0))  # both serve
        connect(100)
        fewest, most = counts(server, calm + 100)
        assert most - fewest <= 4
    for each in held:
        each.close()
