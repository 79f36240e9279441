"""What is printed and saved: month sheet, allowance statement, findings, each made once as tables
from which spreadsheet, CSV and PDF are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from flask import render_template

from attendance.days import to_ms
from server.context import now
from server.services.rulings.findings import Found
from server.services.rulings.statements import PersonLines, Signed, Statement
from server.services.sheets.days import PersonDay
from server.services.sheets.months import Grid, Row
from server.web import ruling_words, words
from server.web.grids import mark_of
from server.web.language import clock_words, lang
from server.web.say import gettext
from server.web.xlsx import Mark, Sheet

#: Colours of `grids.mark_of`, ground and ink, as in quxiang.css.
COLOURS = {
    "g-office": ("#1B7A34", "#FFFFFF"),
    "g-village": ("#FFD21F", "#1F1A00"),
    "g-trip": ("#1557B0", "#FFFFFF"),
    "g-leave": ("#B3261E", "#FFFFFF"),
    "g-absent": ("#3C1512", "#FFFFFF"),
    "g-unverified_only": ("#FDF3CF", "#584400"),
}


@dataclass
class Paper:
    """A paper with its tables, of which the first is what CSV and print show first.

    `notes` stand under the title; `name` is ASCII, without suffix.
    """

    name: str
    title: str
    township: str
    sheets: list[Sheet]
    notes: list[str] = field(default_factory=list)
    landscape: bool = False
    #: How many tables are printed, and rows of the first on one page, for the guess at pages.
    printed: int = 1
    rows_a_page: int = 30


def signers() -> list[str]:
    """Who signs."""
    return [gettext("Clerk"), gettext("Inspector"), gettext("Leader")]


def finish(paper: Paper) -> Paper:
    """The paper with title, notes and signature lines on its first sheet."""
    first = paper.sheets[0]
    first.above = (f"{paper.township} {paper.title}", *paper.notes)
    first.signatures = signers()
    for sheet in paper.sheets:
        sheet.landscape = paper.landscape
    return paper


def html_of(paper: Paper, css: str) -> str:
    """The paper as a page that needs nothing else."""
    return render_template(
        "paper.html", paper=paper, css=css, sheets=paper.sheets[: paper.printed],
        signers=signers(), made=clock_words(to_ms(now())),
    )  # fmt: skip


def pages_of(paper: Paper) -> int:
    """A guess at the number of pages."""
    return 1 + sum(len(list(s.rows)) for s in paper.sheets[: paper.printed]) // paper.rows_a_page


class _Marks:
    """The marks of a sheet, each made once: a month of 1,000 officials has 31,000 cells."""

    def __init__(self, villages: frozenset[str]) -> None:
        self._villages = villages
        self._made: dict[tuple[str, str, str, str], Mark] = {}

    def __call__(self, one: PersonDay | None) -> Mark:
        """The mark of somebody's day."""
        if one is None or one.judged.verdict == "not_expected":
            return _NO_MARK
        kind, glyph = mark_of(one, self._villages)
        marks = ("?" if one.judged.doubtful else "") + ("*" if one.judged.corrected else "")
        key = (one.judged.verdict, kind, glyph, marks)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Mark(glyph + marks, kind, _mark_word(*key[:2]) + marks)
        return found


_NO_MARK = Mark("", "", "")


def _mark_word(verdict: str, kind: str) -> str:
    word = words.verdict_word(verdict)
    if verdict not in ("came", "late", "early"):
        return word
    place = gettext("In a village") if kind == "g-village" else gettext("At the office")
    return place if verdict == "came" else f"{place} {word}"


def month_paper(made: Grid, month: str, township: str) -> Paper:
    """The month of everybody in `made`, a row each."""
    header = [gettext("Official"), gettext("Title"), gettext("Work group"),
              *[str(day.day) for day in made.days],
              gettext("Came"), gettext("Village"), gettext("Days wanted"), gettext("Late"),
              gettext("Absent"), gettext("On leave"), gettext("Business trip"),
              gettext("Not yet known")]  # fmt: skip

    mark = _Marks(made.villages)

    def cells(row: Row) -> list[object]:
        verdicts = row.totals.verdicts
        return [
            row.person.name, row.person.title, row.person.group,
            *[mark(one) for one in row.days],
            row.totals.here_days, row.totals.village_days, row.totals.minimum or None,
            verdicts.get("late", 0), verdicts.get("absent", 0), verdicts.get("leave", 0),
            verdicts.get("trip", 0), verdicts.get("not_known", 0) + verdicts.get("not_yet", 0),
        ]  # fmt: skip

    legend = "  ".join(
        f"{glyph} {word}" for glyph, word in (
            ("●", gettext("At the office")), ("■", gettext("In a village")), ("◐", gettext("Late")),
            ("◑", gettext("Left early")), ("▲", gettext("Business trip")),
            ("◆", gettext("On leave")), ("✕", gettext("Absent")), ("?", gettext("Not yet known")),
            ("!", gettext("Unverified only")),
            (words.verdict_glyph("not_yet"), words.verdict_word("not_yet")),
        )
    )  # fmt: skip
    beside = gettext("Beside a shape: ? clock doubtful, * corrected, ! to look into")
    zh = lang() == "zh"
    comma = "、" if zh else ", "
    free = [f"{day.day}" for day, working in zip(made.days, made.working, strict=True)
            if not working]  # fmt: skip
    sheet = Sheet(
        gettext("Month"), header, [cells(row) for row in made.rows],
        [10, 12, 16, *[3.2] * len(made.days), *[6 if zh else 8.2] * 8], frozen=1, colours=COLOURS,
    )  # fmt: skip
    return finish(
        Paper(
            f"month-{month}", gettext("Month sheet %(month)s", month=month_words(month)), township,
            [sheet],
            [legend, beside, gettext("Not working days: %(days)s", days=comma.join(free) or "–")],
            landscape=True, rows_a_page=34,
        )
    )  # fmt: skip


def month_words(month: str) -> str:
    """A month such as `2026-11` in words."""
    first = date.fromisoformat(f"{month}-01")
    return f"{first.year}年{first.month}月" if lang() == "zh" else f"{first:%B %Y}"


def yuan(fen: int) -> float:
    """An amount in yuan as a number."""
    return fen / 100


def allowance_paper(made: Statement, signed: Signed | None, people: Sequence[PersonLines]) -> Paper:
    """The statement: a row for each of `people`, every day's reason, and earlier months' changes.

    Sums are of the whole statement only where all its people are shown.
    """
    whole = len(people) == len(made.people)
    rows = [
        [n, p.name, p.title, p.group, p.village_days, p.minimum or None, p.paid_days, yuan(p.fen),
         ""]
        for n, p in enumerate(people, 1)
    ]  # fmt: skip
    days = made.days if whole else sum(p.paid_days for p in people)
    fen = made.fen_days if whole else sum(p.fen for p in people)
    below: list[list[object]] = [["", gettext("All together"), "", "", "", "", days, yuan(fen), ""]]
    if whole and made.fen_changes:
        below.append(["", gettext("From earlier months"), "", "", "", "", "",
                      yuan(made.fen_changes), ""])  # fmt: skip
        below.append(["", gettext("To be paid"), "", "", "", "", "", yuan(made.fen), ""])
    summary = Sheet(
        gettext("Allowance"),
        [gettext("No."), gettext("Official"), gettext("Title"), gettext("Work group"),
         gettext("Days in the village"), gettext("Days wanted"), gettext("Days paid"),
         gettext("Yuan"), gettext("Received (signature)")],
        rows, [5, 10, 14, 22, 9, 8, 9, 11, 16], below=below, frozen=2,
    )  # fmt: skip
    comma = "、" if lang() == "zh" else ", "
    lines = Sheet(
        gettext("Line by line"),
        [gettext("Official"), gettext("Day"), gettext("Verdict"), gettext("Why"), gettext("Site"),
         gettext("From"), gettext("To"), gettext("Clock class"), gettext("Corrected"),
         gettext("Yuan")],
        [
            [p.name, d.day, words.verdict_word(d.verdict), ruling_words.why_word(d.why), d.site,
             "" if d.begins_ms is None else clock_words(d.begins_ms)[-5:],
             "" if d.ends_ms is None else clock_words(d.ends_ms)[-5:], d.cls,
             comma.join(f"№ {n}" for n in d.corrected), yuan(d.fen)]
            for p in people for d in p.days
        ],
        [10, 12, 12, 18, 18, 8, 8, 10, 12, 10],
    )  # fmt: skip
    changes = Sheet(
        gettext("Changes to months signed before"),
        [gettext("Official"), gettext("Day"), gettext("Was"), gettext("Is"),
         gettext("Difference")],
        [[c.name, c.day, yuan(c.was_fen), yuan(c.is_fen), yuan(c.is_fen - c.was_fen)]
         for c in made.changes] if whole else [],
        [10, 12, 10, 10, 10],
    )  # fmt: skip
    between = "；" if lang() == "zh" else "; "
    notes = [
        gettext("Rate") + (": " if lang() == "en" else "：") + between.join(
            gettext("%(yuan)s yuan a day from %(day)s", yuan=f"{fen / 100:.2f}", day=day)
            for day, fen in made.rates.items()
        )
    ]  # fmt: skip
    if signed is None:
        notes.append(gettext("Not signed: this is how it stands now."))
    else:
        at = clock_words(to_ms(signed.at))
        notes.append(gettext("Signed by %(who)s on %(at)s and frozen.", who=signed.by, at=at))
        notes.append(f"SHA-256 {signed.sha256}")
    if not whole:
        notes.append(gettext("A part: %(n)s of %(all)s officials.", n=len(people),
                             all=len(made.people)))  # fmt: skip
    if whole and made.gone:
        notes.append(gettext(
            "These corrections were approved after the records of their days had been removed. "
            "Nobody can work those days out again: they stay worth what was signed."
        ))  # fmt: skip
        notes += [f"№ {g.correction} · {g.name or g.official} · {g.day}" for g in made.gone]
    changed = whole and bool(made.changes)
    sheets = [summary, changes, lines] if changed else [summary, lines]
    title = gettext("Allowance statement %(month)s", month=month_words(made.month))
    return finish(
        Paper(f"allowance-{made.month}", title, made.township, sheets, notes,
              printed=2 if changed else 1)
    )  # fmt: skip


def findings_paper(found: Sequence[Found], state: str, township: str) -> Paper:
    """Findings with every step that was taken."""
    between = "；" if lang() == "zh" else "; "
    rows = [
        [f.id, f.day.isoformat(), ruling_words.finding_kind_word(f.kind), f.name or "", f.site,
         ruling_words.finding_text(f.text), ruling_words.finding_state_word(f.state),
         f"{words.who_words(f.by)} {clock_words(to_ms(f.at))}",
         between.join(
             f"{ruling_words.finding_done_word(s.what)} {words.who_words(s.by)} "
             f"{clock_words(to_ms(s.at))} {ruling_words.finding_text(s.text)}"
             for s in f.steps
         )]
        for f in found
    ]  # fmt: skip
    sheet = Sheet(
        gettext("Findings"),
        ["№", gettext("Day"), gettext("Kind"), gettext("Official"), gettext("Site"),
         gettext("What was found"), gettext("State"), gettext("Opened by"), gettext("Steps")],
        rows, [5, 11, 12, 10, 14, 34, 9, 18, 44], frozen=0,
    )  # fmt: skip
    notes = [ruling_words.finding_state_word(state)] if state else []
    return finish(
        Paper(f"findings{f'-{state}' if state else ''}", gettext("Findings"), township, [sheet],
              notes, landscape=True, rows_a_page=12)
    )  # fmt: skip
