"""The desk as its commands use it: data folder, store, ledger, keys and clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from attendance.days import to_ms
from attendance.signing import DeviceKeys
from enroll.client import Client
from enroll.config import DeskConfig, load_config, load_keys, save_config
from enroll.ledger import Ledger
from enroll.store import Store


def utc_now() -> datetime:
    """The system's clock, aware."""
    return datetime.now(UTC)


class Desk:
    """A context manager; `close` may be called any number of times."""

    def __init__(self, data: Path, now: Callable[[], datetime] = utc_now) -> None:
        """Open what `data` holds. Raises DeskUnusable or DeskNewer."""
        self.data = data
        self._now = now
        self.store = Store(data)
        self.ledger = Ledger(self.store)

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return to_ms(self._now())

    def config(self) -> DeskConfig:
        """The pairing. Raises NotPaired."""
        return load_config(self.data)

    def keys(self) -> DeviceKeys:
        """The desk's keys. Raises NotPaired."""
        return load_keys(self.data)

    def client(self) -> Client:
        """A connection to the paired server. Raises NotPaired."""
        return Client(self.config(), self.keys(), lambda config: save_config(self.data, config))

    def close(self) -> None:
        """Let the files go."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
