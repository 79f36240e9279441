"""Cards and badges at the desk: read in, printed, taken back."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TextIO

from attendance.errors import TokenInvalid
from attendance.i18n import say
from attendance.tokens import Kind, card_number, new_badge
from enroll.desk import Desk
from enroll.errors import CardInvalid, OfficialUnknown, TokenMissing
from enroll.files import write_private

SUFFIXES = (".png", ".pdf", ".svg")
SIDE_MM = 50.0
"""Printed side of a badge's code, its white margin included."""
_POINTS = 72 / 25.4


def read_card(desk: Desk, official: str, stream: TextIO) -> bool:
    """Keep the card whose number is the next line of `stream`; False where it is the one kept.

    Raises OfficialUnknown, CardInvalid and TokenTaken.
    """
    _known(desk, official)
    try:
        number = card_number(stream.readline(200))
    except TokenInvalid as error:
        raise CardInvalid("卡号应为 6 到 40 位数字或字母：请用读卡器读入", str(error)) from None
    return desk.store.set_token(official, "card", number)


def make_badge(desk: Desk, official: str, file: Path) -> None:
    """Give the official a fresh badge, written to `file`; an earlier one is void from now on.

    Raises OfficialUnknown, CardInvalid (a suffix that is none of SUFFIXES) and DeskUnusable.
    """
    import segno

    _known(desk, official)
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise CardInvalid(
            f"{file.name}：请用 .png、.pdf 或 .svg 文件名",
            f"{file.name}: name it .png, .pdf or .svg",
        )
    text = new_badge()
    code = segno.make(text, error="q", micro=False, boost_error=False)
    modules = code.symbol_size(border=4)[0]
    scale = 16 if suffix == ".png" else SIDE_MM * _POINTS / modules
    drawn = io.BytesIO()
    code.save(drawn, kind=suffix[1:], scale=scale, border=4)
    # The file first: a code that nobody could print must not replace the one in somebody's pocket.
    write_private(file, drawn.getvalue())
    desk.store.set_token(official, "badge", text)
    desk.store.shred()


def revoke(desk: Desk, official: str, kind: Kind) -> None:
    """Void a card or badge; kiosks forget it with their next sync.

    Raises OfficialUnknown, and TokenMissing where there is none.
    """
    _known(desk, official)
    if desk.store.token(official, kind) is None:
        raise TokenMissing(
            f"{official} 没有登记{'卡' if kind == 'card' else '工牌'}", f"{official} has no {kind}"
        )
    desk.store.erase(official, kind)
    desk.store.shred()


def _known(desk: Desk, official: str) -> None:
    if desk.store.official(official) is None:
        raise OfficialUnknown(
            f"本机没有编号为 {official} 的人员：用 quxiang-enroll list 查看",
            f"nobody here has the id {official}: quxiang-enroll list shows who is",
        )


def do_card(args: argparse.Namespace, desk: Desk) -> str:
    """`quxiang-enroll card`: what became of it, in a sentence."""
    if args.revoke:
        revoke(desk, args.official, "card")
        return say("已收回，下次同步后失效", "taken back: void at each kiosk after its next sync")
    if read_card(desk, args.official, sys.stdin):
        return say("卡已登记，原卡失效", "the card is enrolled; an earlier one is void")
    return say("此卡原已登记", "this card was enrolled already")


def do_badge(args: argparse.Namespace, desk: Desk) -> str:
    """`quxiang-enroll badge`: what became of it, in a sentence."""
    if args.revoke:
        revoke(desk, args.official, "badge")
        return say("已收回，下次同步后失效", "taken back: void at each kiosk after its next sync")
    make_badge(desk, args.official, args.file)
    return say(
        f"工牌已写入 {args.file}（边长 {SIDE_MM:.0f} 毫米打印），原工牌失效；须与密码同用",
        f"the badge is in {args.file} (print it {SIDE_MM:.0f} mm wide); an earlier one is void; "
        "it goes with the PIN",
    )
