"""What the desk keeps of people: particulars, consents, and encrypted faces, PINs and portraits."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import date
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from attendance import tokens, wire
from attendance.statuses import SiteKind
from enroll.database import Database
from enroll.errors import TokenTaken
from enroll.keyring import KEY_BYTES, open_secret, seal_secret

Consented = Literal["face", "portrait", "proposals"]


@dataclass(frozen=True)
class Consent:
    """The latest word on one purpose. `withdrawn_ms` is None while the consent stands."""

    given_on: date
    withdrawn_ms: int | None

    @property
    def stands(self) -> bool:
        """Granted and not withdrawn."""
        return self.withdrawn_ms is None


@dataclass(frozen=True, eq=False)
class StoredFace:
    """One official's templates: float32, shape (k, d), unit length, made by `model`.

    `mark` changes with every enrolment.
    """

    official: str
    model: str
    mark: str
    templates: NDArray[np.float32]


@dataclass(frozen=True)
class StoredPin:
    """A PIN as entered; `mark` changes with it."""

    digits: str
    mark: str

    def __repr__(self) -> str:
        return "StoredPin(...)"


@dataclass(frozen=True)
class StoredToken:
    """A card's number or a badge's code; `mark` changes with it."""

    text: str
    mark: str

    def __repr__(self) -> str:
        return "StoredToken(...)"


class Store(Database):
    """See the module. All methods raise DeskUnusable where the disk fails."""

    # -- particulars --------------------------------------------------------------------------
    def put_official(self, row: wire.RosterRow) -> Literal["new", "updated", "same"]:
        """Add or update one official; the next sync sends what changed."""
        body = wire.encode(row)
        with self.transaction() as db:
            old = db.execute(
                "SELECT row FROM officials WHERE official = ?", (row.official,)
            ).fetchone()
            if old is not None and bytes(old[0]) == body:
                return "same"
            db.execute(
                "INSERT INTO officials (official, row) VALUES (?, ?)"
                " ON CONFLICT (official) DO UPDATE SET row = excluded.row, refused = NULL",
                (row.official, body),
            )
        return "new" if old is None else "updated"

    def official(self, official: str) -> wire.RosterRow | None:
        """Their particulars, None where the desk has nobody of that id."""
        found = self.rows("SELECT row FROM officials WHERE official = ?", official)
        return msgspec.json.decode(found[0][0], type=wire.RosterRow) if found else None

    def officials(self) -> list[wire.RosterRow]:
        """Everybody, by id."""
        found = self.rows("SELECT row FROM officials ORDER BY official")
        return [msgspec.json.decode(row, type=wire.RosterRow) for (row,) in found]

    def known(self) -> set[str]:
        """Everybody's ids."""
        return {who for (who,) in self.rows("SELECT official FROM officials")}

    def unsent(self) -> list[wire.RosterRow]:
        """Those whose row the server has not stored as it stands now."""
        found = self.rows(
            "SELECT row FROM officials WHERE sent IS NULL OR sent != row ORDER BY official"
        )
        return [msgspec.json.decode(row, type=wire.RosterRow) for (row,) in found]

    def roster_result(self, row: wire.RosterRow, refused: str | None) -> None:
        """Note what the server said of a row that was sent."""
        with self.transaction() as db:
            db.execute(
                "UPDATE officials SET sent = ?, refused = ? WHERE official = ?",
                (None if refused else wire.encode(row), refused, row.official),
            )

    def refused(self) -> dict[str, str]:
        """Officials whose row the server refused, and why."""
        return dict(self.rows("SELECT official, refused FROM officials WHERE refused IS NOT NULL"))

    def forget_sent_portrait(self, official: str) -> None:
        """The server has none of them any more: the next import sends it again."""
        with self.transaction() as db:
            db.execute("DELETE FROM portraits WHERE official = ?", (official,))

    def remove_official(self, official: str) -> None:
        """Forget somebody's particulars and PIN; consents and receipts stay as evidence."""
        with self.transaction() as db:
            for table in (
                "officials",
                "secrets",
                "portraits",
                "pin_hashes",
                "token_marks",
                "expected",
            ):
                db.execute(f"DELETE FROM {table} WHERE official = ?", (official,))  # noqa: S608
            db.execute("DELETE FROM alike WHERE a = ? OR b = ?", (official, official))

    def forget_server(self) -> None:
        """Everything must be sent anew: this desk now belongs to another server."""
        with self.transaction() as db:
            db.execute("UPDATE officials SET sent = NULL, refused = NULL")
            # Of kiosks that it does not know, and nothing to be told to it.
            db.execute(
                "UPDATE proposals SET what = coalesce(what, 'erased'), told = 1,"
                " wrapped = NULL, box = NULL"
            )
            for table in (
                "portraits",
                "sites",
                "expected",
                "kiosks",
                "pin_hashes",
                "token_marks",
                "sealed_faces",
            ):
                db.execute(f"DELETE FROM {table}")  # noqa: S608

    # -- consents -----------------------------------------------------------------------------
    def add_consent(self, official: str, what: Consented, given_on: date, at_ms: int) -> None:
        """Append a grant; nothing where the same one stands already."""
        if self.consent(official, what) == Consent(given_on, None):
            return
        with self.transaction() as db:
            db.execute(
                "INSERT INTO consents (official, what, event, given_on, at_ms)"
                " VALUES (?, ?, 'granted', ?, ?)",
                (official, what, given_on.isoformat(), at_ms),
            )

    def end_consent(self, official: str, what: Consented, at_ms: int) -> bool:
        """Append a withdrawal; False where no consent stands."""
        now = self.consent(official, what)
        if now is None or not now.stands:
            return False
        with self.transaction() as db:
            db.execute(
                "INSERT INTO consents (official, what, event, at_ms) VALUES (?, ?, 'withdrawn', ?)",
                (official, what, at_ms),
            )
        return True

    def consent(self, official: str, what: Consented) -> Consent | None:
        """The latest word, None where there never was a consent."""
        found = self.rows(
            "SELECT event, given_on, at_ms FROM consents WHERE official = ? AND what = ?"
            " ORDER BY id DESC LIMIT 2",
            official,
            what,
        )
        if not found:
            return None
        event, given_on, at_ms = found[0]
        if event == "granted":
            return Consent(date.fromisoformat(given_on), None)
        return Consent(date.fromisoformat(found[1][1]), at_ms)

    def granted_ms(self, official: str, what: Consented) -> int | None:
        """When the latest grant was noted here, Unix ms; None where there never was one."""
        found = self.rows(
            "SELECT max(at_ms) FROM consents WHERE official = ? AND what = ?"
            " AND event = 'granted'",
            official,
            what,
        )
        return None if found[0][0] is None else int(found[0][0])

    # -- secrets ------------------------------------------------------------------------------
    def set_face(self, official: str, templates: NDArray[np.float32], model: str) -> None:
        """Replace an official's templates: float32, shape (k, d), k >= 1."""
        block = np.ascontiguousarray(templates, "<f4")
        if block.ndim != 2 or not block.size:
            raise ValueError("templates have the shape (k, d)")
        head = block.shape[1].to_bytes(4, "little")
        self._put_secret(official, "face", head + block.tobytes(), model)

    def face(self, official: str) -> StoredFace | None:
        """An official's templates, None where no face is enrolled."""
        return next(iter(self.faces(official)), None)

    def faces(self, official: str | None = None) -> list[StoredFace]:
        """Everybody's templates (or one official's), by id."""
        found = []
        with self.locked():
            for who, model, mark, wrapped, box in self.rows(
                "SELECT official, model, mark, wrapped, box FROM secrets WHERE kind = 'face'"
                " AND (? IS NULL OR official = ?) ORDER BY official",
                official,
                official,
            ):
                data = open_secret(self.keyring.unwrap(wrapped), f"{who} face", box)
                dimension = int.from_bytes(data[:4], "little")
                block = np.frombuffer(data[4:], "<f4").reshape(-1, dimension)
                found.append(StoredFace(who, model, mark, block.astype(np.float32)))
        return found

    def face_marks(self) -> dict[str, str]:
        """Official -> the mark of the face that is enrolled now."""
        return dict(self.rows("SELECT official, mark FROM secrets WHERE kind = 'face'"))

    def set_pin(self, official: str, digits: str) -> bool:
        """Keep a PIN of six digits; False where it is the one already kept."""
        old = self.pin(official)
        if old is not None and old.digits == digits:
            return False
        self._put_secret(official, "pin", digits.encode())
        return True

    def pin(self, official: str) -> StoredPin | None:
        """An official's PIN, None where there is none."""
        found = self._secret(official, "pin")
        return None if found is None else StoredPin(found[0].decode(), found[1])

    def set_token(self, official: str, kind: tokens.Kind, text: str) -> bool:
        """Keep a card's number or a badge's code, in place of an earlier one; False where it is the
        one already kept. Raises TokenTaken where it is another official's."""
        with self.transaction():
            owner = self._token_owner(kind, text)
            if owner == official:
                return False
            if owner is not None:
                raise TokenTaken(
                    f"这张卡已登记给 {owner}：先用 quxiang-enroll card {owner} --revoke 收回",
                    f"this card is {owner}'s: take it back first with "
                    f"quxiang-enroll card {owner} --revoke",
                )
            self._put_secret(official, kind, text.encode())
        return True

    def token(self, official: str, kind: tokens.Kind) -> StoredToken | None:
        """An official's card or badge, None where there is none."""
        found = self._secret(official, kind)
        return None if found is None else StoredToken(found[0].decode(), found[1])

    def _token_owner(self, kind: tokens.Kind, text: str) -> str | None:
        for (who,) in self.rows("SELECT official FROM secrets WHERE kind = ?", kind):
            kept = self.token(who, kind)
            if kept is not None and hmac.compare_digest(kept.text.encode(), text.encode()):
                return str(who)
        return None

    def set_portrait(self, official: str, jpeg: bytes) -> None:
        """Keep a re-encoded portrait until it is sent."""
        self._put_secret(official, "portrait", jpeg)

    def portrait(self, official: str) -> bytes | None:
        """The portrait that waits to be sent."""
        found = self._secret(official, "portrait")
        return None if found is None else found[0]

    def waiting_portraits(self) -> list[str]:
        """Officials whose portrait has to be sent."""
        found = self.rows("SELECT official FROM secrets WHERE kind = 'portrait' ORDER BY official")
        return [who for (who,) in found]

    def portrait_sent(self, official: str, sha256: str) -> None:
        """The server has it: only its hash is kept."""
        with self.transaction() as db:
            db.execute("DELETE FROM secrets WHERE official = ? AND kind = 'portrait'", (official,))
            db.execute("INSERT OR REPLACE INTO portraits VALUES (?, ?)", (official, sha256))

    def sent_portrait(self, official: str) -> str | None:
        """SHA-256 of the portrait that the server has of them."""
        found = self.rows("SELECT sha256 FROM portraits WHERE official = ?", official)
        return found[0][0] if found else None

    def holds(self, official: str) -> dict[str, str | None]:
        """Kinds of secret kept of somebody (`face`, `pin`, `portrait`), each with its model."""
        return dict(self.rows("SELECT kind, model FROM secrets WHERE official = ?", official))

    def erase(self, official: str, *kinds: str) -> None:
        """Delete secrets of those kinds. Call `shred` afterwards, outside any transaction."""
        with self.transaction() as db:
            for kind in kinds:
                db.execute("DELETE FROM secrets WHERE official = ? AND kind = ?", (official, kind))
            if "face" in kinds:
                db.execute("DELETE FROM alike WHERE a = ? OR b = ?", (official, official))
            if "portrait" in kinds:
                db.execute("DELETE FROM portraits WHERE official = ?", (official,))

    def _put_secret(self, official: str, kind: str, data: bytes, model: str | None = None) -> None:
        key = secrets.token_bytes(KEY_BYTES)
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, ?)",
                (
                    official,
                    kind,
                    model,
                    secrets.token_hex(8),
                    self.keyring.wrap(key),
                    seal_secret(key, f"{official} {kind}", data),
                ),
            )

    def _secret(self, official: str, kind: str) -> tuple[bytes, str] | None:
        with self.locked():
            found = self.rows(
                "SELECT mark, wrapped, box FROM secrets WHERE official = ? AND kind = ?",
                official,
                kind,
            )
            if not found:
                return None
            mark, wrapped, box = found[0]
            return open_secret(self.keyring.unwrap(wrapped), f"{official} {kind}", box), mark

    # -- people who look alike, what the server told of sites and of who is expected there -----
    def mark_alike(self, one: str, other: str, score: float) -> None:
        """Two people of one likeness: both need their PIN after the face."""
        a, b = sorted((one, other))
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO alike VALUES (?, ?, ?)", (a, b, score))

    def mark_distinct(self, one: str, other: str) -> None:
        """They are alike no more, since one of them was enrolled again."""
        with self.transaction() as db:
            db.execute("DELETE FROM alike WHERE a = ? AND b = ?", tuple(sorted((one, other))))

    def alike(self, official: str | None = None) -> set[str]:
        """Officials who share a likeness (with `official`, where given)."""
        pairs = self.rows("SELECT a, b FROM alike")
        if official is None:
            return {who for pair in pairs for who in pair}
        return {b if a == official else a for a, b in pairs if official in (a, b)}

    def set_sites(self, sites: list[wire.SiteRow], now_ms: int) -> None:
        """Replace the list of sites by what the server told."""
        with self.transaction() as db:
            db.execute("DELETE FROM sites")
            db.executemany("INSERT INTO sites VALUES (?, ?)", [(s.site, s.kind) for s in sites])
        self.set_meta("sites_ms", str(now_ms))

    def sites(self) -> dict[str, SiteKind]:
        """Sites by name, as last told by the server; empty where it never did."""
        return {site: SiteKind(kind) for site, kind in self.rows("SELECT * FROM sites")}

    def set_expected(self, rows: list[wire.ExpectedRow]) -> None:
        """Replace whom the server expects at which village by what it told."""
        told = {(row.official, row.site) for row in rows}
        with self.transaction() as db:
            if told == set(db.execute("SELECT official, site FROM expected").fetchall()):
                return
            db.execute("DELETE FROM expected")
            db.executemany("INSERT INTO expected VALUES (?, ?)", sorted(told))

    def expected(self) -> dict[str, list[str]]:
        """Villages where the server expects somebody, in order, by official; as last told."""
        found: dict[str, list[str]] = {}
        for official, site in self.rows("SELECT official, site FROM expected ORDER BY 1, 2"):
            found.setdefault(official, []).append(site)
        return found

    def meta(self, key: str) -> str | None:
        """A setting."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return found[0][0] if found else None

    def set_meta(self, key: str, value: str) -> None:
        """Keep a setting."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
