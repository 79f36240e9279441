"""What an application carries: its settings, database, keys and clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app

from server.config import ServerConfig, ServerKeys

if TYPE_CHECKING:
    from server.db import Database

_KEY = "quxiang"
Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


class Known(NamedTuple):
    """What of a device never changes."""

    id: str
    kind: str
    township_id: int
    sign_key: bytes


@dataclass(frozen=True)
class Context:
    """One application's parts. `now()` is the only clock that views and services are given."""

    config: ServerConfig
    database: Database
    keys: ServerKeys
    now: Clock
    #: Devices that this process has seen.
    devices: dict[str, Known] = field(default_factory=dict)


def context() -> Context:
    """The context of the current application."""
    found: Context = current_app.extensions[_KEY]
    return found


def now() -> datetime:
    """The current application's time, aware, in UTC."""
    return context().now()
