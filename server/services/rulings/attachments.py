"""Pictures and PDFs that somebody attaches: bounded before they are decoded, re-encoded after."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import PurePath

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from attendance.days import to_ms
from attendance.i18n import say
from server.errors import InputInvalid, NotFound
from server.models import Attachment, Township, User
from server.services.public import pictures
from server.services.township.townships import clean

#: Bytes of a file as it is sent: a telephone's picture has 3 to 6 MB.
MAX_BYTES = 8 * 1024 * 1024
#: What is kept: a scanned page stays legible at this size.
SIZE = (1800, 1800)
MAX_PDF = 2 * 1024 * 1024
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


def store(
    session: Session, township: Township, name: str, body: bytes, by: User, now: datetime
) -> Attachment | None:
    """Keeps a picture (as JPEG, without metadata) or a PDF; None for no bytes at all.

    What it is, is read from its first bytes, never from its name. Raises InputInvalid.
    """
    if not body:
        return None
    if len(body) > MAX_BYTES:
        raise _refused(f"附件不超过 {MAX_BYTES >> 20} MB", f"at most {MAX_BYTES >> 20} MB")
    if body.startswith(b"%PDF-"):
        if len(body) > MAX_PDF:
            raise _refused(f"PDF 不超过 {MAX_PDF >> 20} MB", f"a PDF of {MAX_PDF >> 20} MB at most")
        mime, suffix, content = "application/pdf", ".pdf", body
    else:
        mime, suffix, content = "image/jpeg", ".jpg", _picture(body)
    stem = clean(PurePath(name.replace("\\", "/")).stem, 100) or "attachment"
    row = Attachment(
        township_id=township.id, name=stem + suffix, mime=mime,
        sha256=hashlib.sha256(content).hexdigest(), content=content, by=by.name, at_ms=to_ms(now),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def load(session: Session, township: Township, attachment_id: int) -> Attachment:
    """An attachment with its content. Raises NotFound, also where the content was changed."""
    row = session.scalar(
        select(Attachment)
        .options(undefer(Attachment.content))
        .where(Attachment.id == attachment_id, Attachment.township_id == township.id)
    )
    if row is None or hashlib.sha256(row.content).hexdigest() != row.sha256:
        raise NotFound(say("没有这个附件", "there is no such attachment"))
    return row


def _picture(body: bytes) -> bytes:
    try:
        return pictures.reencoded(body, _FORMATS, SIZE, 80)
    except pictures.TooManyPixels:
        raise _refused("图片像素过多", "the picture has too many pixels") from None
    except ValueError:
        raise _refused(
            "附件须为图片（JPEG、PNG、WebP、BMP）或 PDF",
            "an attachment is a picture (JPEG, PNG, WebP, BMP) or a PDF",
        ) from None


def _refused(zh: str, en: str) -> InputInvalid:
    return InputInvalid("attachment", say(zh, en), "attachment")
