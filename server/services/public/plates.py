"""Plates for doors and desks (挂牌上岗): what is public of a person, and a code to their page."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

import segno
from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.i18n import say
from server.config import ServerConfig
from server.errors import InputInvalid
from server.models import Official, Township
from server.services.public.portraits import path_of
from server.services.public.publication import page_of, publication
from server.services.township.townships import officials

#: People on one PDF: some seconds of work on a small server.
MAX_PLATES = 120
#: Letters of an address that a code carries: longer ones make modules too small to be read.
MAX_ADDRESS = 120


@dataclass(frozen=True)
class Plate:
    """What one plate says: the public fields of the township's choice; an empty one is left out.

    `portrait` and `code` are pictures as `data:` addresses, `code` leads to `address`.
    """

    name: str
    title: str
    work_group: str
    duties: str
    phone: str
    portrait: str
    code: str
    address: str


def server_address(text: str) -> str:
    """An address for the codes, without the slash at its end. Raises InputInvalid (`address`)."""
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    if not plain or port == 0 or parts.query or parts.fragment or len(address) > MAX_ADDRESS:
        raise InputInvalid(
            "address",
            say(
                "请填写服务器地址，例如 https://quxiang.example.cn",
                "give the server's address, such as https://quxiang.example.cn",
            ),
            "address",
        )
    return address


def plates(
    session: Session,
    township: Township,
    config: ServerConfig,
    chosen: Collection[str],
    address: str,
) -> list[Plate]:
    """The plates of those officials (codes), by group and name; the caller commits.

    A page is named for whoever has none yet. Raises InputInvalid: `address`; `nobody` where no one
    of this township is chosen, `too_many` for more than MAX_PLATES.
    """
    base = server_address(address)
    people = [p for p in officials(session, township) if p.active and p.official in set(chosen)]
    if not people:
        raise InputInvalid("nobody", say("请至少选择一人", "choose somebody"))
    if len(people) > MAX_PLATES:
        raise InputInvalid(
            "too_many", say(f"一次最多 {MAX_PLATES} 人", f"{MAX_PLATES} people at once at most")
        )
    codes = [p.official for p in people]
    rows = {
        row.official: row
        for row in session.scalars(
            select(Official).where(
                Official.township_id == township.id, Official.official.in_(codes)
            )
        )
    }
    fields = publication(session, township.id).fields
    made = []
    for person in people:
        row = rows[person.official]
        there = f"{base}/o/{page_of(session, row)}"
        made.append(
            Plate(
                name=row.name,
                title=row.title if "title" in fields else "",
                work_group=person.work_group if "work_group" in fields else "",
                duties=row.duties if "duties" in fields else "",
                phone=row.phone if "phone" in fields else "",
                portrait=_picture(config, row.portrait) if "portrait" in fields else "",
                code=segno.make(there, error="m", micro=False).svg_data_uri(border=2),
                address=there,
            )
        )
    return made


def _picture(config: ServerConfig, token: str | None) -> str:
    path = None if token is None else path_of(config, token)
    if path is None:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
