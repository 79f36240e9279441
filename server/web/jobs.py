"""Papers in the making, PDFs and long tables: a process and a folder for each, seen by every
worker, gone after an hour."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from attendance.days import to_ms
from attendance.decoding import json_of
from server import printing
from server.context import context, now
from server.errors import InputInvalid, NotFound
from server.models import User

#: How long a finished paper waits to be fetched, and how long a made one may take, milliseconds.
KEPT_MS = 3_600_000
#: Papers that are made at the same time on one server: each keeps a core busy.
AT_ONCE = 3
#: Seconds that a request waits, since most papers take no longer.
PATIENCE = 4.0
_running: list[subprocess.Popen[bytes]] = []


class Meta(msgspec.Struct, frozen=True):
    """Whose paper it is and what it is called; `kind` is `pdf`, `xlsx` or `csv`; `pages` is a guess
    at how many there will be, of a table the number of its rows."""

    township: int
    user: int
    name: str
    title: str
    pages: int
    made_ms: int
    kind: str = "pdf"
    back: str = ""


@dataclass(frozen=True)
class Job:
    """A paper: `page` of about `pages` (of a table: row) is being made; `file` once it is there;
    `error` a word of `server.printing` once it cannot be."""

    token: str
    meta: Meta
    page: int
    file: Path | None
    error: str


def _folder() -> Path:
    return context().config.data / "exports"


def start(
    user: User,
    name: str,
    title: str,
    content: str,
    pages: int,
    kind: str = "pdf",
    back: str = "",
) -> Job:
    """Begins to make a paper; waits a moment for it. Raises InputInvalid (`busy`).

    `content` is HTML for a PDF, else `server.tables.packed`; `back` the page that it is of.
    """
    home = _folder()
    home.mkdir(mode=0o700, exist_ok=True)
    _tidy(home)
    if sum(_waiting(each) is not None for each in home.iterdir()) >= AT_ONCE:
        raise InputInvalid("busy", "as many papers as can be made at once are being made", kind)
    token = secrets.token_urlsafe(24)
    folder = home / token
    folder.mkdir(mode=0o700)
    meta = Meta(user.township_id, user.id, name, title, max(pages, 1), to_ms(now()), kind, back)
    (folder / "meta.json").write_bytes(msgspec.json.encode(meta))
    (folder / ("in.html" if kind == "pdf" else "in.json")).write_text(content, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        made = subprocess.Popen(
            [sys.executable, "-m", "server.printing", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _running[:] = [each for each in _running if each.poll() is None] + [made]
    try:
        made.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return job(user, token)
    if not (folder / f"out.{kind}").exists() and not (folder / "error").exists():
        left = _waiting(folder)
        if left is not None:
            left.unlink(missing_ok=True)
        printing.put(folder / "error", printing.FAILED)  # it was ended before it could say
    return job(user, token)


def job(user: User, token: str) -> Job:
    """One's own paper. Raises NotFound."""
    folder = _folder() / token
    if not re.fullmatch(r"[A-Za-z0-9_-]{32}", token):
        raise NotFound(token)
    try:
        meta = json_of(Meta).decode((folder / "meta.json").read_bytes())
    except FileNotFoundError:
        raise NotFound(token) from None
    if meta.township != user.township_id or meta.user != user.id:
        raise NotFound(token)
    file = folder / f"out.{meta.kind}"
    said = _text(folder / "progress")
    page = int(said) if said.isdigit() else 0
    error = _text(folder / "error")
    lost = not file.exists() and not error and _waiting(folder) is None
    return Job(token, meta, page, file if file.exists() else None,
               printing.FAILED if lost else error)  # fmt: skip


def _waiting(folder: Path) -> Path | None:
    """What a paper is made of, as long as it is being made."""
    return next((f for n in ("in.html", "in.json") if (f := folder / n).exists()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _tidy(home: Path) -> None:
    for folder in home.iterdir():
        try:
            made = json_of(Meta).decode((folder / "meta.json").read_bytes()).made_ms
        except (OSError, msgspec.MsgspecError):
            made = 0
        if not 0 <= to_ms(now()) - made < KEPT_MS:
            shutil.rmtree(folder, ignore_errors=True)
