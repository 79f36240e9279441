"""Encryption at rest: every secret has a key of its own, wrapped by the desk's key.

Erasing a secret means: its row goes, and the desk's key is replaced, so that no copy of the row in
a forgotten corner of the disk can be opened again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from enroll.errors import DeskUnusable
from enroll.files import unusable, write_private

KEY_BYTES = SecretBox.KEY_SIZE


class _Ring(msgspec.Struct, frozen=True):
    keys: list[bytes]  # two only while a replacement is under way; the last one wraps


class Keyring:
    """The desk's key in a file of mode 0600. Other processes may replace it at any moment: hold the
    store's lock around every use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: list[bytes] = []

    def make(self) -> None:
        """Write a fresh key where there is no file yet. Raises DeskUnusable."""
        if not self.path.exists():
            self._write([secrets.token_bytes(KEY_BYTES)])

    @property
    def unfinished(self) -> bool:
        """Whether a replacement was interrupted: `replace` must run again."""
        return len(self._load()) > 1

    def wrap(self, key: bytes) -> bytes:
        """`key` encrypted by the desk's newest key."""
        return bytes(SecretBox(self._load()[-1]).encrypt(key))

    def unwrap(self, wrapped: bytes) -> bytes:
        """The key back. Raises DeskUnusable where it was wrapped by a key that is gone."""
        for key in reversed(self._load()):
            try:
                return SecretBox(key).decrypt(wrapped)
            except (CryptoError, ValueError):
                continue
        raise DeskUnusable(
            f"{self.path} 与数据库不匹配：请把两者从同一份备份恢复",
            f"{self.path} does not fit the database: restore both from one backup",
        )

    def replace(self, rewrap: Callable[[], None]) -> None:
        """Replace the desk's key: `rewrap` must wrap everything anew and commit it.

        Interrupted anywhere, the file still opens everything, and calling this again finishes it.
        """
        keys = self._load()
        if len(keys) == 1:
            self._write([keys[0], secrets.token_bytes(KEY_BYTES)])
        rewrap()
        self._write([self._load()[-1]])

    def _load(self) -> list[bytes]:
        try:
            stat = self.path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns)
            if stamp != self._stamp:
                ring = msgspec.json.decode(self.path.read_bytes(), type=_Ring)
                if not ring.keys or any(len(key) != KEY_BYTES for key in ring.keys):
                    raise ValueError
                self._keys, self._stamp = ring.keys, stamp
        except FileNotFoundError:
            raise DeskUnusable(
                f"缺少密钥文件 {self.path}：没有它就打不开已登记的模板，请从备份恢复",
                f"the key file {self.path} is missing: nothing enrolled can be opened without it; "
                "restore it from a backup",
            ) from None
        except OSError as error:
            raise unusable(self.path, error) from None
        except (msgspec.DecodeError, ValueError):
            raise DeskUnusable(
                f"{self.path} 已损坏：请从备份恢复",
                f"{self.path} is damaged: restore it from a backup",
            ) from None
        return self._keys

    def _write(self, keys: list[bytes]) -> None:
        write_private(self.path, msgspec.json.encode(_Ring(keys)), scrub=True)


def seal_secret(key: bytes, label: str, data: bytes) -> bytes:
    """`data` encrypted by `key` and bound to `label`, so that rows cannot change places."""
    return bytes(SecretBox(key).encrypt(label.encode() + b"\n" + data))


def open_secret(key: bytes, label: str, box: bytes) -> bytes:
    """The data back. Raises DeskUnusable where key, label or box do not belong together."""
    head = label.encode() + b"\n"
    try:
        plain = SecretBox(key).decrypt(box)
    except (CryptoError, ValueError):
        plain = b""
    if not plain.startswith(head):
        raise DeskUnusable(
            "登记数据库中有一行被改动或损坏：请从备份恢复",
            "a row of the desk's database was altered or damaged: restore it from a backup",
        )
    return plain[len(head) :]
