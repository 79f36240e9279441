"""What the desk's commands print, and the JSON report of `import`.

`import --json FILE` writes one object: `folder`, `engine`, `model_id`, `threshold` (null where no
face was read), `summary` (counts: `officials`, `refused`, `enrolled`, `pin_only`,
`pictures_taken`, `pictures_spare`, `pictures_refused`), `officials` (a list in the order of
officials.csv, see `OfficialResult`; each has `pictures` with `file`, `result` of `taken`, `spare`
or `refused`, `faults` as words for programs and `why` as a sentence) and `sync` (`reached`, and
`message` where it was not).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import msgspec

from attendance.days import day_of, local
from attendance.i18n import language, say
from attendance.signing import key_mark
from enroll.desk import Desk
from enroll.errors import NotPaired
from enroll.files import write_private
from enroll.ledger import Owed
from enroll.reenrol import Reenrolments

if TYPE_CHECKING:  # a command loads OpenCV and HTTP only where it needs them
    from enroll.importer import OfficialResult
    from enroll.seal import Sealed
    from enroll.sync import SyncOutcome
    from enroll.withdraw import Withdrawn

FACES = {
    "enrolled": ("人脸已登记", "face enrolled"),
    "kept": ("沿用原人脸", "earlier face kept"),
    "withdrawn": ("人脸已撤回", "face withdrawn"),
    "none": ("无人脸", "no face"),
}
RESULTS = {
    "new": ("新增", "new"),
    "updated": ("已更新", "updated"),
    "same": ("无变化", "unchanged"),
    "refused": ("未采用", "skipped"),
}


class Progress:
    """A bar on a terminal, nothing but the lines otherwise. A context manager."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._bar: Any = None

    def start(self, total: int) -> None:
        """The number of steps to come."""
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=self._what, file=self._stream, leave=False)

    def step(self, *lines: str) -> None:
        """One step is done; print its lines."""
        if self._bar is not None:
            self._bar.clear()
        for line in lines:
            print(line, flush=True)
        if self._bar is not None:
            self._bar.update()

    def reach(self, done: int, total: int) -> None:
        """`done` of `total` steps are done, some of a second each or less."""
        if self._bar is None or self._bar.total != total:
            self.close()
            self.start(total)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def official_lines(result: OfficialResult) -> list[str]:
    """A line for the official, and one for each note and each picture not taken."""
    lang = language()
    parts = [say(*RESULTS[result.result])]
    if result.result != "refused":
        parts.append(say(*FACES[result.face]))
        if result.templates:
            parts.append(say(f"{result.templates} 个模板", f"{result.templates} templates"))
        parts.append(say("有 PIN", "PIN") if result.pin else say("无 PIN", "no PIN"))
        if result.card:
            parts.append(say("有卡", "card"))
        if result.portrait in ("queued", "same"):
            parts.append(say("公示照", "portrait"))
    who = " ".join(filter(None, (result.official or f"#{result.line}", result.name)))
    lines = [f"{who}: {say('，', ', ').join(parts)}"]
    where = say(f"第 {result.line} 行：", f"line {result.line}: ")
    prefix = where if result.result == "refused" else ""
    lines += [f"  {prefix}{note.words(lang)}" for note in result.notes]
    for each in result.pictures:
        if each.why is not None:
            word = say("未采用", "refused") if each.result == "refused" else say("备用", "spare")
            lines.append(f"  {each.file}: {word}{say('：', ': ')}{each.why.words(lang)}")
    return lines


def summary(results: Sequence[OfficialResult]) -> dict[str, int]:
    """The counts of the JSON report."""
    fates = [picture.result for result in results for picture in result.pictures]
    good = [result for result in results if result.result != "refused"]
    return {
        "officials": len(good),
        "refused": len(results) - len(good),
        "enrolled": sum(r.templates > 0 for r in good),
        "pin_only": sum(r.templates == 0 and r.pin for r in good),
        "pictures_taken": fates.count("taken"),
        "pictures_spare": fates.count("spare"),
        "pictures_refused": fates.count("refused"),
    }


def summary_line(counts: dict[str, int]) -> str:
    """The counts in one line."""
    return say(
        "共 {officials} 人，{enrolled} 人有人脸，{pin_only} 人仅 PIN；跳过 {refused} 行；"
        "采用照片 {pictures_taken} 张，拒绝 {pictures_refused} 张",
        "{officials} officials, {enrolled} with a face, {pin_only} with PIN only; {refused} rows "
        "skipped; {pictures_taken} pictures taken, {pictures_refused} refused",
    ).format(**counts)


def write_report(
    path: Path,
    folder: Path,
    results: Sequence[OfficialResult],
    engine: tuple[str, str, float] | None,
    sync_fault: str | None,
) -> None:
    """Write the JSON report (see the module), mode 0600. `engine` is name, model id, threshold."""
    lang = language()
    name, model, threshold = engine or (None, None, None)
    body = {
        "folder": str(folder),
        "engine": name,
        "model_id": model,
        "threshold": threshold,
        "summary": summary(results),
        "officials": [result.to_json(lang) for result in results],
        "sync": {"reached": sync_fault is None, "message": sync_fault},
    }
    pretty = msgspec.json.format(msgspec.json.encode(body), indent=2)
    write_private(path.expanduser().absolute(), pretty + b"\n")


def sync_lines(done: SyncOutcome) -> tuple[list[str], list[str]]:
    """What a round did, and what was wrong in it."""
    lang = language()
    lines = []
    for count, zh, en in (
        (len(done.roster), "已上报 {} 人的名册", "sent the particulars of {} officials"),
        (len(done.portraits), "已上传 {} 张公示照", "sent {} portraits"),
        (len(done.withdrawals), "已通知服务器 {} 项撤回", "told the server of {} withdrawals"),
        (
            done.proposals,
            "新到 {} 张待审照片：quxiang-enroll proposals list",
            "{} proposed pictures came: quxiang-enroll proposals list",
        ),
        (
            done.reenrol,
            "{} 人须重新登记人脸：quxiang-enroll list",
            "{} officials are to be enrolled again: quxiang-enroll list",
        ),
        (
            done.reenrolled,
            "已告知服务器 {} 人已重新登记",
            "told the server of {} officials enrolled again",
        ),
    ):
        if count:
            lines.append(say(zh, en).format(count))
    lines += [
        say(
            f"{who} 已于 {day_of(at_ms)} 撤回同意，服务器有记录而本机没有（本机是旧备份？）："
            "本机已删除其人脸，并要求一体机删除；如需再用，须重新签同意书",
            f"{who} withdrew consent on {day_of(at_ms)}; the server knows it and this desk did not "
            "(is it from an older copy?): the face is erased here and the kiosks are asked to "
            "erase it; to use it again a new consent has to be signed",
        )
        for who, at_ms in done.followed
    ]
    lines += [
        say(
            f"新一体机 {k.device}（{k.site}），密钥指纹 {k.fingerprint}：请与其屏幕核对",
            f"new kiosk {k.device} ({k.site}), key fingerprint {k.fingerprint}: compare it with "
            "the kiosk's screen",
        )
        for k in done.pinned
    ]
    lines += [
        say(
            f"已为 {s.kiosk.site}（{s.kiosk.device}）密封第 {s.version} 版：{s.people} 人，"
            f"{s.faces} 人有人脸",
            f"sealed version {s.version} for {s.kiosk.site} ({s.kiosk.device}): {s.people} people, "
            f"{s.faces} with a face",
        )
        for s in done.sealed
    ]
    lines += [
        say(
            f"{r.site}（{r.device}）已确认删除 {r.official} 的人脸"
            f"（第 {r.version} 版清单，记录 {r.epoch}/{r.seq}）",
            f"{r.site} ({r.device}) confirms that {r.official}'s face is erased "
            f"(manifest {r.version}, record {r.epoch}/{r.seq})",
        )
        for r in done.receipts
    ]
    faults = [error.words(lang) for error in (*done.changed, *done.problems)]
    faults += [
        say(f"服务器未接受 {who}：{why}", f"the server refused {who}: {why}")
        for who, why in done.refused.items()
    ]
    if done.outdated:
        faults.append(
            say(
                f"{len(done.outdated)} 人的模板由旧模型生成，未下发人脸：请重新导入其照片",
                f"{len(done.outdated)} faces are of an older model and were sealed without it: "
                "import those pictures again",
            )
        )
    return lines, faults


def export_lines(path: Path, sealed: Sequence[Sealed]) -> list[str]:
    """What is in the file for a stick, and what to do with it."""
    return [
        *(
            say(
                f"{each.kiosk.site}（{each.kiosk.device}）第 {each.version} 版：{each.people} 人",
                f"{each.kiosk.site} ({each.kiosk.device}) version {each.version}: "
                f"{each.people} people",
            )
            for each in sealed
        ),
        say(
            f"已写入 {path}：在一体机上运行 quxiang-kiosk import",
            f"written to {path}: run quxiang-kiosk import on the kiosk",
        ),
        say(
            "其中只有上次同步时已知的一体机；此后配对的：先联网运行一次 quxiang-enroll sync，"
            "再导出",
            "in it are the kiosks known at the last sync; for one paired since, run "
            "quxiang-enroll sync once with the server, then export again",
        ),
    ]


def owed_lines(owed: Sequence[Owed]) -> list[str]:
    """The kiosks that have not confirmed an erasure yet."""
    return [
        say(
            f"{each.site}（{each.device}）尚未确认删除 {each.official}",
            f"{each.site} ({each.device}) has not confirmed the erasure of {each.official} yet",
        )
        + (
            say("；该机已停用，请收回设备", "; it is revoked: fetch the device back")
            if each.revoked
            else ""
        )
        for each in owed
    ]


def withdrawn_lines(done: Withdrawn) -> list[str]:
    """What a withdrawal erased, and where it still has to be."""
    who = done.official
    lines = []
    if not done.had_consent and not done.templates:
        lines.append(say(f"{who} 没有有效的同意书", f"{who} has no consent that stands"))
    else:
        lines.append(
            say(
                f"{who} 的同意已撤回；本机已删除 {done.templates} 个人脸模板",
                f"{who}'s consent is withdrawn; {done.templates} templates erased on this desk",
            )
        )
    if done.proposals:
        lines.append(
            say(
                f"已删除 {done.proposals} 张待审照片",
                f"{done.proposals} proposed pictures erased here",
            )
        )
    if done.portrait:
        lines.append(
            say("公示照将从服务器删除", "the public portrait will be removed from the server")
        )
    lines.append(
        say("PIN 已删除", "the PIN is erased too")
        if done.pin
        else say("PIN 签到不受影响", "checking in by PIN goes on as before")
    )
    return lines


def reenrol_lines(desk: Desk) -> list[str]:
    """Who is to be enrolled again, since somebody else was taken for them."""
    names = {row.official: row.name for row in desk.store.officials()}
    return [
        say(
            f"须重新登记 {each.official} {names.get(each.official, '')}：{each.day} 有他人被认作"
            f"此人（督导问题 № {each.finding}）；quxiang-enroll capture {each.official} "
            "或导入新照片",
            f"to be enrolled again: {each.official} {names.get(each.official, '')}, for whom "
            f"somebody else was taken on {each.day} (finding № {each.finding}); quxiang-enroll "
            f"capture {each.official}, or import new pictures",
        )
        for each in Reenrolments(desk.store).waiting()
    ]


def list_lines(desk: Desk) -> list[str]:
    """This desk, everybody enrolled, every kiosk, every erasure owed."""
    lines = []
    with contextlib.suppress(NotPaired):
        ident, mark = desk.config().device, key_mark(desk.keys().sign_public)
        lines.append(
            say(f"登记台 {ident}：密钥指纹 {mark}", f"desk {ident}: key fingerprint {mark}")
        )
    alike = desk.store.alike()
    faces = {face.official: len(face.templates) for face in desk.store.faces()}
    refused = desk.store.refused()
    expected = desk.store.expected()
    for row in desk.store.officials():
        consent = desk.store.consent(row.official, "face")
        given = consent.given_on.isoformat() if consent and consent.stands else "-"
        parts = [
            say(f"模板 {faces.get(row.official, 0)}", f"templates {faces.get(row.official, 0)}"),
            say(f"同意 {given}", f"consent {given}"),
            "PIN" if "pin" in desk.store.holds(row.official) else say("无 PIN", "no PIN"),
            ";".join(row.sites) or "-",
        ]
        sent = [site for site in expected.get(row.official, ()) if site not in row.sites]
        if sent and row.official not in refused:
            there = ";".join(sent)
            parts.append(say(f"服务器排班另有 {there}", f"{there} by the server's roster"))
        parts += [
            said
            for kind, said in (("card", say("卡", "card")), ("badge", say("工牌", "badge")))
            if kind in desk.store.holds(row.official)
        ]
        if row.official in alike:
            parts.append(say("刷脸后须 PIN", "PIN after the face"))
        if row.official in refused:
            parts.append(say("服务器未接受", "refused by the server"))
        lines.append(f"{row.official} {row.name}: {say('，', ', ').join(parts)}")
    for kiosk in desk.ledger.kiosks():
        made = "-" if kiosk.made_ms is None else f"{local(kiosk.made_ms):%Y-%m-%d %H:%M}"
        lines.append(
            say(
                f"一体机 {kiosk.device} {kiosk.site}：指纹 {kiosk.fingerprint}，"
                f"第 {kiosk.version} 版，{made}",
                f"kiosk {kiosk.device} {kiosk.site}: fingerprint {kiosk.fingerprint}, "
                f"version {kiosk.version}, {made}",
            )
            + (say("，已停用", ", revoked") if kiosk.revoked else "")
        )
    lines += [
        say(
            f"{r.site}（{r.device}）已确认删除 {r.official} 的人脸：第 {r.version} 版清单，"
            f"{local(r.received_ms):%Y-%m-%d %H:%M}，签名已核对",
            f"{r.site} ({r.device}) confirmed that {r.official}'s face is erased: manifest "
            f"{r.version}, {local(r.received_ms):%Y-%m-%d %H:%M}, signature checked",
        )
        for r in desk.ledger.receipts()
    ]
    return lines + reenrol_lines(desk) + owed_lines(desk.ledger.owed())
