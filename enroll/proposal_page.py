"""The page on which a supervisor looks at a proposed picture: one private file, no script."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import cv2
import numpy as np

from attendance.days import local
from attendance.i18n import language, say
from attendance.proposals import ProposalContents
from enroll.accept import Judged
from enroll.desk import Desk
from enroll.files import make_private, write_private
from enroll.proposals import Proposal, page_of
from recognition.errors import BadPicture
from recognition.pictures import picture_paths, read_picture

MOST_BESIDE = 6
SIDE = 320

_STYLE = """body{font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;margin:24px;max-width:1000px;
color:#1b1f23;background:#fff}h1{font-size:24px;margin:0 0 4px}.row{display:flex;gap:24px;
flex-wrap:wrap;align-items:flex-start}figure{margin:0}img{width:260px;height:auto;border:1px solid
#c8ccd0;border-radius:8px;display:block}.small img{width:160px}figcaption{color:#4a4f54;
font-size:14px;max-width:260px;overflow-wrap:anywhere}table{border-collapse:collapse;margin:16px 0}
th,td{text-align:left;padding:4px 16px 4px 0;border-bottom:1px solid #e3e6e8;
vertical-align:top}th{font-weight:600}.bad{color:#a01818;font-weight:600}
code{background:#f1f3f4;padding:2px 6px;border-radius:4px}"""


def write_page(
    desk: Desk, proposal: Proposal, contents: ProposalContents, judged: Judged, folder: Path | None
) -> Path:
    """Write the page (mode 0600, in the desk's folder) and return its path; it goes with the
    decision. `folder` is that of the import, whose pictures are shown beside. Raises DeskUnusable.
    """
    path = page_of(desk, proposal.id)
    make_private(path.parent)
    write_private(path, _page(desk, proposal, contents, judged, folder).encode())
    return path


def _page(
    desk: Desk, proposal: Proposal, contents: ProposalContents, judged: Judged, folder: Path | None
) -> str:
    row = desk.store.official(proposal.official)
    name = row.name if row is not None else proposal.official
    kiosk = desk.ledger.kiosk(proposal.device)
    title = say(f"待审照片：{name}", f"Proposed picture: {name}")
    facts = facts_of(proposal, contents, judged, kiosk.site if kiosk else "")
    rows = "".join(
        f"<tr><th>{html.escape(head)}</th><td>{html.escape(text)}</td></tr>" for head, text in facts
    )
    verdict = (
        say("可以采用。", "It may be accepted.")
        if judged.why is None
        else say("不能采用：", "It cannot be accepted: ") + judged.why.words(language())
    )
    beside = _beside(folder / proposal.official) if folder is not None else []
    others = "".join(_figure(jpeg, caption, "small") for caption, jpeg in beside)
    if not beside:
        others = f"<p>{_none_kept()}</p>"
    short = proposal.id[:8]
    ask = say(
        "由督导人员决定并署名（决定后本页与照片即删除）：",
        "A supervisor decides, by name (this page and the picture are then erased):",
    )
    heading = say("登记时的照片", "Pictures of the enrolment")
    css = "bad" if judged.why is not None else ""
    return (
        f'<!doctype html><html lang="{"zh-CN" if language() == "zh" else "en"}">'
        f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1>"
        f'<p class="{css}">{html.escape(verdict)}</p>'
        f'<div class="row">{_figure(contents.picture, say("一体机提议", "proposed"), "")}'
        f"<div><table>{rows}</table></div></div>"
        f'<h2>{html.escape(heading)}</h2><div class="row">{others}</div>'
        f"<p>{html.escape(ask)}<br><code>quxiang-enroll proposals accept {short} --by "
        f"{say('姓名', 'NAME')}</code> <code>quxiang-enroll proposals refuse {short} --by "
        f"{say('姓名', 'NAME')}</code></p></body></html>"
    )


def facts_of(
    proposal: Proposal, contents: ProposalContents, judged: Judged, site: str
) -> list[tuple[str, str]]:
    """What is known of a proposal, for the page and the terminal."""
    how = {
        "face": say(
            f"刷脸，相似度 {contents.score:.2f}（阈值 {contents.threshold:.2f}）",
            f"by face, score {contents.score:.2f} (threshold {contents.threshold:.2f})",
        ),
        "pin": say(
            f"密码；人脸最高相似度 {contents.score:.2f}，未达阈值 {contents.threshold:.2f}",
            f"by PIN; the face scored {contents.score:.2f} at best, below the threshold "
            f"{contents.threshold:.2f}",
        ),
    }
    scores = say("、", ", ").join(f"{score:.2f}" for score in judged.scores) or "-"
    near = say("、", ", ").join(f"{s.official} ({s.score:.2f})" for s in judged.similar)
    return [
        (say("人员", "Official"), proposal.official),
        (say("地点、一体机", "Site, kiosk"), f"{site} {proposal.device}".strip()),
        (say("时间", "Taken"), f"{local(proposal.at_ms):%Y-%m-%d %H:%M}"),
        (say("签到方式", "Checked in"), how.get(contents.method, contents.method)),
        (say("活体", "Liveness"), _liveness_words(contents.liveness)),
        (say("与本人各模板", "With their templates"), scores),
        (say("像其他人", "Like others"), near or say("没有", "nobody")),
    ]


def _liveness_words(told: str) -> str:
    """What the kiosk said of it: the check that decided, or the passive probability at a PIN."""
    word, _, number = told.partition(" ")
    words = {
        "motion": say("有动作", "by motion"),
        "passive": say("外观像真人", "looks like a living face"),
        "challenge": say("按提示转头", "followed the prompts"),
        "passive+challenge": say("外观像真人，并按提示转头", "looks alive, followed the prompts"),
        "not": say("未检测（由密码证明本人）", "not checked (the PIN proves who)"),
    }
    known = words.get(word)
    if known is None:
        return told
    return f"{known} {number}" if number.replace(".", "").isdecimal() else known


def _none_kept() -> str:
    return html.escape(
        say(
            "登记台不保存登记照片。加 --folder 文件夹（导入时的文件夹）可并排对照。",
            "The desk keeps no enrolment pictures. With --folder FOLDER (that of the import) they "
            "are shown here.",
        )
    )


def _beside(folder: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    if not folder.is_dir():
        return found
    for path in picture_paths(folder)[:MOST_BESIDE]:
        try:
            picture = read_picture(path)
        except BadPicture:
            continue
        scale = SIDE / max(picture.shape[:2])
        if scale < 1:
            picture = np.asarray(
                cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA),
                np.uint8,
            )
        ok, jpeg = cv2.imencode(".jpg", picture)
        if ok:
            found.append((path.name, bytes(jpeg)))
    return found


def _figure(jpeg: bytes, caption: str, css: str) -> str:
    data = base64.b64encode(jpeg).decode()
    said = html.escape(caption)
    return (
        f'<figure class="{css}"><img src="data:image/jpeg;base64,{data}" alt="{said}">'
        f"<figcaption>{said}</figcaption></figure>"
    )
