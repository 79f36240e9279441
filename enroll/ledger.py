"""What the desk keeps of kiosks: pinned keys, gallery versions, tombstones and their receipts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from attendance import wire
from attendance.errors import SignatureInvalid
from attendance.galleries import next_version
from attendance.receipts import check_receipt
from attendance.records import MAX_INT
from attendance.signing import fingerprint, from_text
from attendance.statuses import SiteKind
from enroll.keyring import KEY_BYTES
from enroll.store import Store


@dataclass(frozen=True)
class Kiosk:
    """A kiosk as pinned at first use, and what was sealed for it last."""

    device: str
    site: str
    site_kind: SiteKind
    sign_key: str
    box_key: str
    revoked: bool
    version: int
    put_version: int
    digest: str | None
    made_ms: int | None

    @property
    def box_public(self) -> bytes:
        """The X25519 key to seal to, 32 bytes."""
        return from_text(self.box_key, 32)

    @property
    def fingerprint(self) -> str:
        """Of the key that galleries are sealed to; the kiosk's screen shows the same."""
        return fingerprint(self.box_public)


@dataclass(frozen=True)
class Owed:
    """An erasure that a kiosk has not confirmed yet."""

    device: str
    site: str
    official: str
    at_ms: int
    revoked: bool


@dataclass(frozen=True)
class Receipt:
    """A kiosk's signed word that a face is gone since gallery `version`."""

    device: str
    site: str
    official: str
    version: int
    received_ms: int


def _is_signed(row: wire.ErasureRow, sign_key: bytes | None) -> bool:
    if sign_key is None or row.version is None or row.signature is None:
        return False
    if not (0 <= row.version <= MAX_INT and 0 <= row.received_ms <= MAX_INT):
        return False  # no kiosk writes that, and no database holds it
    try:
        check_receipt(sign_key, row.device, row.official, row.version, row.signature)
    except SignatureInvalid:
        return False
    return True


class Ledger:
    """See the module; it writes through the store's connection and lock."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def kiosks(self) -> list[Kiosk]:
        """Every kiosk ever seen, by site."""
        found = self.store.rows(
            "SELECT device, site, site_kind, sign_key, box_key, revoked, version, put_version,"
            " digest, made_ms FROM kiosks ORDER BY site, device"
        )
        return [
            Kiosk(row[0], row[1], SiteKind(row[2]), row[3], row[4], bool(row[5]), *row[6:])
            for row in found
        ]

    def kiosk(self, device: str) -> Kiosk | None:
        """One kiosk."""
        return next((k for k in self.kiosks() if k.device == device), None)

    def see(self, row: wire.KioskRow, now_ms: int, accept: frozenset[str]) -> bool | None:
        """Compare a kiosk with what was pinned, pinning it where it is new.

        True: new. False: known, nothing changed. None: its key or site is another one than was
        pinned, and its fingerprint is not in `accept`: nothing was taken over.
        Raises SignatureInvalid for keys that are none.
        """
        print_of = fingerprint(from_text(row.box_key, 32))
        from_text(row.sign_key, 32)
        with self.store.transaction() as db:
            known = self.kiosk(row.device)
            if known is None:
                db.execute(
                    "INSERT INTO kiosks (device, site, site_kind, sign_key, box_key, seen_ms,"
                    " revoked, pin_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        row.device,
                        row.site,
                        row.site_kind,
                        row.sign_key,
                        row.box_key,
                        now_ms,
                        row.revoked,
                        self.store.keyring.wrap(secrets.token_bytes(KEY_BYTES)),
                    ),
                )
                return True
            db.execute("UPDATE kiosks SET revoked = ? WHERE device = ?", (row.revoked, row.device))
            if (known.site, known.site_kind, known.sign_key, known.box_key) == (
                row.site,
                row.site_kind,
                row.sign_key,
                row.box_key,
            ):
                return False
            if print_of not in accept:
                return None
            db.execute(
                "UPDATE kiosks SET site = ?, site_kind = ?, sign_key = ?, box_key = ?,"
                " digest = NULL WHERE device = ?",
                (row.site, row.site_kind, row.sign_key, row.box_key, row.device),
            )
            return False

    def pin_key(self, device: str) -> bytes:
        """The kiosk's secret with which its PIN hashes are keyed, 32 bytes."""
        with self.store.locked():
            found = self.store.rows("SELECT pin_key FROM kiosks WHERE device = ?", device)
            return self.store.keyring.unwrap(found[0][0])

    def pin_hash(self, device: str, official: str, mark: str) -> str | None:
        """The hash made before of the same PIN for the same kiosk."""
        found = self.store.rows(
            "SELECT phc FROM pin_hashes WHERE device = ? AND official = ? AND mark = ?",
            device,
            official,
            mark,
        )
        return found[0][0] if found else None

    def keep_pin_hashes(self, device: str, hashes: dict[str, tuple[str, str]]) -> None:
        """Keep hashes: official -> (mark of the PIN, argon2id string)."""
        with self.store.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO pin_hashes VALUES (?, ?, ?, ?)",
                [(device, who, mark, phc) for who, (mark, phc) in hashes.items()],
            )

    def token_mark(self, device: str, official: str, kind: str, mark: str) -> bytes | None:
        """What was made before of the same card or badge for the same kiosk."""
        found = self.store.rows(
            "SELECT value FROM token_marks WHERE device = ? AND official = ? AND kind = ?"
            " AND mark = ?",
            device,
            official,
            kind,
            mark,
        )
        return bytes(found[0][0]) if found else None

    def keep_token_mark(
        self, device: str, official: str, kind: str, mark: str, value: bytes
    ) -> None:
        """Keep what was made of a card or badge."""
        with self.store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO token_marks VALUES (?, ?, ?, ?, ?)",
                (device, official, kind, mark, value),
            )

    def next_version(self, device: str, held: int, faces: list[str], now_ms: int) -> int:
        """Give out the kiosk's next version, above `held`, and note whose faces will be in it,
        before anything leaves the desk."""
        with self.store.transaction() as db:
            last = db.execute("SELECT version FROM kiosks WHERE device = ?", (device,)).fetchone()
            version = next_version(last[0], held, now_ms)
            db.execute("UPDATE kiosks SET version = ? WHERE device = ?", (version, device))
            db.executemany(
                "INSERT OR IGNORE INTO sealed_faces VALUES (?, ?)", [(device, who) for who in faces]
            )
            db.execute(
                "UPDATE tombstones SET version = ? WHERE device = ? AND version IS NULL",
                (version, device),
            )
        return version

    def was_put(self, device: str, version: int, digest: str, made_ms: int) -> None:
        """The server took that version."""
        with self.store.transaction() as db:
            db.execute(
                "UPDATE kiosks SET put_version = ?, digest = ?, made_ms = ? WHERE device = ?",
                (version, digest, made_ms, device),
            )

    # -- withdrawals, tombstones, receipts ------------------------------------------------------
    def bury(
        self, official: str, at_ms: int, *, told: bool = False, also: Iterable[str] = ()
    ) -> list[str]:
        """Queue the withdrawal for the server, and a tombstone for every kiosk that may hold the
        face. Returns those kiosks.

        told: the server knows of it. also: kiosks that may hold it besides those sealed to.
        """
        with self.store.transaction() as db:
            db.execute(
                "INSERT INTO withdrawals (official, at_ms, sent) VALUES (?, ?, ?)",
                (official, at_ms, told),
            )
            db.executemany(
                "INSERT OR IGNORE INTO sealed_faces VALUES (?, ?)",
                [(device, official) for device in also],
            )
            devices = [
                device
                for (device,) in db.execute(
                    "SELECT device FROM sealed_faces WHERE official = ? AND device NOT IN"
                    " (SELECT device FROM tombstones WHERE official = ? AND receipt IS NULL)",
                    (official, official),
                ).fetchall()
            ]
            db.executemany(
                "INSERT INTO tombstones (device, official, at_ms) VALUES (?, ?, ?)",
                [(device, official, at_ms) for device in devices],
            )
        return devices

    def unsent_withdrawals(self) -> list[tuple[int, str, int]]:
        """Withdrawals that the server has not heard of: (id, official, Unix ms)."""
        found = self.store.rows("SELECT id, official, at_ms FROM withdrawals WHERE NOT sent")
        return [(ident, official, at_ms) for ident, official, at_ms in found]

    def sent_withdrawals(self) -> list[tuple[int, str, int]]:
        """Withdrawals that a server was told of: (id, official, Unix ms)."""
        found = self.store.rows("SELECT id, official, at_ms FROM withdrawals WHERE sent")
        return [(ident, official, at_ms) for ident, official, at_ms in found]

    def withdrawals(self) -> set[tuple[str, int]]:
        """Every withdrawal of this desk, as (official, Unix ms)."""
        return set(self.store.rows("SELECT official, at_ms FROM withdrawals"))

    def withdrawal_sent(self, ident: int) -> None:
        """The server has it. It dropped the galleries that may hold the person: all are due."""
        with self.store.transaction() as db:
            db.execute("UPDATE withdrawals SET sent = 1 WHERE id = ?", (ident,))
            db.execute("UPDATE kiosks SET digest = NULL")

    def tombstones(self, device: str) -> list[str]:
        """Officials whom this kiosk must erase, by id."""
        found = self.store.rows(
            "SELECT DISTINCT official FROM tombstones WHERE device = ? AND receipt IS NULL"
            " ORDER BY official",
            device,
        )
        return [who for (who,) in found]

    def has_new_tombstone(self, device: str) -> bool:
        """Whether one is not in any gallery that the server took (a USB stick may be lost)."""
        return bool(
            self.store.rows(
                "SELECT 1 FROM tombstones t JOIN kiosks k ON k.device = t.device"
                " WHERE t.device = ? AND t.receipt IS NULL"
                " AND (t.version IS NULL OR t.version > k.put_version) LIMIT 1",
                device,
            )
        )

    def take_receipts(
        self, rows: list[wire.ErasureRow]
    ) -> tuple[list[wire.ErasureRow], list[wire.ErasureRow]]:
        """Note the kiosks' receipts: those that settle a tombstone, and those that are forged.

        One settles what its manifest had asked for: a receipt for an earlier withdrawal says
        nothing about a later one. What the kiosk's pinned key did not sign is not kept at all.
        """
        settled, forged = [], []
        keys = {kiosk.device: from_text(kiosk.sign_key, 32) for kiosk in self.kiosks()}
        with self.store.transaction() as db:
            known = {name for (name,) in db.execute("SELECT record_id FROM receipts")}
            for row in rows:
                if row.record_id in known:
                    continue
                if not _is_signed(row, keys.get(row.device)):
                    forged.append(row)
                    continue
                db.execute(
                    "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (row.record_id, row.device, row.official, row.received_ms, row.head,
                     row.version, row.signature),
                )  # fmt: skip
                done = db.execute(
                    "UPDATE tombstones SET receipt = ? WHERE device = ? AND official = ?"
                    " AND receipt IS NULL AND version <= ?",
                    (row.record_id, row.device, row.official, row.version),
                ).rowcount
                if done:
                    settled.append(row)
                    db.execute(
                        "DELETE FROM sealed_faces WHERE device = ? AND official = ?",
                        (row.device, row.official),
                    )
        return settled, forged

    def receipts(self) -> list[Receipt]:
        """Every receipt whose signature was checked, oldest first."""
        found = self.store.rows(
            "SELECT r.device, k.site, r.official, r.version, r.received_ms FROM receipts r"
            " JOIN kiosks k ON k.device = r.device WHERE r.signature IS NOT NULL"
            " ORDER BY r.received_ms, r.device, r.official"
        )
        return [Receipt(*row) for row in found]

    def owed(self, official: str | None = None) -> list[Owed]:
        """Erasures not confirmed yet (of one official, where given)."""
        found = self.store.rows(
            "SELECT t.device, k.site, t.official, t.at_ms, k.revoked FROM tombstones t"
            " JOIN kiosks k ON k.device = t.device WHERE t.receipt IS NULL"
            " AND (? IS NULL OR t.official = ?) ORDER BY t.at_ms, k.site",
            official,
            official,
        )
        return [Owed(row[0], row[1], row[2], row[3], bool(row[4])) for row in found]
