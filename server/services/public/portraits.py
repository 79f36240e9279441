"""Public portraits: pictures that people agreed to show on the board, and nothing else of them."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance import wire
from server.config import ServerConfig
from server.errors import ApiProblem
from server.models import Device, Official
from server.services.public import pictures

SIZE = (480, 640)
QUALITY = 85
_TOKEN = re.compile(r"\A[0-9a-f]{32}\Z")


def reencode(body: bytes) -> bytes:
    """A JPEG within 480x640, upright, without metadata. Raises ApiProblem for what is no JPEG."""
    if len(body) > wire.MAX_PORTRAIT:
        raise ApiProblem(413, "too_large", f"a portrait has at most {wire.MAX_PORTRAIT} bytes")
    try:
        return pictures.reencoded(body, ["JPEG"], SIZE, QUALITY)
    except pictures.TooManyPixels:
        raise ApiProblem(413, "too_large", f"at most {pictures.MAX_PIXELS} pixels") from None
    except ValueError:
        raise ApiProblem(400, "malformed", "the picture is not a JPEG that can be read") from None


def save(config: ServerConfig, jpeg: bytes) -> str:
    """Keeps a picture durably under a new random token, which it returns."""
    token = secrets.token_hex(16)
    config.portraits.mkdir(exist_ok=True)
    waiting = config.portraits / f"{token}.new"
    with waiting.open("wb") as file:
        file.write(jpeg)
        file.flush()
        os.fsync(file.fileno())
    waiting.replace(config.portraits / f"{token}.jpg")
    return token


def path_of(config: ServerConfig, token: str) -> Path | None:
    """The file of a token, None where there is none."""
    if not _TOKEN.match(token):
        return None
    path = config.portraits / f"{token}.jpg"
    return path if path.is_file() else None


def shown_to(session: Session, device: Device, token: str, config: ServerConfig) -> bytes:
    """A picture of the kiosk's own township's board. Raises ApiProblem `not_found`."""
    shown = session.scalar(
        select(Official.id).where(
            Official.township_id == device.township_id, Official.active, Official.portrait == token
        )
    )
    path = None if shown is None else path_of(config, token)
    if path is None:
        raise ApiProblem(404, "not_found", "no such portrait on this board")
    return path.read_bytes()


def forget(config: ServerConfig, token: str | None) -> None:
    """Deletes a picture, if it is there."""
    if token is not None and _TOKEN.match(token):
        (config.portraits / f"{token}.jpg").unlink(missing_ok=True)
