"""Signed releases for the kiosks, as files below DATA/releases: kept, offered, read in pieces.

The server holds no key that signs one: it passes on what the publisher made (docs/deploy.md), and
each kiosk checks it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path

from attendance.errors import SignatureInvalid, WireInvalid
from attendance.i18n import say
from attendance.release import MAX_LINE, Head, parse_head
from attendance.signing import KEY_BYTES, from_text
from server.config import ServerConfig
from server.errors import InputInvalid, NotFound

FOLDER = "releases"
KEY = "release.key"
SUFFIX = ".qxr"
PIECE = 256 << 10
"""Bytes of one answer at the most: half a minute of a line of 64 kbit/s."""
HEAD = 2 * MAX_LINE
_RANGE = re.compile(r"bytes=([0-9]{1,12})-([0-9]{1,12})")


def keep_key(config: ServerConfig, file: Path) -> None:
    """Pins the publisher's public key (base64). Raises InputInvalid, also for another one."""
    data = file.read_bytes()[:200]
    _key(data, file)
    kept = config.data / KEY
    if kept.exists() and kept.read_bytes().strip() != data.strip():
        raise _refused(
            f"发布密钥与已保存的不同：确要更换请先删除 {kept}",
            f"the key differs from the one kept: to change it on purpose delete {kept} first",
        )
    kept.write_bytes(data.strip() + b"\n")


def add(config: ServerConfig, file: Path) -> Head:
    """Takes a release in, once signature and bytes are right. Raises InputInvalid, OSError."""
    head = _head(file)
    manifest = head.manifest
    try:
        head.check(_kept_key(config))
    except SignatureInvalid:
        raise _refused(
            f"{file} 的签名不对：不是本镇发布的",
            f"{file} is not signed by the key that is kept here",
        ) from None
    folder = config.data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    fd, name = tempfile.mkstemp(dir=folder, prefix=".")
    try:
        with os.fdopen(fd, "wb") as copy, file.open("rb") as source:
            copy.write(source.read(len(head.text)))
            left = manifest.size
            while left and (part := source.read(min(left, 1 << 20))):
                digest.update(part)
                copy.write(part)
                left -= len(part)
            if left or source.read(1) or digest.hexdigest() != manifest.sha256:
                raise _refused(f"{file} 不完整或已损坏", f"{file} is cut short or damaged")
            copy.flush()
            os.fsync(copy.fileno())
        Path(name).replace(_place(config, manifest.number, manifest.machine))
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
    return head


def listed(config: ServerConfig) -> list[Head]:
    """Every release that kiosks may ask for, oldest first."""
    found = []
    for path in (config.data / FOLDER).glob(f"[0-9]*{SUFFIX}"):
        with contextlib.suppress(InputInvalid, OSError):
            found.append(_head(path))
    return sorted(found, key=lambda head: (head.manifest.number, head.manifest.machine))


def remove(config: ServerConfig, number: int) -> int:
    """Offers that number no more; how many files went. Raises NotFound."""
    gone = 0
    for head in listed(config):
        if head.manifest.number == number:
            _place(config, number, head.manifest.machine).unlink(missing_ok=True)
            gone += 1
    if not gone:
        raise NotFound(say(f"没有版本 {number}", f"there is no release {number}"))
    return gone


def newest(config: ServerConfig, machine: str, python: str, above: int) -> Head | None:
    """What a kiosk of that machine and Python should run, None where it does already."""
    fitting = [
        head
        for head in listed(config)
        if head.manifest.machine == machine
        and python in head.manifest.python
        and head.manifest.number > above
    ]
    return fitting[-1] if fitting else None


def piece(config: ServerConfig, number: int, machine: str, header: str) -> bytes:
    """The bytes that a Range header asks for, at most PIECE of them; empty at the end.

    Raises NotFound, InputInvalid.
    """
    asked = _RANGE.fullmatch(header)
    first, last = (int(asked[1]), int(asked[2])) if asked else (1, 0)
    if first > last:
        raise InputInvalid("range", "ask with Range: bytes=FIRST-LAST")
    try:
        with _place(config, number, machine).open("rb") as file:
            file.seek(first)
            return file.read(min(last - first + 1, PIECE))
    except FileNotFoundError:
        raise NotFound("there is no such release here") from None


def _place(config: ServerConfig, number: int, machine: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]{1,32}", machine):
        raise NotFound("there is no such release here")
    return config.data / FOLDER / f"{number}-{machine}{SUFFIX}"


def _head(file: Path) -> Head:
    with file.open("rb") as source:
        try:
            return parse_head(source.read(HEAD))
        except WireInvalid:
            raise _refused(f"{file} 不是去向的更新包", f"{file} is no release of Quxiang") from None


def _kept_key(config: ServerConfig) -> bytes:
    kept = config.data / KEY
    if not kept.exists():
        raise _refused(
            "还没有发布密钥：请加 --key release.key（安装盘上）",
            "the publisher's key is not known yet: add --key release.key, from the stick",
        )
    return _key(kept.read_bytes(), kept)


def _key(data: bytes, file: Path) -> bytes:
    try:
        return from_text(data.decode("ascii").strip(), KEY_BYTES)
    except (ValueError, SignatureInvalid):
        raise _refused(f"{file} 不是发布密钥", f"{file} is no release key") from None


def _refused(zh: str, en: str) -> InputInvalid:
    return InputInvalid("release", say(zh, en))
