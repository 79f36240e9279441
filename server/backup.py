"""The whole state of a server in one file, and back."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from attendance.days import SHANGHAI, from_ms
from attendance.i18n import say
from server.config import ServerConfig, load_keys, store_url
from server.db import Database
from server.errors import AlreadyInitialised, BackupInvalid, DatabaseUnusable
from server.migrate import migrate
from server.models import AuditEntry, Contact, Township
from server.services.access import sessions
from server.services.evidence import audit, checkpoints
from server.sqlite import LIBRARY
from server.transfer import copy_into

_KEYS = ("secret.key", "server.key")
_DATABASE = "server.db"
_PORTRAITS = "portraits"


def backup(config: ServerConfig, target: Path) -> None:
    """Writes database, keys and portraits into a tar file (0600), while the server serves.

    The database in it is a SQLite file, also where it lies in PostgreSQL: one form, which
    `restore` puts into either. The file appears whole or not at all. Raises NotInitialised,
    DatabaseUnusable, OSError.
    """
    load_keys(config)
    with tempfile.TemporaryDirectory(dir=config.data, prefix=".backup-") as folder:
        copy = Path(folder) / _DATABASE
        # Linked before and after the copy: whatever it names is there, deleted meanwhile or not.
        pictures = Path(folder) / _PORTRAITS
        pictures.mkdir()
        _link_all(config.portraits, pictures)
        if config.is_sqlite:
            _copy_database(config.database_file, copy)
        else:
            copy_into(config, ServerConfig(Path(folder)))
        _link_all(config.portraits, pictures)
        waiting = target.with_name(target.name + ".new")
        handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                with tarfile.open(fileobj=file, mode="w") as tar:
                    for name in _KEYS:
                        _add(tar, name, (config.data / name).read_bytes())
                    tar.add(copy, _DATABASE)
                    for path in sorted(pictures.iterdir()):
                        _add(tar, f"{_PORTRAITS}/{path.name}", path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
            waiting.replace(target)
        except BaseException:
            waiting.unlink(missing_ok=True)
            raise


def _link_all(source: Path, target: Path) -> None:
    for path in source.glob("*.jpg"):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            (target / path.name).hardlink_to(path)


def _copy_database(source: Path, target: Path) -> None:
    try:
        with (
            closing(LIBRARY.module.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as old,
            closing(LIBRARY.module.connect(target)) as new,
        ):
            old.backup(new)
    except LIBRARY.module.Error as error:
        raise DatabaseUnusable(
            say(f"无法读取数据库 {source}：{error}", f"cannot read the database {source}: {error}")
        ) from None


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o600
    tar.addfile(info, io.BytesIO(data))


def restore(config: ServerConfig, source: Path, now: datetime) -> datetime:
    """Puts a backup into an empty (or no) data folder and, where one is named, a database.

    Returns when the backup was made, by the clock of the machine that made it.

    The audit trail says so: a witness that saw more than the backup holds is explained by it.
    Raises AlreadyInitialised for a folder or database that holds anything, BackupInvalid for
    another file.
    """
    if config.data.exists() and any(config.data.iterdir()):
        raise AlreadyInitialised(
            say(
                f"{config.data} 不是空文件夹，不会覆盖：请换一个文件夹",
                f"{config.data} is not empty and is not overwritten: choose another folder",
            )
        )
    config.data.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=config.data.parent, prefix=".restore-"))
    try:
        since = _unpack(source, made)
        load_keys(ServerConfig(made))
        _check_database(made / _DATABASE)
        here = ServerConfig(made)
        migrate(here)  # a backup may be of an older release
        _note(here, since, now)
        if not config.is_sqlite:
            copy_into(here, config)
            here.database_file.unlink()
            store_url(ServerConfig(made, config.database_url))
        if config.data.exists():
            config.data.rmdir()
        made.rename(config.data)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return since


def to_check(since: datetime) -> list[str]:
    """What people must look at after a restore, one sentence a line: what happened after the
    backup is not in it, and no program can know it all."""
    at = since.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")
    return [
        say(
            f"备份是 {at} 做的，此后的改动都不在其中。请逐项核对：",
            f"the backup was made at {at} (Asia/Shanghai); what was changed after that is not in "
            "it. Check:",
        ),
        say(
            "- 终端：此后停用的又可信，须再次停用；此后配对的本机不认识，须在其上运行 "
            "quxiang-kiosk pair --again（docs/deploy.md 第 7 节）：quxiang-server device list",
            "- kiosks: one revoked since is trusted again, so revoke it again; one paired since is "
            "not known and wants quxiang-kiosk pair --again (docs/deploy.md, 7): "
            "quxiang-server device list",
        ),
        say(
            "- 账号：此后停用的又可用，密码和角色是当时的；令牌和 webhook 也一样：quxiang-server "
            "user list、webhook list，网页“令牌”",
            "- accounts: one disabled since is in force again, with the password and the role of "
            "then; the same holds for tokens and webhooks: quxiang-server user list, webhook list, "
            "and the page of the tokens",
        ),
        say(
            "- 撤回同意：在登记台运行 quxiang-enroll sync，会把此后的撤回再次告知本机",
            "- withdrawals of consent: run quxiang-enroll sync at the enrolment desk, which tells "
            "of those made since again",
        ),
        say(
            "- 此后的请假、更正、裁定、月表签字和设置须重新录入；登记记录由终端自动补传",
            "- leave, corrections, rulings, signed months and settings made since must be entered "
            "again; the kiosks send their records again by themselves",
        ),
    ]


def _note(config: ServerConfig, since: datetime, now: datetime) -> None:
    database = Database(config)
    try:
        with database.transaction() as session:
            last = checkpoints.last_of(session)
            # By the server's own clock or that of the backup, whichever says less.
            newest = [
                from_ms(ms)
                for ms in session.scalars(
                    select(func.max(Contact.server_ms)).union(select(func.max(AuditEntry.at_ms)))
                )
                if ms is not None
            ]
            until = min(since, max(newest, default=since))
            known = f"up to {until.isoformat(timespec='seconds')}"
            target = known if last is None else f"checkpoint {last.id}, {known}"
            for township_id in session.scalars(select(Township.id)).all():
                audit.note_for(session, township_id, "command", "restore", target, now)
            sessions.end_everybodys(session)  # whoever was signed in then, perhaps no longer may
    finally:
        database.close()


def _unpack(source: Path, folder: Path) -> datetime:
    made_s = 0.0
    (folder / _PORTRAITS).mkdir()
    try:
        with tarfile.open(source, mode="r:") as tar:
            for member in tar:
                parts = Path(member.name).parts
                plain = member.name in (*_KEYS, _DATABASE)
                picture = len(parts) == 2 and parts[0] == _PORTRAITS and parts[1].endswith(".jpg")
                file = tar.extractfile(member) if member.isreg() and (plain or picture) else None
                if file is None:
                    raise BackupInvalid(_not_one(source))
                if member.name == _DATABASE:
                    made_s = member.mtime
                path = folder / member.name
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as out:
                    shutil.copyfileobj(file, out)
                    out.flush()
                    os.fsync(out.fileno())
    except (tarfile.TarError, EOFError, FileExistsError):
        raise BackupInvalid(_not_one(source)) from None
    if not all((folder / name).is_file() for name in (*_KEYS, _DATABASE)):
        raise BackupInvalid(_not_one(source))
    return from_ms(int(made_s * 1000))


def _check_database(path: Path) -> None:
    try:
        with closing(LIBRARY.module.connect(path)) as database:
            answer = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except LIBRARY.module.Error as error:
        answer, version = str(error), None
    if answer != "ok" or version is None:
        raise BackupInvalid(
            say(f"备份中的数据库已损坏：{answer}", f"the backup's database is damaged: {answer}")
        )


def _not_one(source: Path) -> str:
    return say(
        f"{source} 不是 quxiang-server backup 生成的文件",
        f"{source} is not a file that quxiang-server backup wrote",
    )
