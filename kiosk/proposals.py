"""Pictures that a kiosk proposes as templates: sealed to the desk at once, few, and not for long.

    DIR/proposals/ID.json   a `ProposalPackage` that waits for the server or a USB stick

The kiosk cannot open what lies there. Nothing here touches a template: a supervisor at the desk
looks at the picture and decides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from attendance import wire
from attendance.errors import WireInvalid
from attendance.proposals import (
    KIOSK_PROPOSALS,
    LIFETIME_MS,
    MAX_OF_ONE,
    MAX_PACKAGE,
    ProposalPackage,
)
from kiosk.clock import Reading
from kiosk.config import sync_folder, write_atomically
from kiosk.errors import KioskError, ServerRefused, ServerUnreachable

MOST = 60
"""Packages on one card at the most, some 5 MB: a kiosk that has no network for a month."""
PER_EXCHANGE = 3
"""Sent in one exchange at the most, after the records: half a minute of a bad line."""
REST_NS = 3_600 * 1_000_000_000
"""After an answer that says nothing of the picture (an older server, another's signature)."""
_FINAL = {"gone", "full", "unknown_official", "malformed", "too_large"}
_MOST_BYTES = MAX_PACKAGE + 4096
MAX_FILE = 2 * MOST * MAX_PACKAGE
"""Bytes of a file for the stick: what several kiosks of one round may leave in it."""


class ProposalFile(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to the desk by USB stick (docs/wire.md, "Proposed pictures")."""

    v: int = wire.VERSION
    proposals: list[ProposalPackage]


class Pile:
    """The folder of one kiosk. Other processes may add, send and erase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rest_until_ns = 0

    def waiting(self) -> list[ProposalPackage]:
        """What waits, oldest first; files that cannot be read are erased."""
        found = []
        for path in self._files():
            try:
                if path.stat().st_size > _MOST_BYTES:
                    raise WireInvalid("too large")
                found.append(wire.decode(path.read_bytes(), ProposalPackage))
            except FileNotFoundError:
                continue
            except (WireInvalid, OSError):
                self._erase([path])
        return sorted(found, key=lambda package: (package.at_ms, package.id))

    def has_room(self, official: str) -> bool:
        """Whether one more of that official may be kept."""
        waiting = self.waiting()
        of_one = sum(package.official == official for package in waiting)
        return of_one < MAX_OF_ONE and len(waiting) < MOST

    def put(self, package: ProposalPackage) -> None:
        """Keeps one, durably. Raises OSError."""
        write_atomically(self._folder / f"{package.id}.json", wire.encode(package))

    def erase(self, ids: Iterable[str]) -> None:
        """Forgets those. Raises OSError."""
        self._erase([self._folder / f"{ident}.json" for ident in ids])

    def keep_only(self, allowed: Iterable[str], now_ms: int) -> int:
        """Erases those of officials not in `allowed` and those past their time; how many.

        A clock that jumped by more than their time erases too. Raises OSError.
        """
        kept = set(allowed)
        gone = [
            package.id
            for package in self.waiting()
            if package.official not in kept or abs(now_ms - package.at_ms) >= LIFETIME_MS
        ]
        self.erase(gone)
        return len(gone)

    def send(self, put: Callable[[bytes], object], now: Reading) -> int:
        """Sends some; how many the server took. Neither it nor the card can spoil an exchange.

        `put` sends one body and raises ServerRefused or ServerUnreachable. Erased here is what the
        server took and what it will never take.
        """
        taken = 0
        if now.boottime_ns < self._rest_until_ns:
            return taken
        with contextlib.suppress(OSError, KioskError):
            for package in self.waiting()[:PER_EXCHANGE]:
                try:
                    put(wire.encode(package))
                    taken += 1
                except ServerUnreachable:
                    break
                except ServerRefused as error:
                    if error.word not in _FINAL:
                        self._rest_until_ns = now.boottime_ns + REST_NS
                        break
                self.erase([package.id])
        return taken

    def export(self, path: Path) -> int:
        """Moves what waits into the file for the desk, beside what other kiosks left there; how
        many. Raises KioskError where `path` holds something else, OSError where it fails."""
        waiting = self.waiting()
        before: list[ProposalPackage] = []
        if path.exists():
            try:
                if path.stat().st_size > MAX_FILE:
                    raise WireInvalid("too large")
                before = wire.decode(path.read_bytes(), ProposalFile, MAX_FILE).proposals
            except WireInvalid:
                raise KioskError(
                    f"{path} 不是待审照片文件，未改动：请换一个文件名。",
                    f"{path} holds something else and was left alone: choose another name",
                ) from None
        known = {package.id for package in before}
        added = [package for package in waiting if package.id not in known]
        if added or not path.exists():
            write_atomically(path, wire.encode(ProposalFile(proposals=before + added)))
        self.erase(package.id for package in waiting)
        return len(waiting)

    def _files(self) -> list[Path]:
        try:
            return [p for p in self._folder.iterdir() if p.suffix == ".json" and p.is_file()]
        except FileNotFoundError:
            return []

    def _erase(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        if paths and self._folder.is_dir():
            sync_folder(self._folder)


def sender(ask: Callable[..., object]) -> Callable[[bytes], object]:
    """`put` for `Pile.send` from `kiosk.link.Link.ask`."""
    return lambda body: ask("PUT", KIOSK_PROPOSALS, body)
