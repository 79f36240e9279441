"""The file of a signed release: its head, its signature, and what may come out of it.

The lines MAGIC, manifest (JSON) and signature (base64), then a tar of `wheels/` and `models/`. Only
the standard library and `openssl` are used (see `kiosk.releases`).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MAGIC = b"QUXIANG RELEASE 1\n"
DOMAIN = b"quxiang/release/1\n"
MAX_LINE = 65_536
"""Bytes of the manifest's line, and of the signature's."""
MAX_SIZE = 1 << 30
#: DER of an Ed25519 public key before its 32 bytes (RFC 8410).
_DER = bytes.fromhex("302a300506032b6570032100")


class ReleaseRefused(Exception):
    """A release that is not taken, and why, in Chinese and English."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh

    def words(self) -> str:
        """The sentence in the language of the command line."""
        return say(self.zh, str(self))


def open_plain(file: Path) -> IO[bytes]:
    """A plain file: the inbox is another user's, who could put a link or a pipe there."""
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ReleaseRefused(f"{file} 不是普通文件。", f"{file} is no plain file")
    return os.fdopen(fd, "rb")


def read_head(source: IO[bytes]) -> tuple[dict[str, Any], bytes, bytes]:
    """The manifest, its exact line and the signature; leaves `source` at the payload.

    Nothing of it is to be believed before the signature was checked. Raises ReleaseRefused.
    """
    try:
        if source.readline(len(MAGIC)) != MAGIC:
            raise ValueError("another kind of file")
        line = source.readline(MAX_LINE).rstrip(b"\n")
        signature = base64.b64decode(source.readline(MAX_LINE).strip(), validate=True)
        manifest = json.loads(line)
        numbers = [int(manifest[name]) for name in ("number", "size", "room")]
        texts = [manifest["machine"], manifest["sha256"], *manifest["python"]]
        if not all(isinstance(text, str) for text in texts) or min(numbers) < 1:
            raise ValueError("fields")
        if numbers[1] > MAX_SIZE or len(signature) != 64:
            raise ValueError("size")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReleaseRefused(
            "这不是去向的更新包，或已损坏。", "this is no release of Quxiang, or it is damaged"
        ) from None
    return manifest, line, signature


def verifies(key: bytes, line: bytes, signature: bytes) -> bool:
    """Whether openssl finds the Ed25519 signature of a manifest's line right."""
    pem = base64.encodebytes(_DER + key).decode()
    with tempfile.TemporaryDirectory() as folder:
        public, signed, mark = (Path(folder) / name for name in ("key.pem", "message", "mark"))
        public.write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
        signed.write_bytes(DOMAIN + line)
        mark.write_bytes(signature)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin",
             "-in", str(signed), "-sigfile", str(mark)],
            capture_output=True,
        )  # fmt: skip
    return done.returncode == 0


def unpack(staged: Path, folder: Path) -> None:
    """The files of a payload below `folder`. Not by extractall: the Python of bookworm, 3.11.2,
    has no filter against odd members."""
    with tarfile.open(staged, "r:") as payload:
        for member in plain_members(payload):
            content = payload.extractfile(member)
            if content is not None:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)


def plain_members(payload: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Files below `wheels/` and `models/`, nothing else."""
    for member in payload:
        parts = Path(member.name).parts
        if (
            member.isreg()
            and len(parts) == 2
            and parts[0] in ("wheels", "models")
            and parts[1] != ".."
        ):
            yield member


def say(zh: str, en: str) -> str:
    """As `attendance.i18n.say`, which is not at hand here."""
    for name in ("QUXIANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return zh if os.environ[name].lower().startswith("zh") else en
    return en
