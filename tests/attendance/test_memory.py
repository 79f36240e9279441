"""What checks of PINs leave behind in a process that lives for a year."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from attendance.memory import ARENAS, MAPPED_BYTES, SPARE_BYTES

HASHES = """
import sys, threading
from pathlib import Path
from attendance.memory import keep_small
from kiosk.pins import HASHER

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if sys.argv[1] == "kept":
    assert keep_small()
HASHER.hash("warm")
before = resident_mb()
turn = threading.Lock()
waiting = threading.Barrier(6)

def touches():
    for _ in range(2):
        waiting.wait()
        with turn:  # one at a time: what stays is no hash under way
            HASHER.hash("135790")

people = [threading.Thread(target=touches) for _ in range(6)]
for person in people:
    person.start()
for person in people:
    person.join()
print(resident_mb() - before)
"""


def grown_mb(manner: str, root: Path) -> int:
    """By how much six threads that check PINs leave a process larger."""
    done = subprocess.run(
        [sys.executable, "-c", HASHES, manner],
        cwd=root, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_a_pin_leaves_no_heap_behind_for_every_thread() -> None:
    root = Path(__file__).resolve().parents[2]
    assert grown_mb("kept", root) < 15
    assert grown_mb("left alone", root) > 40, "the same without the settings, or this shows nothing"


@pytest.mark.parametrize("unit", ["quxiang-kiosk.service", "quxiang-server.service"])
def test_the_units_ask_for_the_same(unit: str) -> None:
    """There it holds from the first thread on, and for the server's checks of passwords too."""
    text = (Path(__file__).resolve().parents[2] / "deploy/systemd" / unit).read_text("utf-8")
    wanted = (
        f"Environment=MALLOC_ARENA_MAX={ARENAS} MALLOC_MMAP_THRESHOLD_={MAPPED_BYTES} "
        f"MALLOC_TRIM_THRESHOLD_={SPARE_BYTES}"
    )
    assert f"\n{wanted}\n" in text
