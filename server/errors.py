"""Faults of the township server. Each also inherits a builtin; `str()` is one line for a user."""

from __future__ import annotations

from attendance.errors import QuxiangError


class NotInitialised(QuxiangError, FileNotFoundError):
    """The data folder holds no server yet, or has lost a key."""


class AlreadyInitialised(QuxiangError, FileExistsError):
    """`init` or `restore` would overwrite what is there."""


class DatabaseTooNew(QuxiangError, RuntimeError):
    """The database was written by a newer release than this one."""


class DatabaseUnusable(QuxiangError, OSError):
    """The database cannot be opened, or is not one of ours."""


class AddressTaken(QuxiangError, OSError):
    """Another program listens on the address that `run` was asked to serve."""


class CertificateInvalid(QuxiangError, ValueError):
    """Certificate and key that TLS cannot be served with."""


class BackupInvalid(QuxiangError, ValueError):
    """A file that `restore` cannot take."""


class WitnessInvalid(QuxiangError, ValueError):
    """A file that is no copy of a server's checkpoints, or contradicts them."""


class PaperMissing(QuxiangError, RuntimeError):
    """PDF cannot be made on this machine; the sentence says what to install."""


class NotFound(QuxiangError, LookupError):
    """A thing of this township that does not exist (in this township)."""


class NotAllowed(QuxiangError, PermissionError):
    """The account may not do this; the sentence says who may.

    With a `key` a page says why in its own words (as `InputInvalid`), without one it is a 403.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class InputInvalid(QuxiangError, ValueError):
    """Something typed by a user that cannot be taken; `field` names it where there is one.

    `key` is a word for programs and page catalogues, the sentence is for command lines.
    """

    def __init__(self, key: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.field = field


class ApiProblem(QuxiangError, ValueError):
    """An answer other than 2xx of `/api/v1`: a `attendance.wire.Problem` and its status.

    `keep` is true where what was written must be committed all the same (a fork's both sides, a
    revoked device's upload, a wrong pairing code).
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        wanted: int | None = None,
        retry_after_s: int | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.wanted = wanted
        self.retry_after_s = retry_after_s
        self.keep = keep
