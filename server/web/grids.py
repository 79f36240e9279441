"""Weeks and months as a grid: the colours of the lamps, each with its shape and its word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, render_template
from markupsafe import Markup, escape

from server import db
from server.context import now
from server.rules.calendar import month_days
from server.services.sheets.days import PersonDay
from server.services.sheets.months import Grid, Row, grid
from server.web import auth, words
from server.web.language import clock_words, day_words, lang
from server.web.picks import PAGE, Chosen, date_asked, month_after, month_asked, today, week_of
from server.web.say import gettext

blueprint = Blueprint("grids", __name__)


@dataclass(frozen=True)
class Head:
    """The head of a day's column."""

    day: date
    weekday: str
    working: bool
    short: str


def mark_of(one: PersonDay, villages: frozenset[str]) -> tuple[str, str]:
    """Style class and shape of a judged day: green and a circle at the office, yellow and a square
    in a village, as the lamps; blue and a triangle for a trip, red and a diamond for leave."""
    verdict = one.judged.verdict
    if verdict in ("came", "late", "early"):
        village = any(v.site in villages for v in one.judged.visits)
        kind = "village" if village else "office"
        shape = {"came": "■" if village else "●", "late": "◐", "early": "◑"}[verdict]
        return f"g-{kind}", shape
    return f"g-{verdict}", words.verdict_glyph(verdict)


class Cells:
    """The cells of a row, each a shape with all of it in words as its title.

    Made here and not in the template: a month of a hundred people has 3,100.
    """

    def __init__(self, made: Grid, times: bool) -> None:
        self._days, self._villages, self._times = made.days, made.villages, times
        self._words = {verdict: words.verdict_word(verdict) for verdict in words.VERDICTS}
        self._doubtful, self._corrected = gettext("Clock doubtful"), gettext("Corrected")
        self._between = "，" if lang() == "zh" else ", "
        self._dates = [day.isoformat() for day in made.days]

    def __call__(self, row: Row) -> Markup:
        """The row's `td` elements."""
        pairs = zip(row.days, self._days, self._dates, strict=True)
        return Markup("").join(  # escaped where they are made
            Markup("<td></td>") if one is None else self._cell(one, day, date)
            for one, day, date in pairs
        )

    def _cell(self, one: PersonDay, day: date, iso: str) -> Markup:
        judged = one.judged
        css, glyph = mark_of(one, self._villages)
        if not glyph:
            return Markup("<td></td>")
        parts = [self._words.get(judged.verdict, judged.verdict)]
        time = ""
        if judged.visits:
            visit = judged.visits[0]
            if visit.begins is not None:
                time = clock_words(visit.begins.at_ms, day)
            parts.append(f"{time} {visit.site}".strip())
        marks = ""
        if judged.doubtful:
            parts.append(self._doubtful)
            marks = "?"
        if judged.corrected:
            parts.append(self._corrected)
            marks += "*"
        if judged.found and not judged.doubtful:
            marks += "!"
        title, link = escape(self._between.join(parts)), escape(one.person.official)
        sup = f"<sup>{marks}</sup>" if marks else ""
        below = f'<br><span class="small num">{time}</span>' if self._times and time else ""
        return Markup(  # noqa: S704 (site and id are escaped above, the rest is ours)  # nosec B704
            f'<td><a class="g {css}" href="/officials/{link}?first={iso}&amp;last={iso}" '
            f'title="{title}"><span aria-hidden="true">{glyph}{sup}</span></a>'
            f"{below}</td>"
        )


def _heads(made: Grid) -> list[Head]:
    between = "；" if lang() == "zh" else "; "
    return [
        Head(
            day,
            "一二三四五六日"[day.weekday()] if lang() == "zh" else "MTWTFSS"[day.weekday()],
            working,
            between.join(
                gettext("%(group)s: %(n)s there", group=group, n=n)
                for group, n in made.short.get(day, {}).items()
            ),
        )
        for day, working in zip(made.days, made.working, strict=True)
    ]


def _page(
    days: Sequence[date], base: dict[str, str], title: str, links: dict[str, str], view: str
) -> str:
    chosen = Chosen.asked()
    auth.note(f"view_{view}", next(iter(base.values())))
    made = grid(
        db.session(), auth.user_now().township, days, now(), chosen.fits_person, chosen.where,
        chosen.first, PAGE,
    )  # fmt: skip

    return render_template(
        "grid.html",
        made=made,
        heads=_heads(made),
        cells=Cells(made, view == "week"),
        title=title,
        view=f"grids.{view}",
        base=base,
        saved={**base, **chosen.kept()},
        chosen=chosen,
        links=links,
        page_link=lambda number: chosen.link(f"grids.{view}", base, page=str(number)),
        pages=chosen.pages(made.fitting),
        verdict_word=words.verdict_word,
        choices={"groups": made.all_groups, "sites": made.sites},
        minimum=max((row.totals.minimum for row in made.rows), default=0),
    )  # fmt: skip


@blueprint.get("/month")
@auth.needs(auth.STAFF)
def month() -> str:
    """A month of everybody who fits, a row each."""
    asked = month_asked(today().isoformat()[:7])
    chosen = Chosen.asked()

    def link(to: str) -> str:
        return chosen.link("grids.month", {"month": to})

    links = {"before": link(month_after(asked, -1))}
    if asked < today().isoformat()[:7]:
        links["after"] = link(month_after(asked, 1))
    first = month_days(asked)[0]
    said = f"{first.year}年{first.month}月" if lang() == "zh" else f"{first:%B %Y}"
    return _page(month_days(asked), {"month": asked}, said, links, "month")


@blueprint.get("/week")
@auth.needs(auth.STAFF)
def week() -> str:
    """A week with the times of arrival."""
    days = week_of(date_asked("date", today()))
    chosen = Chosen.asked()

    def link(to: date) -> str:
        return chosen.link("grids.week", {"date": to.isoformat()})

    links = {"before": link(days[0] - timedelta(7))}
    if days[-1] < today():
        links["after"] = link(days[0] + timedelta(7))
    said = gettext("Week from %(day)s", day=day_words(days[0]))
    return _page(days, {"date": days[0].isoformat()}, said, links, "week")
