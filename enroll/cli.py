"""quxiang-enroll: the enrolment desk's commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attendance.errors import QuxiangError
from attendance.galleries import is_believable
from attendance.i18n import defect, language, say
from attendance.signing import key_mark
from enroll import proposal_commands
from enroll.config import DEFAULT_DATA
from enroll.desk import Desk
from enroll.errors import EnrollError, NotPaired
from enroll.report import (
    Progress,
    export_lines,
    list_lines,
    official_lines,
    owed_lines,
    summary,
    summary_line,
    sync_lines,
    withdrawn_lines,
    write_report,
)

ENGINES = ("sface", "dlib")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 on failure with one line, 130 on Ctrl-C."""
    args = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print(say("已中断", "interrupted"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output went away: `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - each is told, the unforeseen ones too
        print(_line(error), file=sys.stderr)
        return 1


def _line(error: Exception) -> str:
    words = getattr(error, "words", None)
    if callable(words):
        return str(words(language()))
    if isinstance(error, QuxiangError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        what = f"{place}{error.strerror or error}"
        return say(f"文件操作失败：{what}", f"cannot go on: {what}")
    return defect(error)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA,
        metavar="DIR",
        help="everything this desk owns (default: %(default)s)",
    )
    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument("--engine", choices=ENGINES, help="default: the one used last, else sface")
    engine.add_argument(
        "--new-model",
        action="store_true",
        help="switch to this engine's model; everybody has to be enrolled anew",
    )
    engine.add_argument(
        "--allow-similar",
        action="store_true",
        help="two people of one likeness (twins): both need their PIN after the face",
    )
    parser = argparse.ArgumentParser(prog="quxiang-enroll", description="The enrolment desk.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common, *parents])

    pair = add("pair", "make this machine the township's enrolment desk")
    pair.add_argument("--server", required=True, metavar="URL")
    pair.add_argument("--code", required=True, help="from quxiang-server code --kind desk")
    pair.add_argument(
        "--ca", type=Path, metavar="FILE", help="the server's own certificate, where it made one"
    )
    pair.add_argument("--again", action="store_true", help="replace an earlier pairing")
    pair.set_defaults(run=_pair)

    take = add("import", "enrol everybody in FOLDER (officials.csv and pictures)", engine)
    take.add_argument("folder", type=Path, metavar="FOLDER")
    take.add_argument("--json", type=Path, metavar="FILE", help="write a report")
    take.set_defaults(run=_import)

    cap = add("capture", "enrol one official from a camera, guided", engine)
    cap.add_argument("official", metavar="OFFICIAL")
    cap.add_argument("--camera", required=True, metavar="SOURCE")
    cap.add_argument("--consented-on", required=True, metavar="DATE")
    cap.add_argument("--name", help="adds the official where they are new")
    cap.add_argument("--title")
    cap.add_argument("--phone")
    cap.add_argument("--group", help="work group")
    cap.add_argument("--sites", help="separated by ;")
    cap.add_argument("--pin-stdin", action="store_true", help="read a PIN of six digits")
    cap.set_defaults(run=_capture)

    sync = add("sync", "seal for kiosks, renew manifests, collect receipts")
    sync.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    sync.add_argument(
        "--interval", type=float, default=30.0, metavar="S", help="seconds between rounds"
    )
    sync.add_argument(
        "--accept-key",
        action="append",
        default=[],
        metavar="FINGERPRINT",
        help="take over a kiosk's changed key after comparing it with the kiosk's screen",
    )
    sync.set_defaults(run=_sync)

    usb = add("export", "write every kiosk's gallery to FILE for a USB stick")
    usb.add_argument("file", type=Path, metavar="FILE")
    usb.add_argument(
        "--above",
        type=_version,
        default=0,
        metavar="N",
        help="the gallery version that a kiosk says it has, where it takes no lower one",
    )
    usb.set_defaults(run=_export)

    end = add("withdraw", "withdraw an official's consent and erase their face everywhere")
    end.add_argument("official", metavar="OFFICIAL")
    end.add_argument(
        "--leaving", action="store_true", help="they leave the township: erase the PIN too"
    )
    end.set_defaults(run=_withdraw)

    card = add("card", "enrol an official's card from a reader that types, or void it")
    card.add_argument("official", metavar="OFFICIAL")
    how = card.add_mutually_exclusive_group(required=True)
    how.add_argument("--number-stdin", action="store_true", help="read the card's number")
    how.add_argument("--revoke", action="store_true", help="a lost card: void it")
    card.set_defaults(run=_token)

    badge = add("badge", "print an official's QR badge, or void it")
    badge.add_argument("official", metavar="OFFICIAL")
    what = badge.add_mutually_exclusive_group(required=True)
    what.add_argument("file", type=Path, nargs="?", metavar="FILE", help=".png, .pdf or .svg")
    what.add_argument("--revoke", action="store_true", help="a lost badge: void it")
    badge.set_defaults(run=_token)

    proposal_commands.add_parsers(commands, common, _try_sync_if_paired)

    show = add("list", "everybody enrolled, the kiosks, and the erasures still owed")
    show.set_defaults(run=_list)
    return parser


def _version(text: str) -> int:
    if not text.isdecimal() or not is_believable(int(text), 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no gallery version: use the kiosk's number")
    return int(text)


def _data(args: argparse.Namespace) -> Path:
    return Path(args.data).expanduser()


def _pair(args: argparse.Namespace) -> int:
    from enroll.pairing import pair

    data = _data(args)
    with Desk(data) as desk:
        config, moved = pair(data, args.server, args.code, again=args.again, ca=args.ca)
        if moved:
            desk.store.forget_server()
        mark = key_mark(desk.keys().sign_public)
        print(
            say(
                f"已与 {config.township}（{config.server}）配对，登记台 {config.device}，"
                f"密钥指纹 {mark}",
                f"paired with {config.township} ({config.server}) as desk {config.device}, "
                f"key fingerprint {mark}",
            )
        )
        _try_sync(desk)
    return 0


def _try_sync(desk: Desk) -> str | None:
    """One round as an afterthought: a fault is a warning. Returns it in words."""
    try:
        _round(desk)
    except EnrollError as error:
        fault = error.words(language())
        print(
            say(
                f"注意：未能与服务器同步（{fault}）；数据已保存，稍后运行 quxiang-enroll sync",
                f"warning: not synced ({fault}); everything is kept here, run quxiang-enroll sync "
                "later",
            ),
            file=sys.stderr,
        )
        return fault
    return None


def _try_sync_if_paired(desk: Desk) -> None:
    try:
        desk.config()
    except NotPaired:
        return
    _try_sync(desk)


def _round(desk: Desk, accept: frozenset[str] = frozenset(), told: set[str] | None = None) -> bool:
    """One round, told on the terminal; False where a kiosk's key had changed.

    told: what a watching desk has said already and does not repeat while it stays so.
    """
    from enroll.sync import sync_once

    client = desk.client()
    try:
        with Progress(say("PIN 加密", "hashing PINs")) as progress:
            done = sync_once(desk, client, accept=accept, on_hash=progress.reach)
    finally:
        client.close()
    lines, faults = sync_lines(done)
    if told is None:
        lines += owed_lines(done.owed)
    else:
        news = [line for line in faults if line not in told]
        told.clear()
        told.update(faults)
        faults = news
    for line in lines:
        print(line, flush=True)
    for line in faults:
        print(line, file=sys.stderr, flush=True)
    return not done.changed


def _known_sites(desk: Desk) -> list[str] | None:
    """Names of the sites: from the server, else as told before, else None (told to the user)."""
    try:
        client = desk.client()
        try:
            desk.store.set_sites(client.sites(), desk.now_ms())
        finally:
            client.close()
    except EnrollError as error:
        fault = error.words(language())
        if desk.store.meta("sites_ms") is None:
            print(
                say(
                    f"注意：还不知道有哪些地点（{fault}），sites 一列留待下次同步时核对",
                    f"warning: the sites are not known yet ({fault}); the column sites is checked "
                    "at the next sync",
                ),
                file=sys.stderr,
            )
            return None
    return list(desk.store.sites())


def _import(args: argparse.Namespace) -> int:
    from enroll.importer import OfficialResult, import_folder
    from recognition.engine import Engine
    from recognition.engines import load_engine

    data, used = _data(args), []
    with Desk(data) as desk, Progress(say("登记", "enrolling")) as progress:

        def engine() -> Engine:
            used.append(load_engine(args.engine or desk.store.meta("engine") or "sface", data))
            return used[0]

        def tell(result: OfficialResult) -> None:
            progress.step(*official_lines(result))

        results = import_folder(
            desk,
            args.folder,
            engine,
            sites=_known_sites(desk),
            allow_similar=args.allow_similar,
            new_model=args.new_model,
            on_start=progress.start,
            on_result=tell,
        )
        progress.close()
        print(summary_line(summary(results)))
        fault = _try_sync(desk)
        if args.json is not None:
            told = [(each.name, each.model_id, each.threshold) for each in used]
            write_report(args.json, args.folder, results, told[0] if told else None, fault)
    return 0


def _capture(args: argparse.Namespace) -> int:
    import numpy as np

    from enroll.capture import CONSENT, capture
    from enroll.enrol import check_consent, check_model, enrol, grant_consent
    from enroll.folder import Note
    from enroll.people import official_for_capture, read_consent_date, read_pin
    from hardware.camera import open_camera
    from recognition.engines import load_engine

    data, lang = _data(args), language()
    with Desk(data) as desk:
        given_on = read_consent_date(args.consented_on)
        row = official_for_capture(desk, args, _known_sites)
        check_consent(desk.store, row.official, given_on, desk.now_ms(), renewed=True)
        pin = read_pin(sys.stdin) if args.pin_stdin else None
        engine = load_engine(args.engine or desk.store.meta("engine") or "sface", data)
        check_model(desk.store, engine, new_model=args.new_model)
        print(f"{row.name} ({row.official}): {CONSENT.words(lang)}")

        def tell(note: Note) -> None:
            print(note.words(lang), flush=True)

        with open_camera(args.camera) as camera:
            samples = capture(camera, engine, tell)
        desk.store.put_official(row)
        if pin is not None:
            desk.store.set_pin(row.official, pin)
        grant_consent(desk.store, row.official, given_on, desk.now_ms(), renewed=True)
        templates = np.stack([sample.template for sample in samples])
        similar = enrol(
            desk.store, engine, row.official, templates, allow_similar=args.allow_similar
        )
        print(
            say(
                f"{row.name} 已登记：{len(samples)} 个模板，照片未保存",
                f"{row.name} is enrolled: {len(samples)} templates, no picture was kept",
            )
        )
        for each in similar:
            print(
                say(
                    f"与 {each.official} 相似（{each.score:.2f}）"
                    + ("：两人刷脸后都须输 PIN" if each.collides else "，请现场试刷"),
                    f"looks like {each.official} ({each.score:.2f})"
                    + (": both need their PIN after the face" if each.collides else ": try both"),
                )
            )
        if desk.store.pin(row.official) is None:
            print(
                say(
                    "还没有 PIN：请用 --pin-stdin 或导入表补录",
                    "no PIN yet: add one with --pin-stdin or by import",
                ),
                file=sys.stderr,
            )
        _try_sync(desk)
    return 0


def _sync(args: argparse.Namespace) -> int:
    accept = frozenset(text.strip().upper() for text in args.accept_key)
    with Desk(_data(args)) as desk:
        desk.config()
        if not args.watch:
            return 0 if _round(desk, accept) else 1
        from enroll.watch import watch

        told: set[str] = set()
        return watch(lambda: _round(desk, accept, told), interval_s=args.interval)


def _export(args: argparse.Namespace) -> int:
    from enroll.export import export

    with Desk(_data(args)) as desk:
        desk.config()
        _try_sync(desk)
        with Progress(say("PIN 加密", "hashing PINs")) as progress:
            sealed = export(desk, args.file, above=args.above, on_hash=progress.reach)
        for line in export_lines(args.file, sealed):
            print(line)
    return 0


def _withdraw(args: argparse.Namespace) -> int:
    from enroll.withdraw import withdraw_consent

    with Desk(_data(args)) as desk:
        done = withdraw_consent(desk, args.official, leaving=args.leaving)
        for line in withdrawn_lines(done):
            print(line, flush=True)
        try:
            desk.config()
        except NotPaired:
            return 0
        if _try_sync(desk) is not None:  # a round that succeeds tells them itself
            for line in owed_lines(desk.ledger.owed(args.official)):
                print(line)
    return 0


def _token(args: argparse.Namespace) -> int:
    from enroll.badges import do_badge, do_card

    with Desk(_data(args)) as desk:
        act = do_card if hasattr(args, "number_stdin") else do_badge
        print(f"{args.official}: {act(args, desk)}")
        _try_sync(desk)
    return 0


def _list(args: argparse.Namespace) -> int:
    with Desk(_data(args)) as desk:
        for line in list_lines(desk):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
