"""PINs: checked without telling anything by time, and locked after too many wrong ones.

Locks run on the boot clock alone, which nobody can set. In another boot than the lock's only the
time since that boot counts as waited: less than the truth, so that neither a reboot nor a stepped
wall clock shortens a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from kiosk.clock import Clock, Reading
from kiosk.people import People
from kiosk.store import Store

#: Wrong PINs in a row that lock an official's PIN (evidence.md and issue text leave it to us: with
#: six digits and these locks a guesser tries about 130 PINs a day, one chance in 7,700).
WRONG_PER_LOCK = 5
FIRST_LOCK_S = 300
LONGEST_LOCK_S = 3600
#: Wrong PINs at this kiosk, whosever, within the window that lock its PIN pad.
KIOSK_WRONG = 20
KIOSK_WINDOW_S = 600
KIOSK_LOCK_S = 300

# OWASP Password Storage Cheat Sheet: argon2id, 19 MiB, 2 passes, 1 lane. The parameters of a check
# are those in the hash; these matter for the dummy, which must cost the same as the desk's.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


class Verdict(StrEnum):
    """What became of a PIN."""

    OK = "ok"
    WRONG = "wrong"
    LOCKED = "locked"
    NO_PIN = "no_pin"


@dataclass(frozen=True)
class PinResult:
    """The verdict, and for `locked` how many seconds are left (rounded up)."""

    verdict: Verdict
    wait_s: int = 0


def digest(pin_key: bytes, pin: str) -> bytes:
    """HMAC-SHA256 of the PIN's digits, 32 bytes: what argon2id hashes (docs/wire.md)."""
    return hmac.new(pin_key, pin.encode(), hashlib.sha256).digest()


def hash_pin(pin_key: bytes, pin: str) -> str:
    """The argon2id hash as the desk makes it."""
    return HASHER.hash(digest(pin_key, pin))


class Pins:
    """Checks PINs against the gallery's hashes; attempts are kept in the store."""

    def __init__(self, store: Store, people: People, clock: Clock) -> None:
        self._store = store
        self._people = people
        self._clock = clock
        self._dummy = HASHER.hash(b"\0" * 32)

    def use(self, people: People) -> None:
        """Another gallery came; attempts and locks stay."""
        self._people = people

    def verify(self, official: str, pin: str) -> PinResult:
        """Whether this is the official's PIN.

        An attempt is counted on the disk before it is checked, so that pulling the plug saves a
        guesser nothing. An official without a PIN costs the same time as one with a wrong one.
        Raises StoreUnusable.
        """
        people = self._people
        now = self._clock.read()
        known = people.pin_hash(official)
        with self._store.transaction() as db:
            left = max(_official_left(db, official, now), _kiosk_left(db, now))
            if known is None:
                left = 0  # there is nothing to guess, and no check-in is turned away
            elif left == 0:
                _charge(db, official, now)
        if left:
            return PinResult(Verdict.LOCKED, left)
        right = False
        with contextlib.suppress(Argon2Error, InvalidHashError):
            right = HASHER.verify(known or self._dummy, digest(people.pin_key, pin))
        if known is None:
            return PinResult(Verdict.NO_PIN)
        if not right:
            return PinResult(Verdict.WRONG)
        with self._store.transaction() as db:
            db.execute("DELETE FROM attempts WHERE official = ?", (official,))
            db.execute("DELETE FROM wrong_pins WHERE number = (SELECT max(number) FROM wrong_pins)")
        return PinResult(Verdict.OK)

    def locked_for(self, official: str | None = None) -> int:
        """Seconds until a PIN may be tried (of that official, else at this kiosk at all)."""
        now = self._clock.read()
        with self._store.transaction() as db:
            left = _kiosk_left(db, now)
            return max(left, _official_left(db, official, now)) if official else left


def _elapsed_s(boot_id: str, boottime_ns: int, now: Reading) -> float:
    start = boottime_ns if boot_id == now.boot_id else 0
    return (now.boottime_ns - start) / 1e9


def _left(lock_s: int, elapsed_s: float) -> int:
    return max(0, -int(-(lock_s - elapsed_s) // 1))


def _official_left(db: sqlite3.Connection, official: str, now: Reading) -> int:
    row = db.execute(
        "SELECT wrong, boot_id, boottime_ns FROM attempts WHERE official = ?", (official,)
    ).fetchone()
    if row is None or row[0] == 0 or row[0] % WRONG_PER_LOCK:
        return 0
    lock_s = min(LONGEST_LOCK_S, FIRST_LOCK_S << min(row[0] // WRONG_PER_LOCK - 1, 10))
    return _left(lock_s, _elapsed_s(row[1], row[2], now))


def _kiosk_left(db: sqlite3.Connection, now: Reading) -> int:
    rows = db.execute(
        "SELECT boot_id, boottime_ns FROM wrong_pins ORDER BY number DESC LIMIT ?", (KIOSK_WRONG,)
    ).fetchall()
    if len(rows) < KIOSK_WRONG:
        return 0
    newest = _elapsed_s(rows[0][0], rows[0][1], now)
    oldest = _elapsed_s(rows[-1][0], rows[-1][1], now)
    if oldest - newest > KIOSK_WINDOW_S:
        return 0
    return _left(KIOSK_LOCK_S, newest)


def _charge(db: sqlite3.Connection, official: str, now: Reading) -> None:
    db.execute(
        "INSERT INTO attempts VALUES (?, 1, ?, ?) ON CONFLICT (official) DO UPDATE SET "
        "wrong = wrong + 1, boot_id = excluded.boot_id, boottime_ns = excluded.boottime_ns",
        (official, now.boot_id, now.boottime_ns),
    )
    db.execute("INSERT INTO wrong_pins VALUES (NULL, ?, ?)", (now.boot_id, now.boottime_ns))
    db.execute(
        "DELETE FROM wrong_pins WHERE number <= (SELECT max(number) FROM wrong_pins) - ?",
        (KIOSK_WRONG,),
    )
