"""Another enrolment desk in place of one that is lost, taken only where a person vouches for it."""

from __future__ import annotations

import msgspec

from attendance.errors import SignatureInvalid
from attendance.signing import KEY_BYTES, from_text, key_mark, read_mark
from attendance.statuses import Kind
from kiosk.clock import Reading
from kiosk.config import save_config
from kiosk.errors import DeskRefused
from kiosk.site import Site
from kiosk.store import Draft


def take_desk(site: Site, typed: str, offered: str | None, now: Reading) -> bool:
    """Pins the desk key `offered` (base64; by the server, or in a stick's file) where `typed`, as
    somebody read it on the desk's own screen, is its mark. The gallery in force stays until that
    desk's first one. False where it is the pinned one already.

    Whoever offers it is not believed: 80 bits of the key are typed by hand, and what was offered
    is not shown, so that nobody copies it from there. Raises DeskRefused, StoreUnusable, OSError.
    """
    try:
        mark = read_mark(typed)
    except ValueError:
        raise DeskRefused(
            "登记台的密钥指纹有 16 个字母和数字：请照登记台屏幕（quxiang-enroll list）完整输入。",
            "a desk's fingerprint has sixteen letters and digits: type all of what the desk's own "
            "screen shows (quxiang-enroll list)",
        ) from None
    if offered is None:
        raise DeskRefused(
            "没有登记台的密钥：请先在新登记台上运行 quxiang-enroll pair 和 sync，或重新导出。",
            "no desk's key is there: run quxiang-enroll pair and sync at the new desk first, or "
            "export its file anew",
        )
    try:
        public = from_text(offered, KEY_BYTES)
    except SignatureInvalid:
        public = b""
    if key_mark(public) != mark:
        raise DeskRefused(
            "得到的登记台密钥与输入的指纹不符，未采用：请在登记台上用 quxiang-enroll list 再核对；"
            "指纹没有输错的，服务器或 U 盘可能被人动过。",
            "the desk's key that came does not have that fingerprint and is not taken: read it "
            "again at the desk (quxiang-enroll list); if it was typed right, the server or the "
            "stick may have been tampered with",
        )
    if offered == site.config.desk_key:
        return False
    said = f"another enrolment desk is taken from now on: {mark}"
    site.store.record(Draft(kind=Kind.FAULT, detail=said), now)
    site.config = msgspec.structs.replace(site.config, desk_key=offered)
    save_config(site.folder, site.config)
    return True
