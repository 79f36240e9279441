"""The evaluation on one page that a supervisor can read: self-contained, Chinese and English."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

Rate = dict[str, Any] | None
"""{"rate", "n", "ci95"} as in the report, or None where nothing was measured."""

FEW = 3_000
"""Pictures below which an alarm rate of 0.1 % cannot be shown: 3 / n bounds it with 95 %."""
TOO_FEW = 30
"""Below it even a rate without one error may be worse than one in ten (3 / n)."""


@dataclass(frozen=True)
class Figure:
    """One line of the page: what was counted, of what, and the rate."""

    zh: str
    en: str
    rate: Rate


@dataclass(frozen=True)
class Section:
    """Lines that belong together, under one heading."""

    zh: str
    en: str
    figures: list[Figure]


def write_page(folder: Path, report: dict[str, Any], made: date) -> Path:
    """report.html in `folder`, with the pictures of `write_plots` in it; returns its path."""
    path = folder / "report.html"
    path.write_text(page(report, made, plots_in(folder)), encoding="utf-8")
    return path


def plots_in(folder: Path) -> dict[str, bytes]:
    """The pictures of `write_plots` that lie in `folder`, by file name."""
    names = ("det.png", "scores.png")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def page(report: dict[str, Any], made: date, plots: dict[str, bytes]) -> str:
    """The page as HTML. report: as `evaluate` gives it. plots: PNG files by name."""
    rows = "\n".join(_section(section) for section in sections(report))
    pictures = "\n".join(_picture(name, data) for name, data in plots.items())
    known = report.get("identification") or {}
    size, photos = known.get("gallery_size", "-"), known.get("enrolled_photos", "-")
    engine, model = escape(str(report["engine"])), escape(str(report["model_id"]))
    threshold = report["threshold"]
    return f"""<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>人脸识别评估报告 Face recognition: evaluation</title>
<style>{STYLE}</style></head><body>
<h1>人脸识别评估报告<small lang="en">Face recognition: what it gets right and wrong</small></h1>
{_summary(report)}
<table><thead><tr><th>问题 <span lang="en">Question</span></th>
<th>结果 <span lang="en">Result</span></th>
<th>95% 把握在此范围内 <span lang="en">With 95 % certainty within</span></th>
<th>样本数 n <span lang="en">Samples</span></th></tr></thead>
{rows}
</table>
<p>{made.isoformat()}，引擎 {engine}（{model}），门限 {threshold}；每次抽 {size} 人登记，
每人 {photos} 张照片，其余照片当作来签到的人，共抽 {known.get("draws", "-")} 次。<br>
<span lang="en">Engine {engine}, threshold {threshold}; {size} people are enrolled at a time with
{photos} photographs each, and all other pictures are presented as people who check in, in
{known.get("draws", "-")} draws.</span></p>
{_cautions(report)}
{pictures}
</body></html>
"""


def figures(report: dict[str, Any]) -> list[Figure]:
    """The lines of the page, most important first; what was not measured has no rate."""
    return [figure for section in sections(report) for figure in section.figures]


def sections(report: dict[str, Any]) -> list[Section]:
    """The parts of the page."""
    known = report.get("identification") or {}
    taken = report.get("acquisition") or {}
    verification = report.get("verification") or {}
    groups: dict[str, Any] = known.get("groups") or {}
    return [
        Section("一张照片", "One picture", _identified(known)),
        Section(
            "站在镜头前一秒钟：连看八次，由同一人的几张照片代替（n 为人数）",
            "A second before the camera: eight looks, several photographs of a person standing for "
            "them (n counts people)",
            _identified(known.get("tracks") or {}),
        ),
        *(
            Section(
                f"其中：{group}（{part['people']} 人）",
                f"Of these: {group} ({part['people']} people)",
                [
                    *_identified(part),
                    Figure(
                        "只登记这一组的人，组里没登记的人有多少次被误认？（越少越好）",
                        "Only people of this group enrolled: how many others of it are taken for "
                        "one of them? (fewer is better)",
                        (part.get("alone") or {}).get("fpir"),
                    ),
                ],
            )
            for group, part in groups.items()
        ),
        Section("照片和真人", "Pictures and living people", _attacked(report.get("pad") or {})),
        Section(
            "能不能用",
            "Can it be used",
            [
                Figure(
                    "有多少人的照片全都不能用于登记？",
                    "People none of whose photographs can be enrolled?",
                    taken.get("fte"),
                ),
                Figure(
                    "有多少张照片找不到可用的人脸？",
                    "Pictures in which no usable face is found?",
                    taken.get("fta"),
                ),
                Figure(
                    "没有人的画面，有多少张被看成有人脸？",
                    "Empty pictures in which a face is seen?",
                    report.get("false_detections"),
                ),
                Figure(
                    "任取两张照片，判断是否同一人，两类错误相等时的错误率",
                    "Any two pictures, same person or not: error rate where both kinds are equal",
                    verification.get("eer"),
                ),
            ],
        ),
    ]


def _identified(part: dict[str, Any]) -> list[Figure]:
    return [
        Figure(
            "已登记的人来签到，有多少次被正确认出？",
            "Enrolled people who check in: how many are recognised?",
            part.get("tpir"),
        ),
        Figure(
            "未登记的人，有多少次被误认成某位干部？（越少越好）",
            "Strangers: how many are taken for an official? (fewer is better)",
            part.get("fpir"),
        ),
        Figure(
            "已登记的人，有多少次被认成同事？（越少越好）",
            "Enrolled people: how many are taken for a colleague? (fewer is better)",
            part.get("wrong_id"),
        ),
    ]


def _attacked(pad: dict[str, Any]) -> list[Figure]:
    return [
        *(
            Figure(
                f"冒充（{kind}）有多少次得逞？（越少越好）",
                f"Attacks ({kind}): how many get through? (fewer is better)",
                rate,
            )
            for kind, rate in (pad.get("apcer") or {}).items()
        ),
        Figure(
            "真人有多少次被当成照片而拒绝？（越少越好）",
            "Living people refused as if they were pictures? (fewer is better)",
            pad.get("bpcer"),
        ),
    ]


def _summary(report: dict[str, Any]) -> str:
    """The two figures that matter, in a sentence."""
    known = report.get("identification") or {}
    tpir, fpir = known.get("tpir"), known.get("fpir")
    if tpir is None or fpir is None:
        return (
            '<p class="sum">识别率没有测量：照片太少。<span lang="en">Identification was not '
            "measured: there are too few pictures.</span></p>"
        )
    right = float(tpir["rate"]) * 1000
    high = float(fpir["ci95"][1])
    return (
        f'<p class="sum">已登记的人来 1000 次，约 {right:.0f} 次一看就认出；其余的人再看一次，'
        f"或输密码。陌生人被误认的比例：{_percent(float(fpir['rate']))}"
        f"（{fpir['n']} 张照片，最多可能 {_percent(high)}）。"
        f'<span lang="en">Of 1,000 check-ins of enrolled people about {right:.0f} are recognised '
        "from a single picture; the others look again or give their PIN. Strangers taken for an "
        f"official: {_percent(float(fpir['rate']))} ({fpir['n']} pictures; it may be as much as "
        f"{_percent(high)}).</span></p>"
    )


def _section(section: Section) -> str:
    rows = "\n".join(_row(figure) for figure in section.figures)
    return (
        f'<tbody><tr><th colspan="4" scope="rowgroup">{escape(section.zh)}'
        f'<span lang="en">{escape(section.en)}</span></th></tr>\n{rows}</tbody>'
    )


def _row(figure: Figure) -> str:
    question = f'{escape(figure.zh)}<span lang="en">{escape(figure.en)}</span>'
    rate = figure.rate
    if rate is None:
        return f'<tr><td>{question}</td><td colspan="3">未测 not measured</td></tr>'
    low, high = (float(v) for v in rate["ci95"])
    share, n = float(rate["rate"]), int(rate["n"])
    # Over many draws a picture counts by its share of them: "about 1.3 of 307".
    hits = share * n
    whole = abs(hits - round(hits)) < 0.05
    zh = f"{n} 个中{'有' if whole else '约有'} {hits:.{0 if whole else 1}f} 个"
    en = f"{'' if whole else 'about '}{hits:.{0 if whole else 1}f} of {n}"
    few = (
        ""
        if n >= TOO_FEW
        else '<i>样本太少，说明不了问题<span lang="en">too few to tell</span></i>'
    )
    return (
        f"<tr><td>{question}</td><td><b>{_percent(share)}</b><br>{zh}"
        f'<span lang="en">{en}</span>{few}</td>'
        f'<td data-of="95%">{_percent(low)} – {_percent(high)}</td><td data-of="n">{n}</td></tr>'
    )


def _percent(rate: float) -> str:
    digits = 2 if 0 < rate < 0.0995 or 0.9905 < rate < 1 else 1
    return f"{rate * 100:.{digits}f}%"


def _cautions(report: dict[str, Any]) -> str:
    known = report.get("identification") or {}
    fpir = known.get("fpir")
    notes = [
        (
            "这些数字只说明这批照片上的表现；换了人群、光线或摄像头，要重新测。",
            "These figures tell of these pictures only; other people, light or cameras must be "
            "measured anew.",
        )
    ]
    if fpir is not None and int(fpir["n"]) < FEW:
        bound = 3 / max(int(fpir["n"]), 1)
        notes.append(
            (
                f"照片不多：即使一次都没有误认，也只能说误认率不超过约 {_percent(bound)}。",
                f"There are few pictures: no false alarm at all would only show that the rate is "
                f"at most about {_percent(bound)}.",
            )
        )
    pad = report.get("pad")
    if pad and not pad.get("passive_networks", True):
        notes.append(
            (
                "本次没有活体检测模型：单张照片分不出真人和照片。",
                "The liveness networks were missing: a single picture cannot be told from a "
                "person without them.",
            )
        )
    items = "".join(f'<li>{escape(zh)}<span lang="en">{escape(en)}</span></li>' for zh, en in notes)
    return f"<ul>{items}</ul>"


CAPTIONS = {
    "det.png": (
        "误认（横轴）与漏认（纵轴）的取舍：曲线越靠左下越好，圆点为当前门限",
        "False matches (across) against misses (up): the nearer to the lower left the better; the "
        "dot is the threshold in use",
    ),
    "scores.png": (
        "相似度分布：橙色为不同的人，蓝色为同一人，竖线为门限，右边算认出",
        "Likeness: orange different people, blue the same person; the line is the threshold, what "
        "lies to its right counts as recognised",
    ),
}


def _picture(name: str, data: bytes) -> str:
    zh, en = CAPTIONS[name]
    source = base64.b64encode(data).decode("ascii")
    return (
        f'<figure><img alt="{zh}" src="data:image/png;base64,{source}">'
        f'<figcaption>{zh}<span lang="en">{en}</span></figcaption></figure>'
    )


STYLE = """
body{font:16px/1.5 "Noto Sans CJK SC","Microsoft YaHei",sans-serif;
max-width:60rem;margin:1.5rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}small,span[lang=en]{display:block;color:#555;font-size:.85em;font-weight:400}
.sum{font-size:1.15rem;background:#f2f6f8;border-left:4px solid #006e96;padding:.6rem 1rem}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.4rem .6rem;
text-align:left;vertical-align:top}td:nth-child(n+2){white-space:nowrap}
th[scope]{background:#eee;border-bottom-color:#999}th[scope] span{display:inline;margin-left:.6em}
i{display:block;font-style:normal;color:#a03000;white-space:normal}
figure{display:inline-block;width:48%;margin:1% 0;vertical-align:top}
img{width:100%}@media print{body{font-size:12px;margin:0}tbody{break-inside:avoid}}
@media(max-width:40rem){figure{width:100%}thead{display:none}
tr{display:block;border-bottom:1px solid #ccc;padding:.5rem 0}
td,th{display:block;border:0;padding:.1rem .3rem}
td[data-of]{display:inline-block;color:#555}td[data-of]:before{content:attr(data-of) " "}}
"""
