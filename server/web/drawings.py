"""Public pages, each drawn once for each version of its board: a thousand people see the same.

Kept are the bytes of pages that nobody is signed in to: no name, no CSRF token is in them. What a
page was made of is its stamp; whoever asks with another one has it drawn anew.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, TypeVar

from flask import Flask, Response, current_app, request

from server.gate import gate
from server.web.compress import LEVEL

#: Pages held: six of a township (board, rows, JSON, television) in two languages, for a county.
MOST = 512
#: A page's age at the most while a storm of kiosks leaves no time to ask for its version, seconds.
AGE_S = 1.0
KEY = "quxiang-drawings"
T = TypeVar("T")


class Together:
    """One call at a time for each key; whoever came while it ran shares the next one.

    What is returned was always begun after it was asked for: nobody sees a state from before.
    """

    def __init__(self) -> None:
        self._locks: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._held: dict[Hashable, tuple[float, Any]] = {}
        self._waiting: Counter[Hashable] = Counter()

    def waiting(self, key: Hashable) -> int:
        """How many wait for the call that runs."""
        return self._waiting[key]

    def do(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns, or returned to somebody who asked later. Raises what it raises."""
        asked = monotonic()
        self._waiting[key] += 1
        with self._locks[key]:
            self._waiting[key] -= 1
            held = self._held.get(key)
            if held is None or held[0] <= asked:
                began = monotonic()
                held = self._held[key] = (began, work())
        return held[1]


class Drawing:
    """A page as it was made; `version` is the board's, `at` monotonic seconds.

    Packed with gzip when it is first asked for so: what only stands in another page never is.
    """

    def __init__(self, body: bytes, mimetype: str, version: str, at: float) -> None:
        self.etag = hashlib.sha256(body).hexdigest()[:24]
        self.mimetype, self.version, self.at = mimetype, version, at
        # Both in one, which is exchanged at once: two threads may pack the same page.
        self._held = (body, False)

    @property
    def is_packed(self) -> bool:
        """Whether it was asked for packed."""
        return self._held[1]

    @property
    def packed(self) -> bytes:
        """With gzip; from then on it is kept like this alone."""
        data, packed = self._held
        if not packed:
            data = gzip.compress(data, LEVEL, mtime=0)
            self._held = (data, True)
        return data

    @property
    def body(self) -> bytes:
        """As it was made."""
        data, packed = self._held
        return gzip.decompress(data) if packed else data

    def answer(self, around: Callable[[bytes], bytes] | None = None) -> Response:
        """To this request: 304 where the browser has it. `around` puts something round the body
        that is no part of the page's version."""
        response = Response(mimetype=self.mimetype)
        response.vary.add("Accept-Encoding")
        response.set_etag(self.etag, weak=True)  # the same page, not the same bytes
        response.make_conditional(request)
        if response.status_code == 304:
            return response
        if around is not None:
            response.set_data(around(self.body))
        elif request.accept_encodings["gzip"]:
            response.set_data(self.packed)
            response.headers["Content-Encoding"] = "gzip"
        else:
            response.set_data(self.body)
        return response


class Drawings:
    """Those of one application in one process."""

    def __init__(self, age_s: float = AGE_S, most: int = MOST) -> None:
        self._age = age_s
        self._most = most
        self._held: OrderedDict[Hashable, tuple[str, Drawing]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self.versions = Together()

    def get(
        self, key: Hashable, stamp: str, version: str, make: Callable[[], tuple[bytes, str]]
    ) -> Drawing:
        """The drawing made of `stamp`; else `make` makes body and mimetype, in one thread."""
        if (found := self._find(key, stamp)) is not None:
            return found
        with self._making[key]:
            if (found := self._find(key, stamp)) is not None:
                return found
            began = monotonic()
            body, mimetype = make()
            made = Drawing(body, mimetype, version, began)
            with self._lock:
                self._held[key] = (stamp, made)
                if len(self._held) > self._most:
                    gone, _ = self._held.popitem(last=False)
                    self._making.pop(gone, None)
        return made

    def _find(self, key: Hashable, stamp: str) -> Drawing | None:
        with self._lock:
            held = self._held.get(key)
            if held is None or held[0] != stamp:
                return None
            self._held.move_to_end(key)
            return held[1]

    def in_a_storm(self, key: Hashable) -> Drawing | None:
        """A page of a moment ago, while kiosks leave no time to ask whether it is still right."""
        if not gate.crowded:
            return None
        held = self._held.get(key)
        return held[1] if held is not None and monotonic() - held[1].at <= self._age else None


def drawings() -> Drawings:
    """The current application's."""
    found: Drawings = current_app.extensions[KEY]
    return found


def register(app: Flask) -> None:
    """Gives the application its drawings."""
    app.extensions[KEY] = Drawings()
