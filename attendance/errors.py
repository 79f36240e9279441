"""Faults that kiosk, desk and server share. Each also inherits a builtin."""


class QuxiangError(Exception):
    """A fault with one sentence that says what to do; `str()` of it may be shown to a user."""


class RecordInvalid(QuxiangError, ValueError):
    """Bytes that are not a record of a version that this release reads."""


class WireInvalid(QuxiangError, ValueError):
    """A message that is too large, malformed, or not the one that was promised."""


class SignatureInvalid(QuxiangError, ValueError):
    """A signature or seal that does not belong to the key, the sender or the bytes."""


class TokenInvalid(QuxiangError, ValueError):
    """Text that cannot be a card's number."""


class ChainBroken(QuxiangError, ValueError):
    """A record whose head does not follow from the one before it."""

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(message)
        self.seq = seq
