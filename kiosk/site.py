"""A paired kiosk's folder, opened: what `run` and every command start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from attendance.clock import ClockClass, estimate, wall_is_off
from attendance.signing import DeviceKeys
from kiosk.clock import Clock, Reading
from kiosk.config import DATABASE, VAULT, KioskConfig, load_config, load_keys, save_config
from kiosk.exchange import SyncClient, last_snapshot
from kiosk.housekeeping import let_go
from kiosk.people import People
from kiosk.store import Store
from kiosk.vault import Vault, gallery_taken


@dataclass(frozen=True)
class ClockState:
    """How far the wall clock can be trusted now.

    `cls` is A after a time proof in this boot, else C; `off_ms` how far the wall clock is ahead of
    the truth (negative: behind), None while unknown; `doubtful` says that people must be told.
    """

    cls: ClockClass
    off_ms: int | None
    doubtful: bool


class Site:
    """Configuration, keys, store and vault of one folder. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Raises NotPaired, ConfigInvalid, StoreUnusable and StoreNewer."""
        self.folder = folder
        self.config: KioskConfig = load_config(folder)
        self.keys: DeviceKeys = load_keys(folder)
        self.store = Store.open(
            folder / DATABASE, self.config.device, make_room=lambda: let_go(folder)
        )
        self.vault = Vault(folder / VAULT, lambda: gallery_taken(self.store))

    def people(self) -> People:
        """Whom the kiosk knows by its gallery and the last snapshot."""
        return People(self.vault.contents(), last_snapshot(self.store))

    def client(self, clock: Clock, session: requests.Session | None = None) -> SyncClient:
        """The line to the server; a desk key that it learns is kept."""
        return SyncClient(
            self.config,
            self.keys,
            self.store,
            self.vault,
            clock,
            session,
            save=lambda config: save_config(self.folder, config),
            load=lambda: load_config(self.folder),
        )

    def clock_state(self, now: Reading) -> ClockState:
        """How far the wall clock can be trusted."""
        near = self.store.newest_anchor(now.boot_id)
        truth = estimate(
            wall_ms=now.wall_ms,
            boot_id=now.boot_id,
            boottime_ns=now.boottime_ns,
            anchors=[] if near is None else [near],
        )
        if truth.cls is ClockClass.C:
            return ClockState(truth.cls, None, True)
        off_ms = now.wall_ms - truth.at_ms
        return ClockState(truth.cls, off_ms, wall_is_off(now.wall_ms, truth))

    def close(self) -> None:
        """Closes the store; may be called again."""
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
