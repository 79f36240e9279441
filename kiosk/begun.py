"""How `run` begins: its folder opened, paired first where it is nobody's, waited for where it does
not open now."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kiosk.config import is_paired, keep_copies, load_config, run_lock
from kiosk.edge import Edge
from kiosk.errors import ConfigInvalid, KioskError, StoreUnusable
from kiosk.fetching import own_app
from kiosk.mending import finish, mend
from kiosk.releases import own_release
from kiosk.schema import unusable
from kiosk.settings import load_settings
from kiosk.site import Site
from kiosk.started import on_trial, prove_writable
from kiosk.sticks import STICKS
from kiosk.unopened import opened
from kiosk.unpaired import pair_on_screen

T = TypeVar("T")


def begun(
    args: argparse.Namespace,
    make: Callable[[Site, contextlib.ExitStack], T],
    stop: threading.Event,
    edge: Edge,
    stack: contextlib.ExitStack,
) -> T | None:
    """What `make` makes of the open folder `args.data`; None where it was stopped before.

    `make` puts onto the stack that it is given what is to be closed with it; `stack` takes that
    over. With a screen a folder that cannot be opened is tried until it can be. Raises the typed
    faults of what is opened, where nobody waits for it.
    """
    data = Path(args.data)
    patient = args.screen is not None and not args.until_end
    told = False

    def attempt() -> T | None:
        """None where the folder is to be paired first."""
        nonlocal told
        # Once the page says so: it takes as long as the server does.
        mends, told = told, patient
        if args.screen is None:
            load_config(data)  # never paired: told before anything is made in the folder
        elif not is_paired(data):
            prove_writable(data)
            return None
        with contextlib.ExitStack() as opening:
            opening.enter_context(run_lock(data))
            site = opening.enter_context(_site(data, edge, mends=mends))
            keep_copies(data, site.config, site.keys)
            made = make(site, opening)
            stack.enter_context(opening.pop_all())
        return made

    while not stop.is_set():
        # Footage that is to end needs no patience: whoever plays it reads the one line.
        if not patient:
            made = attempt()
        else:
            made = opened(
                attempt, data, args.screen, stop, _say,
                edge=edge, lamps=args.lamps, trial=on_trial(own_app(), own_release()),
            )  # fmt: skip
        if made is not None:
            return made
        if stop.is_set() or not pair_on_screen(
            data, args.screen, stop, _say, sticks=sticks_of(args)
        ):
            break
    return None


def _site(data: Path, edge: Edge, *, mends: bool) -> Site:
    """The folder, opened; with `mends` a damaged database is begun anew first."""
    try:
        finish(data)
        try:
            return Site(data)
        except StoreUnusable as error:
            if error.what != "corrupt" or not mends:
                raise
            mend(data, edge.clock)
            return Site(data)
    except OSError as error:
        if isinstance(error, KioskError):
            raise
        raise unusable(data, error) from error


def _say(line: str) -> None:
    print(line, flush=True)


def sticks_of(args: argparse.Namespace) -> tuple[str, ...]:
    """Where sticks are looked for: `--stick`, else the settings, else the usual places."""
    if getattr(args, "stick", None) is not None:
        return (str(args.stick),)
    # A file that cannot be used is told once the kiosk has a screen to say it on.
    with contextlib.suppress(ConfigInvalid):
        return load_settings(Path(args.data)).stick.folders
    return STICKS


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[threading.Event]:
    """`stop`, which SIGINT and SIGTERM set, so that nothing is cut in the middle of a record."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
