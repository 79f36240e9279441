"""Files of the desk: private, replaced atomically, locked across processes."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enroll.errors import DeskUnusable

LOCK_PATIENCE_S = 60.0
"""How long a command waits for another one on the same data before it gives up."""


def make_private(folder: Path) -> None:
    """Make `folder` and what is above it; 0700 where it is new. Raises DeskUnusable."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise unusable(folder, error) from None


def write_private(path: Path, data: bytes, *, scrub: bool = False) -> None:
    """Replace `path` by `data`, mode 0600: either the old bytes or the new ones survive a cut.

    scrub: overwrite the old file's bytes once the new file stands. Raises DeskUnusable.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    old: int | None = None
    try:
        if scrub and path.is_file():
            old = os.open(path, os.O_RDWR)
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if old is not None:
            os.pwrite(old, secrets.token_bytes(os.fstat(old).st_size), 0)
            os.fsync(old)
    except OSError as error:
        raise unusable(path, error) from None
    finally:
        if old is not None:
            os.close(old)


@contextmanager
def locked(path: Path, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Hold the lock file `path` against other processes and threads. Raises DeskUnusable."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unusable(path, error) from None
    try:
        end = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DeskUnusable(
                        f"另一个 quxiang-enroll 正在使用 {path.parent}，请等它结束后再试",
                        f"another quxiang-enroll is busy with {path.parent}: wait until it ends",
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def unusable(path: Path, error: OSError) -> DeskUnusable:
    """The fault in words: which file, and what the system said of it."""
    what = error.strerror or str(error)
    return DeskUnusable(
        f"无法使用 {path}：{what}；请检查磁盘空间和权限",
        f"{path} cannot be used: {what}; check the disk's space and the permissions",
    )
