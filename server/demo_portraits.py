"""The portraits of the demo township: drawings without a face, as if each had agreed to one."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.config import ServerConfig
from server.models import Official, Township
from server.services.public import portraits
from server.services.township.townships import touch_roster

#: Who did not agree to a portrait: one in so many, that boards show what that looks like.
REFUSES = 6
#: Drawn larger than it is kept, so that `reencode` smooths the edges.
SIZE = (720, 960)
_GROUNDS = ("#cfe3d4", "#d3def0", "#f2e3c6", "#e6d6ea", "#d2e6ea", "#f0d8d2")
_SKINS = ("#e9c3a0", "#dcae87", "#f0d0b0", "#c99a73")
_HAIRS = ("#2b2724", "#332b26", "#3a322c", "#4a4541", "#8b8782")
_COATS = ("#2f4a6d", "#37474f", "#5a3f3a", "#3c5a45", "#4d4468", "#6b5a32")


def drawing(number: int) -> bytes:
    """The JPEG of somebody's drawing, SIZE pixels; the same for the same number."""
    rng = random.Random(number)  # noqa: S311 (how a drawing looks)  # nosec B311 # guards nothing
    ground, skin, hair, coat = (rng.choice(c) for c in (_GROUNDS, _SKINS, _HAIRS, _COATS))
    picture = Image.new("RGB", SIZE, ground)
    pen = ImageDraw.Draw(picture)
    long = rng.random() < 0.45
    if long:
        pen.rounded_rectangle((205, 230, 515, 640), 120, fill=hair)
    pen.ellipse((60, 660, 660, 1260), fill=coat)
    pen.rounded_rectangle((300, 540, 420, 720), 55, fill=skin)
    pen.polygon(((290, 668), (430, 668), (360, 790)), fill="#f7f6f2")
    pen.polygon(((300, 640), (420, 640), (360, 740)), fill=skin)
    pen.ellipse((225, 210, 495, 590), fill=skin)
    parting = rng.randrange(-60, 61)
    pen.pieslice((210, 170, 510, 520), 180, 360, fill=hair)
    if long:
        pen.ellipse((205, 250, 285, 480), fill=hair)
        pen.ellipse((435, 250, 515, 480), fill=hair)
    pen.polygon(((230, 344), (360 + parting, 270), (490, 344), (480, 372), (360 + parting, 330),
                 (240, 372)), fill=hair)  # fmt: skip
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


def publish(
    session: Session, township: Township, officials: Sequence[str], config: ServerConfig
) -> int:
    """Gives all but one in REFUSES of the officials (codes) a drawing; returns how many."""
    people = session.scalars(
        select(Official).where(Official.township_id == township.id).order_by(Official.id)
    )
    given = 0
    wanted = frozenset(officials)
    for number, person in enumerate(p for p in people if p.official in wanted):
        if number % REFUSES == REFUSES - 1:
            continue
        person.portrait = portraits.save(config, portraits.reencode(drawing(number)))
        given += 1
    touch_roster(session, township.id)
    return given
