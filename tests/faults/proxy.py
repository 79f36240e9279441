"""A bad line between kiosks and a real server: answers lost, cut, doubled, late; or just thin.

Runs in a thread of its own. With `faults` it understands as much of HTTP as it needs to lose an
answer *after* the server has committed; with `bits_per_s` it only passes bytes, no faster than
that each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any

#: What may befall a request; each is as likely as its number of mentions.
FAULTS = (
    "lost before",  # the request never arrives
    "lost after", "lost after", "lost after",  # it is served, the answer is lost
    "cut answer",  # half of the answer arrives
    "cut request",  # half of the request arrives
    "twice",  # it arrives twice, the second answer comes back
    "late",  # it arrives after a while, perhaps after the asker has gone
)  # fmt: skip


class Proxy:
    """Listens on `port` (a free one) and passes on to `to`. A context manager.

    `share` is the part of requests that something befalls; set it to 0 for a good line. `up` and
    `down` count the bytes that passed to and from the server, with all of HTTP's.
    """

    def __init__(
        self, to: int, *, share: float = 0.0, seed: int = 4, bits_per_s: float | None = None
    ) -> None:
        self.to = to
        self.share = share
        self.befell: Counter[str] = Counter()
        self.up = self.down = 0
        self.port = 0
        self._rate = bits_per_s
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> None:
        serve = self._serve if self._rate is None else self._thin
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()

    # -- a bad line -------------------------------------------------------------------------

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        # Cancelled at the end, which asyncio would call an error of the callback.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _message(near)
                befalls = "" if self._rng.random() >= self.share else self._rng.choice(FAULTS)
                if befalls:
                    self.befell[befalls] += 1
                self.up += len(request)
                answer = await self._ask(request, befalls)
                self.down += len(answer)
                if befalls in ("lost before", "lost after", "cut request"):
                    break
                if befalls == "cut answer":
                    back.write(answer[: len(answer) // 2])
                    await back.drain()
                    break
                back.write(answer)
                await back.drain()
        back.close()

    async def _ask(self, request: bytes, befalls: str) -> bytes:
        if befalls == "lost before":
            return b""
        if befalls == "cut request":
            await self._once(request[: len(request) * 2 // 3], wait=False)
            return b""
        if befalls == "late":
            await asyncio.sleep(self._rng.uniform(0.05, 0.4))
        answer = await self._once(request)
        return await self._once(request) if befalls == "twice" else answer

    async def _once(self, request: bytes, wait: bool = True) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader) if wait else b""
        finally:
            writer.close()

    # -- a thin line ------------------------------------------------------------------------

    async def _thin(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far, forth = await asyncio.open_connection("127.0.0.1", self.to)
            ways: list[Coroutine[Any, Any, None]] = [
                self._pass(near, forth, "up"),
                self._pass(far, back, "down"),
            ]
            await asyncio.gather(*ways)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        """A token bucket of one packet: every piece waits until the line would have carried it."""
        with contextlib.suppress(OSError):
            while data := await reader.read(1400):
                setattr(self, way, getattr(self, way) + len(data))
                assert self._rate is not None
                await asyncio.sleep(len(data) * 8 / self._rate)
                writer.write(data)
                await writer.drain()
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with its body. Raises IncompleteReadError at the end of the stream."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if head.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304")):
        length = 0
    return head + await reader.readexactly(length)
