"""`quxiang-kiosk update`: a newer release now, from the server or from a file."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from attendance.i18n import say
from kiosk.errands import line_of
from kiosk.fetching import Fetcher, UpdateRefused, hand_over, own_app
from kiosk.site import Site

TENTH = 10


def do_update(args: argparse.Namespace) -> int:
    """Hands a release over to quxiang-update.service, which checks, installs and tries it."""
    app = own_app()
    if app is None:
        raise UpdateRefused(
            "本机不是用 install-kiosk.sh 安装的：请用 git 或 pip 更新。",
            "this machine was not set up by install-kiosk.sh: update it the way it was installed",
        )
    with Site(args.data) as site, contextlib.closing(line_of(site)) as link:
        fetcher = Fetcher(site.folder, app, link, again=True)
        if args.file is not None:
            number = hand_over(site.folder, Path(args.file), fetcher.newest_tried())
        else:
            fetched = _fetch(fetcher)
            if fetched is None:
                print(say("没有更新的版本", "there is nothing newer"))
                return 0
            number = fetched
    print(
        say(
            f"版本 {number} 已交给安装服务：验证签名、试用，不行会自动退回（见 doctor）",
            f"release {number} is handed over: it is checked, tried, and taken back by itself "
            "where it does not record (see doctor)",
        )
    )
    return 0


def _fetch(fetcher: Fetcher) -> int | None:
    told = -1
    while (now := fetcher.step()) is not None:
        share = now.done * TENTH // now.size
        if sys.stdout.isatty():
            print(f"\r{now.done >> 10} / {now.size >> 10} kB", end="", flush=True)
        elif share != told:
            print(f"{now.done >> 10} / {now.size >> 10} kB", flush=True)
        told = share
        if now.whole:
            if sys.stdout.isatty():
                print()
            return now.number
    return None
