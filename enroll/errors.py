"""Faults of the enrolment desk: one line each, in both languages, that says what to do."""

from __future__ import annotations

from attendance.errors import QuxiangError


class EnrollError(QuxiangError):
    """Base of the desk's faults. `str()` is the English line, `words("zh")` the Chinese one."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en

    def words(self, lang: str) -> str:
        """The line in "zh" or "en"."""
        return self.zh if lang == "zh" else self.en

    def __str__(self) -> str:  # an OSError would print its arguments as errno and text
        return self.en


class NotPaired(EnrollError, RuntimeError):
    """No server knows this desk yet."""


class PairingRefused(EnrollError, PermissionError):
    """The code is wrong, used or too old, or somebody else answered than it vouches for."""


class DeskUnusable(EnrollError, OSError):
    """A file of the desk's data folder cannot be read or written, or is damaged."""


class DeskNewer(EnrollError, RuntimeError):
    """The desk's database was written by a newer version of this software."""


class FolderInvalid(EnrollError, ValueError):
    """The folder to import, or its officials.csv as a whole, cannot be read."""


class OfficialUnknown(EnrollError, LookupError):
    """No official of that id is on this desk."""


class ConsentMissing(EnrollError, PermissionError):
    """A face may not be enrolled: no consent, or one that was withdrawn since."""


class ProposalUnknown(EnrollError, LookupError):
    """No proposed picture of that id waits for a decision."""


class TokenTaken(EnrollError, ValueError):
    """The card is another official's."""


class TokenMissing(EnrollError, LookupError):
    """There is no card or badge to take back."""


class CardInvalid(EnrollError, ValueError):
    """What was read cannot be a card's number."""


class FaceRefused(EnrollError, ValueError):
    """No picture was good enough, or the face already belongs to another id."""


class ModelChanged(EnrollError, ValueError):
    """The chosen engine makes other templates than those that the desk holds."""


class ServerUnreachable(EnrollError, ConnectionError):
    """No answer from the township's server."""


class ServerRefused(EnrollError, RuntimeError):
    """The server answered with an error. `status` is HTTP's, `word` that of docs/wire.md."""

    def __init__(
        self, zh: str, en: str, *, status: int = 0, word: str = "", retry_s: float | None = None
    ) -> None:
        super().__init__(zh, en)
        self.status = status
        self.word = word
        self.retry_s = retry_s


class ServerForeign(EnrollError, PermissionError):
    """An answer that the pinned server key did not sign."""


class KioskKeyChanged(EnrollError, PermissionError):
    """The server names another key or site for a kiosk than the one pinned at first use."""


class ReceiptForged(EnrollError, PermissionError):
    """The server shows a receipt of erasure that the pinned key of that kiosk did not sign."""


class KioskOdd(EnrollError, ValueError):
    """Something of one kiosk cannot be right; the others are served all the same."""


class GalleryTooLarge(EnrollError, ValueError):
    """A sealed gallery is larger than the wire allows."""
