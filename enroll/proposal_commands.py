"""`quxiang-enroll proposals ...`: consent to proposed pictures, looking at them, deciding."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from attendance.days import day_of, local
from attendance.i18n import language, say
from enroll.desk import Desk
from enroll.errors import EnrollError, OfficialUnknown
from enroll.people import read_consent_date
from enroll.proposals import Fate, Proposal, Proposals, asked_since, fates_counted
from enroll.store import Store

Sync = Callable[[Desk], object]

FATES: dict[Fate, tuple[str, str]] = {
    "taken": ("{} 张待审", "{} to be decided"),
    "known": ("{} 张先前已收到", "{} known already"),
    "full": ("{} 张超过每人 3 张的上限，未收", "{} beyond 3 an official, left out"),
    "unasked": ("{} 张没有书面同意，未收", "{} without a consent that stands, left out"),
    "stale": ("{} 张已过期或时间不对，未收", "{} too old or of a wrong clock, left out"),
    "foreign": ("{} 张不是本镇一体机的，未收", "{} not of a kiosk of ours, left out"),
}


def add_parsers(
    commands: Any,  # argparse's own type for this is private
    common: argparse.ArgumentParser,
    sync: Sync,
) -> None:
    """Adds `proposals` and its commands. `sync` tries a round with the server afterwards."""
    text = "pictures that kiosks propose as templates: a supervisor decides"
    kinds = commands.add_parser("proposals", help=text, description=text).add_subparsers(
        metavar="COMMAND", required=True
    )

    def add(
        name: str, text: str, run: Callable[..., int], *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = kinds.add_parser(
            name, help=text, description=text, parents=[common, *parents]
        )
        made.set_defaults(run=lambda args: run(args, sync))
        return made

    allow = add("allow", "note the separate written consent to proposed pictures", _allow)
    allow.add_argument("official", metavar="OFFICIAL")
    allow.add_argument(
        "--consented-on", metavar="DATE", help="the day it was signed (default: today)"
    )
    end = add("disallow", "end that consent and erase what waits, everywhere", _disallow)
    end.add_argument("official", metavar="OFFICIAL")
    listed = add("list", "who consented, what waits, with --all what was decided by whom", _list)
    listed.add_argument("--all", action="store_true", help="the whole log")
    take = add("take", "take proposals from a file that quxiang-kiosk export wrote", _take)
    take.add_argument("file", type=Path, metavar="FILE")
    show = add("show", "write a private page with the picture, and say what is known", _show)
    show.add_argument("id", metavar="ID", help="the beginning of its id is enough")
    show.add_argument(
        "--folder", type=Path, help="the folder of the import, to see its pictures beside"
    )
    show.add_argument("--engine", choices=("sface", "dlib"), help="default: the one used last")
    good = add("accept", "make the picture a template", _accept)
    good.add_argument("--engine", choices=("sface", "dlib"), help="default: the one used last")
    good.add_argument(
        "--allow-similar",
        action="store_true",
        help="two people of one likeness (twins): both need their PIN after the face",
    )
    bad = add("refuse", "erase the picture", _refuse)
    for each in (good, bad):
        each.add_argument("id", metavar="ID")
        each.add_argument("--by", required=True, metavar="NAME", help="the supervisor who decides")


def _desk(args: argparse.Namespace) -> Desk:
    return Desk(Path(args.data).expanduser())


def _known(store: Store, official: str) -> str:
    row = store.official(official)
    if row is None:
        raise OfficialUnknown(
            f"本机没有编号为 {official} 的人员：用 quxiang-enroll list 查看",
            f"nobody here has the id {official}: quxiang-enroll list shows who is",
        )
    return row.name


def _allow(args: argparse.Namespace, sync: Sync) -> int:
    from enroll.enrol import check_consent_of

    with _desk(args) as desk:
        name, now_ms = _known(desk.store, args.official), desk.now_ms()
        given: date = read_consent_date(args.consented_on) if args.consented_on else day_of(now_ms)
        face = desk.store.consent(args.official, "face")
        if face is None or not face.stands:
            raise EnrollError(
                f"{name} 没有有效的人脸同意书，不能提议照片",
                f"{name} has no consent to a face that stands: nothing can be proposed",
            )
        check_consent_of(desk.store, args.official, "proposals", given, now_ms, renewed=True)
        desk.store.add_consent(args.official, "proposals", given, now_ms)
        print(
            say(
                f"{name} 同意留存待审照片（{given}）；各一体机下次联网后生效。随时可撤回："
                f"quxiang-enroll proposals disallow {args.official}",
                f"{name} consented to proposed pictures ({given}); it reaches the kiosks with "
                f"their next sync. To end it: quxiang-enroll proposals disallow {args.official}",
            )
        )
        sync(desk)
    return 0


def _disallow(args: argparse.Namespace, sync: Sync) -> int:
    with _desk(args) as desk:
        name = _known(desk.store, args.official)
        with desk.store.transaction():
            ended = desk.store.end_consent(args.official, "proposals", desk.now_ms())
            erased = Proposals(desk).erase(args.official)
        desk.store.shred()
        said = (
            say(
                f"{name} 不再同意留存待审照片；本机已删除 {erased} 张",
                f"{name} consents to proposed pictures no more; {erased} erased here",
            )
            if ended
            else say(f"{name} 没有这项同意", f"{name} had no such consent")
        )
        print(said)
        sync(desk)
    return 0


def _list(args: argparse.Namespace, sync: Sync) -> int:
    with _desk(args) as desk:
        pile = Proposals(desk)
        pile.expire()
        for row in desk.store.officials():
            consent = desk.store.consent(row.official, "proposals")
            if asked_since(desk.store, row.official) is not None and consent is not None:
                print(
                    say(
                        f"{row.official} {row.name}：同意留存待审照片 {consent.given_on}",
                        f"{row.official} {row.name}: consents to proposed pictures since "
                        f"{consent.given_on}",
                    )
                )
        rows = pile.rows(undecided=not args.all)
        for proposal in rows:
            print(_line(desk, proposal))
        if not rows:
            print(say("没有待审照片", "no picture waits"))
    return 0


def _line(desk: Desk, proposal: Proposal) -> str:
    kiosk = desk.ledger.kiosk(proposal.device)
    row = desk.store.official(proposal.official)
    line = (
        f"{proposal.id[:8]} {local(proposal.at_ms):%Y-%m-%d %H:%M} {proposal.official} "
        f"{row.name if row else ''} {kiosk.site if kiosk else proposal.device}"
    )
    words = {
        "accepted": ("已采用", "accepted"),
        "refused": ("未采用", "refused"),
        "erased": ("未审删除", "erased undecided"),
    }
    if proposal.what is None or proposal.decided_ms is None:
        return f"{line} {say('待审', 'to be decided')}"
    at = f"{local(proposal.decided_ms):%Y-%m-%d %H:%M}"
    by = f" {proposal.who}" if proposal.who else ""
    return f"{line} {say(*words[proposal.what])}{by} {at}"


def _take(args: argparse.Namespace, sync: Sync) -> int:
    with _desk(args) as desk:
        fates = fates_counted(Proposals(desk).take_file(args.file.expanduser()))
        for fate, count in fates.items():
            print(say(*FATES[fate]).format(count))
        if not fates:
            print(say("文件是空的", "the file is empty"))
    return 0


def _engine(args: argparse.Namespace, desk: Desk) -> Any:
    from recognition.engines import load_engine

    return load_engine(args.engine or desk.store.meta("engine") or "sface", desk.data)


def _show(args: argparse.Namespace, sync: Sync) -> int:
    from enroll.accept import judge
    from enroll.proposal_page import facts_of, write_page

    with _desk(args) as desk:
        pile = Proposals(desk)
        proposal = pile.find(args.id)
        contents = pile.contents(proposal.id)
        judged = judge(desk, _engine(args, desk), proposal.official, contents.picture)
        folder = args.folder.expanduser() if args.folder is not None else None
        path = write_page(desk, proposal, contents, judged, folder)
        kiosk = desk.ledger.kiosk(proposal.device)
        for head, text in facts_of(proposal, contents, judged, kiosk.site if kiosk else ""):
            print(f"{head}: {text}")
        if judged.why is not None:
            print(say("不能采用：", "it cannot be accepted: ") + judged.why.words(language()))
        print(
            say(
                f"照片：用浏览器打开 {path}（决定后自动删除）",
                f"picture: open {path} in a browser (it goes with the decision)",
            )
        )
    return 0


def _accept(args: argparse.Namespace, sync: Sync) -> int:
    from enroll.accept import accept

    with _desk(args) as desk:
        proposal = Proposals(desk).find(args.id)
        done = accept(
            desk, _engine(args, desk), proposal, args.by, allow_similar=args.allow_similar
        )
        print(
            say(
                f"已采用为 {proposal.official} 的模板（共 {done.templates} 个"
                + ("，替换了一个旧模板）" if done.replaced else "）")
                + "；照片已删除，随下一版人脸库下发",
                f"accepted as a template of {proposal.official} ({done.templates} now"
                + (", one made room)" if done.replaced else ")")
                + "; the picture is erased, kiosks get it with the next gallery",
            )
        )
        for each in done.similar:
            print(
                say(
                    f"与 {each.official} 相似（{each.score:.2f}）",
                    f"looks like {each.official} ({each.score:.2f})",
                ),
                file=sys.stderr,
            )
        sync(desk)
    return 0


def _refuse(args: argparse.Namespace, sync: Sync) -> int:
    from enroll.accept import refuse

    with _desk(args) as desk:
        proposal = Proposals(desk).find(args.id)
        refuse(desk, proposal, args.by)
        print(say("未采用，照片已删除", "refused; the picture is erased"))
        sync(desk)
    return 0
