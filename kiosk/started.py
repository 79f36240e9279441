"""A release's first record: the proof that it can do what a kiosk is for."""

from __future__ import annotations

from attendance.statuses import Kind
from kiosk.clock import Clock
from kiosk.drafts import Draft
from kiosk.store import Store


def tell_started(store: Store, release: int | None, clock: Clock) -> None:
    """Records that this release runs here, once; without an installed release there is nothing.

    Raises StoreUnusable.
    """
    if release is None or store.meta("release") == str(release):
        return
    store.record(Draft(kind=Kind.CLOCK, detail=f"release {release} started"), clock.read())
    store.set_meta(release=str(release))
