"""`quxiang-server`'s commands about evidence: devices, checkpoints, verify."""

from __future__ import annotations

import argparse

from attendance.i18n import say
from server.cli_base import config_of, fail, transaction
from server.config import load_keys
from server.context import utcnow


def device_list(args: argparse.Namespace) -> int:
    """One line for each device."""
    from attendance.days import SHANGHAI
    from server.services import devices

    never = say("从未联系", "never")
    with transaction(config_of(args)) as session:
        for d in devices.states(session):
            heard = d.last_contact
            when = never if heard is None else f"{heard.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
            apart = say(f"待发 {d.pending}，隔离 {d.quarantined}",
                        f"{d.pending} waiting, {d.quarantined} in quarantine")  # fmt: skip
            print(d.id, d.kind, d.site or "-", d.state, d.fingerprint, when, apart, sep="\t")
    return 0


def device_change(args: argparse.Namespace) -> int:
    """Revokes or settles a device."""
    from server.services import devices

    with transaction(config_of(args)) as session:
        if args.action == "revoke":
            devices.revoke(session, args.id, utcnow())
            print(say(f"已撤销设备 {args.id}", f"{args.id} is revoked"))
        else:
            devices.settle(session, args.id, utcnow())
            print(
                say(
                    f"设备 {args.id} 可以继续工作；分叉记录留在隔离区待查",
                    f"{args.id} may go on; its other history stays in quarantine for a review",
                )
            )
    return 0


def verify(args: argparse.Namespace) -> int:
    """One line for each bad row; 1 where there is any."""
    from server.services import checkpoints, verify

    if args.tables:
        print("\n".join(verify.PROTECTED))
        return 0
    config = config_of(args)
    witness = None if args.witness is None else checkpoints.read_witness(args.witness)
    bad = 0
    with transaction(config) as session:
        for row in verify.verify(session, load_keys(config).sign_public, witness):
            print(row, flush=True)
            bad += 1
    if bad:
        return fail(say(f"发现 {bad} 处异常", f"{bad} rows are not what they were"))
    print(say("全部一致", "everything is consistent"))
    return 0


def checkpoint(args: argparse.Namespace) -> int:
    """Signs over everything stored until now."""
    from server.services import checkpoints

    config = config_of(args)
    with transaction(config) as session:
        last = checkpoints.make_all(session, load_keys(config).sign_seed, utcnow())
        number, size = (0, 0) if last is None else (last.id, last.size)
    print(
        say(f"检查点 {number}，共 {size} 行", f"checkpoint {number} over {size} rows")
        if number
        else say("还没有任何记录可签", "there is nothing to sign yet")
    )
    return 0


def witness(args: argparse.Namespace) -> int:
    """Writes the witness file."""
    from server.services import checkpoints

    config = config_of(args)
    with transaction(config) as session:
        checkpoints.write_witness(session, load_keys(config).sign_public, args.file)
    print(
        say(
            f"检查点已写入 {args.file}：请存放在管理员接触不到的地方",
            f"the checkpoints are in {args.file}: keep it out of the administrator's reach",
        )
    )
    return 0
