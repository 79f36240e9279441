"""A release's first record: the proof that it can do what a kiosk is for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attendance.statuses import Kind
from kiosk.clock import Clock
from kiosk.config import run_lock
from kiosk.drafts import Draft
from kiosk.errors import KioskError, StoreUnusable
from kiosk.notify import Notifier
from kiosk.pairing import pairing_keys
from kiosk.releases import App
from kiosk.schema import unusable
from kiosk.store import Store


def rehearse(folder: Path, clock: Clock) -> None:
    """Records once in a store beside where the kiosk's will be, which then goes again.

    An unpaired kiosk has no chain; that its release and its card can keep a record is proved so,
    and it may call itself ready. Raises StoreUnusable.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=folder) as place:
            store = Store.open(Path(place) / "kiosk.db", "k0000000")
            try:
                store.record(Draft(kind=Kind.CLOCK, detail="rehearsal"), clock.read())
            finally:
                store.close()
    except OSError as error:
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(
            "open",
            f"无法写入 {folder}：请检查存储卡。",
            f"{folder} cannot be written: check the card",
        ) from error


def prove_writable(folder: Path) -> None:
    """Whether a folder that is to be paired takes its keys. Raises StoreUnusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with run_lock(folder):
            pairing_keys(folder)
    except OSError as error:
        if isinstance(error, KioskError):
            raise
        raise unusable(folder, error) from error


def on_trial(app: App | None, number: int | None) -> bool:
    """Whether release `number` has not proved itself yet, and is taken back unless it does."""
    return app is not None and number is not None and app.state().trial == number


def tell_started(store: Store, release: int | None, clock: Clock) -> None:
    """Records that this release runs here, once; without an installed release there is nothing.

    Raises StoreUnusable.
    """
    if release is None or store.meta("release") == str(release):
        return
    store.record(Draft(kind=Kind.CLOCK, detail=f"release {release} started"), clock.read())
    store.set_meta(release=str(release))


def say_ready(notifier: Notifier, store: Store, release: int | None, clock: Clock) -> bool:
    """Tells systemd READY=1 once this release has recorded; whether it did, now or before.

    A store that cannot record is told by the loop's own tries; the release stays silent, and where
    it is on trial it is taken back when its minute is over.
    """
    if not notifier.is_ready:
        try:
            tell_started(store, release, clock)
        except StoreUnusable:
            return False
        notifier.ready()
    return True
