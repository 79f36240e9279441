"""The file by which a USB stick pairs a kiosk: made by the server, read by the kiosk."""

from __future__ import annotations

from typing import Annotated

import msgspec

FILE_NAME = "quxiang-pair.json"
MAX_FILE = 4096
"""Bytes of the file that are read."""


class PairingFile(msgspec.Struct, frozen=True, kw_only=True):
    """What would be typed: the server's address and a one-time code, which vouches for the rest."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    server: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
