"""A damaged database, begun anew: what waits in it is read and uploaded, the file is set aside.

Only where everything that waited could be read and the server has it. Then nothing is missing there
that the new epoch, whose server-side past ends with its first record, would pass over: where a
check-in were lost unseen, somebody would be marked absent wrongly. Else the kiosk is paired anew
(`kiosk.pairing`): the days of the damaged one then stay open.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from attendance.chain import genesis, next_head
from attendance.errors import QuxiangError
from attendance.statuses import Kind
from kiosk.aside import DATABASES, MOVING, set_aside
from kiosk.clock import Clock
from kiosk.config import DATABASE, VAULT, load_config, load_keys, save_config, sync_folder
from kiosk.drafts import Draft
from kiosk.errors import KioskError, StoreUnusable
from kiosk.exchange import SyncClient
from kiosk.store import Store
from kiosk.vault import Vault

MAKING, MADE = ".mending", ".mended"
"""While the new database is made, and once it is whole: a power cut leaves either or none."""
KEPT = ("gallery_taken", "release", "refusals", "last_contact_ms", "snapshot")
"""What is taken over beside the records where it can be read."""
UNREADABLE = (
    "数据库已损坏，其中尚未上传的记录读不全：请用新的配对码重新配对（quxiang-kiosk pair），"
    "原有文件会移到一旁，不会删除。",
    "the database is damaged, and not all of its records that wait for upload can be read: pair "
    "anew with a fresh code (quxiang-kiosk pair); what is here is then set aside, not deleted",
)


@dataclass(frozen=True)
class _Waiting:
    """What no ack has answered: rows as the store keeps them, in order and without a gap, and the
    head before the first of them."""

    rows: list[tuple[int, int, bytes, bytes]]
    before: bytes
    cites: dict[int, bytes]


def mend(folder: Path, clock: Clock) -> None:
    """Begins the folder's damaged database anew, in an epoch that cites the server's head.

    The folder's run lock is held. Raises StoreUnusable (`corrupt`, with what to do) where something
    that waited cannot be read, or the server was not reached or refused.
    """
    config, keys = load_config(folder), load_keys(folder)
    waiting, kept, erased = _read(folder / DATABASE, config.device)
    if waiting is None:
        raise StoreUnusable("corrupt", *UNREADABLE)
    vault = Vault(folder / VAULT)
    shutil.rmtree(folder / MAKING, ignore_errors=True)
    (folder / MAKING).mkdir(mode=0o700)

    def exchange(store: Store) -> None:
        client = SyncClient(
            config, keys, store, vault, clock, save=lambda learned: save_config(folder, learned)
        )
        with contextlib.closing(client):
            client.exchange()

    try:
        if waiting.rows:
            with Store.open(folder / MAKING / "waiting.db", config.device) as old:
                _take_over(old, kept, erased)
                _fill(old, waiting)
                exchange(old)
                if old.pending():
                    raise StoreUnusable("corrupt", *UNREADABLE)
        with Store.open(folder / MAKING / DATABASE, config.device) as store:
            _take_over(store, {**kept, "mended_ms": str(clock.read().wall_ms)}, erased)
            exchange(store)
            said = f"the database was damaged; {len(waiting.rows)} records that waited in it were"
            store.record(Draft(kind=Kind.FAULT, detail=f"{said} uploaded first"), clock.read())
    except StoreUnusable:
        raise
    except QuxiangError as error:
        words = (error.zh, error.en) if isinstance(error, KioskError) else (str(error),) * 2
        raise StoreUnusable(
            "corrupt",
            f"数据库已损坏：联上服务器后自动重新开始，旧文件会保留；请更换存储卡。{words[0]}",
            "the database is damaged: it is begun anew once the server answers, the old file is "
            f"kept; have the card replaced ({words[1]})",
        ) from error
    (folder / MAKING).rename(folder / MADE)
    sync_folder(folder)
    finish(folder)


def finish(folder: Path) -> None:
    """Puts a database that was made anew in the damaged one's place, also after a power cut in the
    middle of that. Raises OSError."""
    made = folder / MADE
    if not made.is_dir():
        return
    if (made / DATABASE).exists():
        if (folder / MOVING).exists() or any((folder / name).exists() for name in DATABASES):
            set_aside(folder, DATABASES)
        (made / DATABASE).rename(folder / DATABASE)
        sync_folder(folder)
    shutil.rmtree(made)


def _read(
    path: Path, device: str
) -> tuple[_Waiting | None, dict[str, str | None], list[tuple[str, int]]]:
    """What waits (None where not all of it can be read), what else is kept, and whose erasure has
    its receipt. Nothing is written."""
    kept: dict[str, str | None] = {}
    erased: list[tuple[str, int]] = []
    waiting = None
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db,
    ):
        for key in KEPT:
            with contextlib.suppress(sqlite3.Error):
                row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    kept[key] = str(row[0])
        with contextlib.suppress(sqlite3.Error):
            erased = [(str(a), int(b)) for a, b in db.execute("SELECT * FROM erased").fetchall()]
        waiting = _waiting(db, device)
    return waiting, kept, erased


def _waiting(db: sqlite3.Connection, device: str) -> _Waiting | None:
    """Raises sqlite3.Error where a page cannot be read."""
    owner = db.execute("SELECT value FROM meta WHERE key = 'device'").fetchone()
    places = db.execute("SELECT epoch, seq FROM outbox ORDER BY epoch, seq").fetchall()
    cites = {int(e): bytes(c) for e, c in db.execute("SELECT epoch, cites FROM epochs").fetchall()}
    if owner is None or owner[0] != device or not cites:
        return None
    if not places:
        return _Waiting([], b"", cites)
    ask = "SELECT payload, head FROM records WHERE epoch = ? AND seq = ?"
    epoch, first = places[0]
    before = genesis(device, epoch, cites.get(epoch, b""))
    if first > 1:
        row = db.execute(ask, (epoch, first - 1)).fetchone() or db.execute(
            "SELECT NULL, head FROM pruned WHERE epoch = ? AND seq = ?", (epoch, first - 1)
        ).fetchone()
        if row is None:
            return None
        before = bytes(row[1])
    rows: list[tuple[int, int, bytes, bytes]] = []
    head = before
    for place in places:
        row = db.execute(ask, place).fetchone()
        if row is None or place[0] not in cites:
            return None
        payload, kept = bytes(row[0]), bytes(row[1])
        if rows and place[0] != rows[-1][0]:
            head = genesis(device, place[0], cites[place[0]])
        if rows and place[0] == rows[-1][0] and place[1] != rows[-1][1] + 1:
            return None
        if next_head(head, payload) != kept:
            return None
        head = kept
        rows.append((*place, payload, kept))
    return _Waiting(rows, before, cites)


def _take_over(
    store: Store, kept: dict[str, str | None], erased: list[tuple[str, int]]
) -> None:
    store.set_meta(**kept)
    with store.transaction() as db:
        db.executemany("INSERT OR REPLACE INTO erased VALUES (?, ?)", erased)


def _fill(store: Store, waiting: _Waiting) -> None:
    epoch, first = waiting.rows[0][:2]
    with store.transaction() as db:
        for number, cites in waiting.cites.items():
            db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (number, cites))
        if first > 1:
            db.execute("INSERT INTO pruned VALUES (?, ?, ?)", (epoch, first - 1, waiting.before))
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", waiting.rows)
        db.executemany("INSERT INTO outbox VALUES (?, ?)", [row[:2] for row in waiting.rows])
