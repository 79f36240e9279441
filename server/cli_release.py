"""`quxiang-server release`: the updates that kiosks are offered."""

from __future__ import annotations

import argparse

from attendance.i18n import say
from server.cli_base import config_of
from server.config import load_keys


def release(args: argparse.Namespace) -> int:
    """`release add|list|remove`."""
    from server.services.paired import releases

    config = config_of(args)
    load_keys(config)  # a folder without a server is told
    if args.action == "add":
        if args.key is not None:
            releases.keep_key(config, args.key)
        manifest = releases.add(config, args.file).manifest
        number, machine = manifest.number, manifest.machine
        print(
            say(
                f"已提供版本 {number}（{machine}），终端将在夜间取用",
                f"release {number} for {machine} is offered; kiosks fetch it at night",
            )
        )
    elif args.action == "remove":
        releases.remove(config, args.number)
        print(say(f"不再提供版本 {args.number}", f"release {args.number} is offered no more"))
    else:
        for head in releases.listed(config):
            m = head.manifest
            print(m.number, m.version, m.machine, ",".join(m.python), head.size, sep="\t")
    return 0
