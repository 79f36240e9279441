"""What is wrong with this kiosk now and what to do about it: one list for everybody who asks.

The screen draws it (key `troubles` of the feed), `--events` tells each once as it begins, `status`
and the server are given it. Whoever found a trouble takes it back; nobody has to acknowledge it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kiosk.events import EventLog
from kiosk.screen.feed import ScreenFeed

Pair = tuple[str, str]
"""The same said in Chinese and in English."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong.

    part: what it is about, as `EventLog.fault` names it (`camera`, `lamps`, `voice`, `disk`, ...).
    what: the state in a few words; advice: what to do, one sentence. Both in Chinese and English.
    """

    part: str
    what: Pair
    advice: Pair

    def as_json(self) -> dict[str, str]:
        """As the screen gets it."""
        return {
            "part": self.part,
            "what_zh": self.what[0],
            "what_en": self.what[1],
            "advice_zh": self.advice[0],
            "advice_en": self.advice[1],
        }


def noted(text: str | None) -> list[dict[str, str]]:
    """The list that a running kiosk noted as JSON text; empty where it cannot be read."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) and all(isinstance(x, dict) for x in found) else []


class Troubles:
    """The troubles of now, each under a key of its own, in the order in which they came.

    Thread-safe. on_change: called with the list as JSON text after each change, in the thread that
    made it.
    """

    def __init__(
        self,
        feed: ScreenFeed,
        events: EventLog,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._feed = feed
        self._events = events
        self._on_change = on_change
        self._guard = threading.RLock()
        self._now: dict[str, Trouble] = {}
        self._feed.update(troubles=[])

    @property
    def now(self) -> Mapping[str, Trouble]:
        """A copy of what is wrong now."""
        with self._guard:
            return dict(self._now)

    def set(self, key: str, trouble: Trouble | None, *, tell: bool = True) -> None:
        """Say what is wrong under `key`, or with None that it is well again.

        tell: write a `fault` event where it is news; False where the caller tells it itself. The
        same trouble again, or other advice for the same state, is not news.
        """
        with self._guard:
            before = self._now.get(key)
            if before == trouble:
                return
            if trouble is None:
                del self._now[key]
            else:
                self._now[key] = trouble
                if tell and (before is None or before.what != trouble.what):
                    self._events.fault(trouble.part, f"{trouble.what[1]}: {trouble.advice[1]}")
            listed = [each.as_json() for each in self._now.values()]
            self._feed.update(troubles=listed)
        if self._on_change is not None:
            self._on_change(json.dumps(listed, ensure_ascii=False))
