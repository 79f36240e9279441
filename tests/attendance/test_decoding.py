"""The first message of its type may come to many threads at once."""

from __future__ import annotations

import os
import subprocess
import sys

#: A fresh process each: only its first decoder of a type is in danger. With `msgspec.json.decode`
#: in place of `json_of` two in twenty of these died of a null pointer.
TRIES = 24
FIRST = """
import sys, threading
sys.setswitchinterval(1e-6)
from attendance import wire
from attendance.messages import CursorRequest
body = wire.encode({
    "v": 1, "epoch": 1, "seq": 1, "head": "0" * 64, "boottime_ns": 5, "wall_ms": 5, "pending": 0,
    "boot_id": "00000000-0000-4000-8000-000000000000", "gallery": 0, "anchor": "x", "rtt_ns": 5,
    "health": {},
})
begin = threading.Barrier(12)
def first():
    begin.wait()
    wire.decode(body, CursorRequest)
threads = [threading.Thread(target=first) for _ in range(12)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def test_no_first_message_ends_the_process() -> None:
    ended = []
    for _ in range(TRIES // 4):
        side_by_side = [
            subprocess.Popen([sys.executable, "-c", FIRST], env=os.environ, stderr=subprocess.PIPE)
            for _ in range(4)
        ]
        for process in side_by_side:
            _, said = process.communicate(timeout=60)
            ended.append((process.returncode, said))
    assert ended == [(0, b"")] * TRIES
