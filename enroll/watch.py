"""`sync --watch`: rounds at an interval until Ctrl-C or SIGTERM, patient with a server away."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from attendance.i18n import defect, language, say
from enroll.errors import EnrollError, ServerRefused

LONGEST_S = 900.0
"""Longest wait after failures (design notes on evidence: at most 15 minutes)."""


def pause_s(failures: int, interval_s: float, retry_s: float | None, draw: float) -> float:
    """Seconds to wait: the interval after success; after failures full jitter over a doubling span
    (`draw` of 0 to 1), never below what the server asked for, at most LONGEST_S."""
    if failures == 0:
        return interval_s
    span = min(LONGEST_S, interval_s * 2.0 ** min(failures, 20))
    wait = interval_s + draw * max(span - interval_s, 0.0)
    return min(max(wait, retry_s or 0.0), LONGEST_S)


def watch(one_round: Callable[[], object], *, interval_s: float) -> int:
    """Run rounds until a signal; returns the exit code 0. A fault is told once until it changes."""
    # A round may be broken off anywhere: whatever is kept is kept in transactions.
    old = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    failures, told = 0, ""
    try:
        while True:
            retry: float | None = None
            try:
                one_round()
                if told:
                    print(say("已恢复与服务器的联系", "the server is reached again"), flush=True)
                failures, told = 0, ""
            except Exception as error:  # noqa: BLE001 - nobody may be there to start it again
                failures += 1
                retry = error.retry_s if isinstance(error, ServerRefused) else None
                line = error.words(language()) if isinstance(error, EnrollError) else defect(error)
                if line != told:
                    print(line, file=sys.stderr, flush=True)
                    told = line
            time.sleep(pause_s(failures, max(interval_s, 0.1), retry, random.random()))  # noqa: S311  # nosec B311 # guards nothing
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
