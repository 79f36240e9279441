"""A block device whose every write is remembered: what a power cut could have left of it.

The kernel's loop device lies over one file, and that file is served from here (the FUSE protocol,
spoken to /dev/fuse directly): each write and each flush that the file system sends to its "disk"
arrives in order. A crash state is then everything up to the last flush, and of the later writes
whatever subset the disk's cache happened to have saved.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import select
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_WRITE = 1 << 20
_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
(_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSH, _INIT,
 _INTERRUPT, _DESTROY, _BATCH_FORGET) = (
    2, 3, 4, 14, 15, 16, 17, 18, 20, 25, 26, 36, 38, 42
)  # fmt: skip


@dataclass
class Log:
    """`steps` in order: (offset, bytes) of a write, None for a flush, str for a line told."""

    size: int
    steps: list[tuple[int, bytes] | str | None] = field(default_factory=list)


class _Disk:
    """Answers the kernel until the file is unmounted; one thread, so that the order is one."""

    def __init__(self, fd: int, size: int, told: int) -> None:
        self.log = Log(size)
        self._fd = fd
        self._told = told
        self._rest = b""
        self._image = bytearray(size)

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _, code, unique, _, _, _, _, _, _ = _IN.unpack_from(request)
            self._hear()
            if code in (_FORGET, _BATCH_FORGET, _INTERRUPT):
                continue
            status, body = self._answer(code, request[_IN.size :])
            # ENOENT: the asker was interrupted.
            with contextlib.suppress(FileNotFoundError):
                os.write(self._fd, _OUT.pack(_OUT.size + len(body), -status, unique) + body)
            if code == _DESTROY:
                return

    def _hear(self) -> None:
        """Whatever was confirmed to somebody before the disk does its next step."""
        while select.select([self._told], [], [], 0)[0]:
            data = os.read(self._told, 1 << 16)
            if not data:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.log.steps.extend(line.decode() for line in lines)

    def _answer(self, code: int, body: bytes) -> tuple[int, bytes]:
        if code == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            self._image[offset : offset + size] = data
            self.log.steps.append((offset, data))
            return 0, struct.pack("<II", size, 0)
        if code == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return 0, bytes(self._image[offset : offset + size])
        if code == _FSYNC:
            self.log.steps.append(None)
            return 0, b""
        if code in (_GETATTR, _SETATTR):
            size = self.log.size
            attr = struct.pack("<6Q10I", 1, size, size // 512, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0,
                               0, 4096, 0)  # fmt: skip
            return 0, struct.pack("<QII", 3600, 0, 0) + attr
        if code == _INIT:
            big_writes, max_pages = 1 << 5, 1 << 22
            return 0, struct.pack("<IIIIHHIIHHI7I", 7, 31, 1 << 17, big_writes | max_pages, 16, 12,
                                  MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0, *[0] * 7)  # fmt: skip
        if code == _OPEN:
            return 0, struct.pack("<QIi", 1, 2, 0)
        if code == _STATFS:
            return 0, struct.pack("<5Q10I", 0, 0, 0, 0, 0, 4096, 255, 4096, *[0] * 7)
        if code in (_RELEASE, _FLUSH, _DESTROY):
            return 0, b""
        return errno.ENOSYS, b""


class RecordedDisk:
    """The served file, mounted over `path`. A context manager; `log` once it was left.

    `told` is the end of a pipe whose lines are put into the log before the disk's next step.
    Raises OSError where this machine or this user cannot mount it.
    """

    def __init__(self, path: Path, size: int, told: int) -> None:
        self.path = path
        self.log = Log(size)
        self._size = size
        self._told = told
        self._dump = path.with_name(path.name + ".log")
        self._pid = 0

    def __enter__(self) -> RecordedDisk:
        self.path.touch()
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            options = f"fd={fd},rootmode=100600,user_id=0,group_id=0"
            _libc_mount("quxiang-disk", str(self.path), "fuse", options)
            self._pid = os.fork()
            if self._pid == 0:
                status = 70
                try:
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    disk = _Disk(fd, self._size, self._told)
                    disk.serve()
                    self._dump.write_bytes(pickle.dumps(disk.log))
                    status = 0
                finally:
                    os._exit(status)
        finally:
            os.close(fd)
        return self

    def __exit__(self, *_: object) -> None:
        if subprocess.run(["umount", str(self.path)], capture_output=True).returncode:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status == 0:
            self.log = pickle.loads(self._dump.read_bytes())  # noqa: S301 - our own child's
            self._dump.unlink()


def _libc_mount(source: str, target: str, kind: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


@contextlib.contextmanager
def mounted(image: Path, folder: Path, options: str = "loop") -> Iterator[Path]:
    """An image's file system in `folder`. Raises CalledProcessError where it cannot be mounted."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", options, str(image), str(folder)], check=True,
                   capture_output=True)  # fmt: skip
    try:
        yield folder
    finally:
        if subprocess.run(["umount", str(folder)], capture_output=True).returncode:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True)
