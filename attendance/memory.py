"""How a process that runs for a year asks the C library to keep its memory."""

from __future__ import annotations

import contextlib
import ctypes

#: Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
ARENAS = 2
"""At most so many heaps for all threads: glibc would make eight a core, and keep each."""
MAPPED_BYTES = 8 << 20
"""What is larger goes back to the system as soon as it is freed. A picture of 1920x1080 stays below
and is used again; the 19 MiB of a PIN's or a password's hash lie above."""
SPARE_BYTES = 16 << 20
"""As much may lie free at the end of a heap before it is given back."""


def keep_small() -> bool:
    """Sets glibc's allocator for this process; whether it took it all. Other C libraries: False.

    By itself glibc learns from the first freed block of 19 MiB that such blocks are common, takes
    the next ones from a heap of the thread that asks, and never gives that heap back: 19 MiB for
    each thread that ever checked a PIN. Must be called before threads start.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        taken = [
            mallopt(M_ARENA_MAX, ARENAS),
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES),
            mallopt(M_TRIM_THRESHOLD, SPARE_BYTES),
        ]
        return all(taken)
    return False
