"""Where a USB stick is looked for, and what is taken from it: a pairing file, a signed release."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kiosk.fetching import Fetcher, hand_over

STICKS = ("/run/quxiang/usb/*", "/media/*", "/media/*/*", "/run/media/*/*", "/mnt/*")
"""Where quxiang-usb@.service, desktops and udisks mount a stick."""


def folders_of(patterns: Iterable[str]) -> Iterator[Path]:
    """Every folder that fits one of the patterns now, each once, in order."""
    root = Path("/")
    found = {folder for each in patterns for folder in root.glob(each.lstrip("/"))}
    return iter(sorted(folder for folder in found if folder.is_dir()))


class StickReleases:
    """Hands the newest release on a stick over to the installer, which checks who signed it.

    For sticks that something else than quxiang-usb@.service mounts. `turn` is for
    `kiosk.housekeeping.Every`.
    """

    def __init__(self, folder: Path, fetcher: Fetcher, patterns: Sequence[str]) -> None:
        self._folder = folder
        self._fetcher = fetcher
        self._patterns = patterns
        self._tried: set[tuple[str, int, int]] = set()
        self._name = re.compile(rf"quxiang-([0-9]{{1,9}})-{re.escape(platform.machine())}\.qxr")

    def turn(self) -> bool:
        """Look once; False, since nothing waits. Raises UpdateRefused and OSError, once a file."""
        found: dict[tuple[str, int, int], tuple[int, Path]] = {}
        for folder in folders_of(self._patterns):
            for path in folder.glob("quxiang-*.qxr"):
                named = self._name.fullmatch(path.name)
                if named is not None and path.is_file():
                    state = path.stat()
                    mark = (path.as_posix(), state.st_size, state.st_mtime_ns)
                    found[mark] = (int(named[1]), path)
        self._tried &= set(found)  # taken out and put in again is another try
        above = self._fetcher.newest_tried()
        fresh = {mark: it for mark, it in found.items() if mark not in self._tried}
        self._tried |= set(found)
        newest = max(fresh.values(), default=None)
        if newest is not None and newest[0] > above:
            hand_over(self._folder, newest[1], above)
        return False

