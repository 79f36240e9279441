"""What an earlier kiosk left in a folder, moved aside where it is paired anew: never deleted.

DIR/earlier-N/ is then a kiosk's folder of its own: where its keys and its database can still be
read, `quxiang-kiosk sync --data DIR/earlier-N` uploads what waits there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from attendance.i18n import say
from kiosk.config import (
    CONFIG,
    DATABASE,
    KEYS,
    PORTRAITS,
    PROPOSALS,
    VAULT,
    KioskConfig,
    copy_of,
    load_config,
    load_keys,
    save_config,
    sync_folder,
)
from kiosk.errors import ConfigInvalid, NotPaired, StoreNewer
from kiosk.store import Store

MOVING = ".setting-aside"
"""Until everything is in it: a power cut in between leaves one folder to go on with, not two halves
of a database."""
DATABASES = tuple(f"{DATABASE}{end}" for end in ("", "-wal", "-shm", "-journal"))
#: In the order in which they go: as long as the configuration is there, the folder is somebody's.
_ALL = (
    *DATABASES, VAULT, PROPOSALS, PORTRAITS,
    KEYS, copy_of(Path(KEYS)).name, CONFIG, copy_of(Path(CONFIG)).name,
)  # fmt: skip
#: What an unfinished pairing leaves too, and may go on with.
_OURS = (KEYS, copy_of(Path(KEYS)).name)


def remains(folder: Path) -> bool:
    """Whether a kiosk's files lie here, beside keys that were made for a pairing only."""
    return any((folder / name).exists() for name in (MOVING, *_ALL) if name not in _OURS)


def set_aside(folder: Path, names: Iterable[str] = _ALL) -> Path:
    """Moves them into a folder of their own beside; where. Goes on where a power cut stopped it.

    Nobody may have them open. Raises OSError.
    """
    moving = folder / MOVING
    moving.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(moving / name)
    sync_folder(moving)
    number = 1
    while (folder / f"earlier-{number}").exists():
        number += 1
    kept = moving.rename(folder / f"earlier-{number}")
    sync_folder(folder)
    return kept


def unsent(folder: Path) -> tuple[str | None, int | None]:
    """Whose database lies there and how many records it has that no ack has answered; None for
    what cannot be read. Nothing is written."""
    with contextlib.suppress(sqlite3.Error):
        uri = f"{(folder / DATABASE).absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            owner = db.execute("SELECT value FROM meta WHERE key = 'device'").fetchone()
            waiting = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
            return (None if owner is None else str(owner[0])), int(waiting)
    return None, None


def told_aside(kept: Path, now: KioskConfig) -> str:
    """What to say of `kept`, made usable by itself as far as it can be.

    now: whose the folder is since; of a kiosk whose configuration is lost the server is the same.
    """
    device, waiting = unsent(kept)
    uploads = False
    # Faults of the card are OSErrors too.
    with contextlib.suppress(NotPaired, ConfigInvalid, StoreNewer, OSError):
        load_keys(kept)
        if device is not None:
            Store.open(kept / DATABASE, device, create=False).close()
            try:
                load_config(kept)
            except (NotPaired, ConfigInvalid):
                save_config(kept, msgspec.structs.replace(now, device=device))
            uploads = True
    with contextlib.suppress(NotPaired, ConfigInvalid):
        device = load_config(kept).device
    parts = [
        say(
            f"原有文件已移到 {kept}，没有删除",
            f"what was here before lies in {kept}, nothing was deleted",
        )
    ]
    if (kept / DATABASE).exists() and waiting != 0:
        parts.append(_waits(kept, waiting, uploads=uploads))
    if device is not None:
        # Until then the site's days stay open: the server waits for that kiosk's records.
        parts.append(
            say(
                f"然后在服务器上撤销旧终端：quxiang-server device revoke {device}",
                "then revoke the old kiosk on the server: "
                f"quxiang-server device revoke {device}",
            )
        )
    return say("；", "; ").join(parts) + say("。", "")


def _waits(kept: Path, waiting: int | None, *, uploads: bool) -> str:
    if waiting is None:
        return say(
            "其中可能有尚未上传的记录，已读不出：请保留该目录并告诉管理员",
            "it may hold records that were never uploaded, which cannot be read: keep that folder "
            "and tell the administrator",
        )
    if uploads:
        return say(
            f"其中 {waiting} 条记录尚未上传：请运行 quxiang-kiosk sync --data {kept} 上传",
            f"{waiting} of its records were never uploaded: upload them by "
            f"quxiang-kiosk sync --data {kept}",
        )
    return say(
        f"其中 {waiting} 条记录尚未上传：请保留该目录并告诉管理员",
        f"{waiting} of its records were never uploaded: keep that folder and tell the "
        "administrator",
    )
