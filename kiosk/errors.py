"""Faults of the kiosk. Each says in one sentence, in both languages, what to do."""

from __future__ import annotations

from attendance.errors import QuxiangError
from attendance.i18n import language


class KioskError(QuxiangError):
    """Root of the kiosk's faults; `str()` is the English sentence."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en

    def words(self, lang: str | None = None) -> str:
        """The sentence in `lang`, else in the command line's language."""
        return self.zh if (lang or language()).startswith("zh") else self.en

    def __str__(self) -> str:
        return self.en


class NotPaired(KioskError, LookupError):
    """This folder holds no kiosk yet."""


class ConfigInvalid(KioskError, ValueError):
    """`kiosk.json` or a key file cannot be used as it stands."""


class AlreadyRunning(KioskError, BlockingIOError):
    """Another process runs the kiosk of this folder."""


class StoreUnusable(KioskError, OSError):
    """Nothing can be recorded now, so nobody may be told that it was.

    `what` is `full`, `readonly`, `io`, `corrupt`, `busy`, `open` or `mode`; `room_made` says that
    room was made on a full disk meanwhile, so that another try is worth it.
    """

    def __init__(self, what: str, zh: str, en: str) -> None:
        super().__init__(zh, en)
        self.what = what
        self.room_made = False


class StoreNewer(KioskError, RuntimeError):
    """The database was written by a newer version of this program."""


class GalleryRefused(KioskError, ValueError):
    """A gallery that is not from our desk, not for us, older than ours, or damaged."""


class ServerUnreachable(KioskError, ConnectionError):
    """No usable answer: no network, no server, or a server that is overloaded.

    `retry_after_s` is what the server asked us to wait, in seconds, where it did; `heard` whether
    it had answered something before in the same exchange; `cut` whether it had taken the connection
    and then that ended.
    """

    def __init__(self, zh: str, en: str, retry_after_s: float | None = None) -> None:
        super().__init__(zh, en)
        self.retry_after_s = retry_after_s
        self.heard = False
        self.cut = False


class ServerRefused(KioskError, PermissionError):
    """The server answered and said no. `word` is its word for it (docs/wire.md)."""

    def __init__(self, word: str, zh: str, en: str) -> None:
        super().__init__(zh, en)
        self.word = word


class DeskRefused(KioskError, PermissionError):
    """Another enrolment desk than the pinned one, which nobody vouched for."""


class PairingRefused(KioskError, PermissionError):
    """The code was wrong, spent or expired, or the answer came from another server."""
