"""Whether the server can do its work now: what a monitor or a proxy asks before sending anybody."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.services.programs import leases

#: Bytes that the folder's disk must have left: days of a township's records.
LEAST_FREE = 200_000_000
BACKGROUND = "background"


def checks(
    begin: Callable[[], Session],
    at_head: Callable[[Session], bool],
    folder: Path,
    now: datetime,
) -> dict[str, bool]:
    """`database` answers, `migrations` are those of this release, `disk` has room, `background`:
    some worker does what nobody asks for."""
    found = {"database": False, "migrations": False, "disk": False, "background": False}
    try:
        found["disk"] = shutil.disk_usage(folder).free >= LEAST_FREE
        with begin() as session:
            found["migrations"] = at_head(session)
            found["background"] = leases.alive(session, BACKGROUND, now)
            found["database"] = True
    except (SQLAlchemyError, OSError):
        pass
    return found
