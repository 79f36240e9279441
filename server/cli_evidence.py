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
    from server.services.paired import devices

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
    from server.services.paired import devices

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


def device_apart(args: argparse.Namespace) -> int:
    """One line for each record that was set aside of a kiosk; the look is noted in the trail."""
    from attendance.days import SHANGHAI, from_ms, to_ms
    from server.services.evidence import audit
    from server.services.records import apart

    def clock(ms: int | None) -> str:
        return "-" if ms is None else f"{from_ms(ms).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"

    with transaction(config_of(args)) as session:
        kiosk = apart.kiosk_of(session, None, args.id)
        audit.note_for(session, kiosk.township_id, "command", "view_apart", kiosk.id, utcnow())
        found = apart.listing(session, kiosk)
    for one in found:
        claim, review = one.claim, one.review
        if review is not None:
            said = f"{review.by} {clock(to_ms(review.at))}: {review.note}"
            state = say(f"已核查 {said}", f"reviewed {said}")
        elif one.counted:
            state = say("后来已计入", "counted since")
        else:
            state = say("待核查", "waits for a review")
        claimed = (claim.official, claim.kind, claim.status, claim.method)
        print(
            f"{one.epoch}/{one.seq}", *(part or "-" for part in claimed), clock(claim.wall_ms),
            " ".join(one.why.split()), clock(one.received_ms), state, sep="\t",
        )  # fmt: skip
    if not found:
        print(say(f"{args.id} 没有被搁置的记录", f"nothing of {args.id} was set aside"))
    return 0


def device_paper(args: argparse.Namespace) -> int:
    """Whether a code from a village's paper log lies on the chain that is here."""
    from attendance.days import SHANGHAI
    from server.services.paired import devices

    with transaction(config_of(args)) as session:
        place = devices.place_of(session, args.id, args.code)
    if place is None:
        return fail(
            say(
                f"{args.id} 的记录中没有这个链头码：记录尚未上传，或写下之后被改过",
                f"no record of {args.id} leads to that code: not uploaded yet, or changed since",
            )
        )
    at = f"{place.epoch}/{place.seq}"
    when = "" if place.received is None else f"{place.received.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    if place.apart:
        return fail(
            say(f"记录 {at}（{when} 收到）属于另一份历史，隔离待查",
                f"record {at}, received {when}, is of another history, kept apart for a review")
        )  # fmt: skip
    print(
        say(f"与记录 {at} 相符，{when} 收到", f"it is the head after record {at}, received {when}")
    )
    return 0


def verify(args: argparse.Namespace) -> int:
    """One line for each bad row; 1 where there is any."""
    from server.services.evidence import checkpoints, verify
    from server.services.evidence.halves import verify_in_two

    if args.tables:
        print("\n".join(verify.PROTECTED))
        return 0
    config = config_of(args)
    witness = None if args.witness is None else checkpoints.read_witness(args.witness)
    bad = 0
    with transaction(config):
        pass  # brought up to this release
    # Reading only: kiosks are taken in meanwhile.
    for row in verify_in_two(config, load_keys(config).sign_public, witness):
        print(row, flush=True)
        bad += 1
    if bad:
        return fail(say(f"发现 {bad} 处异常", f"{bad} rows are not what they were"))
    print(say("全部一致", "everything is consistent"))
    return 0


def prune(args: argparse.Namespace) -> int:
    """Removes what is older than the retention asks for."""
    from attendance.days import SHANGHAI
    from server.db import Database
    from server.services.evidence.prune import prune

    config = config_of(args)
    with transaction(config):
        pass  # brought up to this release
    database = Database(config)
    try:
        done = prune(database, load_keys(config), utcnow(), args.keep_days)
    finally:
        database.close()
    if done.until is None:
        print(say("没有需要清除的记录", "nothing is old enough to be removed"))
        return 0
    until = f"{done.until.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    print(
        say(
            f"清除 {done.rows} 行；{until} 以前收到的记录已不再保存，verify 从此处开始",
            f"rows removed: {done.rows}; what was received before {until} is gone, and verify "
            "begins there",
        )
    )
    return 0


def checkpoint(args: argparse.Namespace) -> int:
    """Signs over everything stored until now."""
    from server.services.evidence import checkpoints

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
    from server.services.evidence import checkpoints

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
