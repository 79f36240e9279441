"""What runs beside the kiosk's loop: tidying, and fetching updates."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from kiosk.config import KioskConfig
from kiosk.edge import Edge
from kiosk.fetching import Fetcher, Nightly, own_app
from kiosk.housekeeping import EVERY_S, Every, Housekeeper
from kiosk.link import Link
from kiosk.site import Site
from kiosk.sticks import StickReleases

UPDATE_S = 1_200.0
"""Between two looks for an update, or after one that failed."""
STICK_S = 15.0
"""Between two looks for a stick: whoever put it in stands there."""


def start_errands(
    stack: contextlib.ExitStack,
    edge: Edge,
    site: Site,
    housekeeper: Housekeeper,
    now_ms: Callable[[], int],
    sticks: Sequence[str] = (),
) -> None:
    """Starts them; `stack` ends them. Updates are for machines set up by install-kiosk.sh.

    sticks: where USB sticks with a release are looked for.
    """
    app = own_app()
    turns = [(lambda: housekeeper.turn().more, EVERY_S, "housekeeping")]
    if app is not None:
        stopped = threading.Event()
        link = stack.enter_context(contextlib.closing(line_of(site)))
        fetcher = Fetcher(site.folder, app, link)
        nightly = Nightly(fetcher, now_ms, stopped.wait)
        turns.append((nightly.turn, UPDATE_S, "update"))
        turns.append((StickReleases(site.folder, fetcher, sticks).turn, STICK_S, "stick"))
    for turn, seconds, name in turns:
        errand = Every(turn, seconds, name, edge=edge)
        stack.callback(errand.stop)
        errand.start()
    if app is not None:
        stack.callback(stopped.set)


def line_of(site: Site) -> Link:
    """A line to the server of its own: a slow piece delays no record."""
    config: KioskConfig = site.config
    return Link(config, site.keys)
