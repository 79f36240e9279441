"""Charts as pictures on the page, drawn here: no script, no colour alone, nobody's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flask import Blueprint, render_template
from markupsafe import Markup

from server import db
from server.context import now
from server.rules.tallies import BIN
from server.services.sheets.charts import ChartMonth, Charts
from server.web import auth, words
from server.web.drawings import drawings
from server.web.language import lang
from server.web.papers import month_words
from server.web.picks import month_after, month_asked, today

blueprint = Blueprint("charts", __name__)
#: Heights of the bars of the histogram, pixels of the picture.
TALL = 180


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: where it stands, how high each kind is, in pixels from below."""

    at: str
    x: float
    office: float
    village: float
    counts: tuple[int, int]


@dataclass(frozen=True)
class Histogram:
    """The bars, the marks of the axis (text, x), the scale (number, y), and lines of lateness."""

    bars: list[Bar]
    hours: list[tuple[str, float]]
    scale: list[tuple[int, float]]
    late: list[tuple[str, str, float]]
    width: float
    number: int


def histogram(made: Charts) -> Histogram:
    """The geometry of the arrivals, from the first hour to the last in which anybody came."""
    bins = made.arrivals.bins
    places = [place for held in bins.values() for place in held]
    low = min([6 * 60 // BIN, *places]) * BIN // 60 * 60 // BIN
    high = -(-(max([11 * 60 // BIN, *places]) + 1) * BIN // 60) * 60 // BIN
    wide = 720 / (high - low)
    rows = {
        n: (bins.get("office", {}).get(n, 0), bins.get("village", {}).get(n, 0))
        for n in range(low, high)
    }
    top = max(max(map(sum, rows.values())), 1)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if top / s <= 5)
    top = -(-top // step) * step
    bars = [
        Bar(f"{n * BIN // 60:02}:{n * BIN % 60:02}", 40 + (n - low) * wide,
            TALL * office / top, TALL * village / top, (office, village))
        for n, (office, village) in rows.items()
    ]  # fmt: skip
    at = {kind: 40 + (minute / BIN - low) * wide for kind, minute in made.late_after.items()}
    late = [
        (kind, f"{made.late_after[kind] // 60:02}:{made.late_after[kind] % 60:02}", x)
        for kind, x in at.items()
        if 40 <= x <= 760
    ]
    if len({said for _, said, _ in late}) == 1:  # the same for both: one line
        late = [("", said, x) for _, said, x in late[:1]]
    return Histogram(
        bars,
        [(f"{n * BIN // 60}:00", 40 + (n - low) * wide) for n in range(low, high + 1, 60 // BIN)],
        [(n, TALL * n / top) for n in range(0, top + 1, step)],
        late, wide, sum(sum(held.values()) for held in bins.values()),
    )  # fmt: skip


@blueprint.get("/charts")
@auth.needs(auth.STAFF)
def page() -> str:
    """Attendance by site and week, arrivals, coverage of the villages: of a month.

    The pictures name nobody and say nothing of who looks, so that a process draws them once for as
    long as they stay the same.
    """
    month = month_asked(today().isoformat()[:7])
    auth.note("view_charts", month)
    township = auth.user_now().township
    asked = ChartMonth(db.session(), township, month, now())
    kept = drawings().get(
        ("charts", township.id, month, lang()), asked.stamp, asked.stamp,
        lambda: (_drawn(asked.charts()), "text/html"),
    )  # fmt: skip
    return render_template(
        "charts.html",
        month=month,
        title=month_words(month),
        pictures=Markup(kept.body.decode()),  # noqa: S704 (a template made it)  # nosec B704
        before=month_after(month, -1),
        after=month_after(month, 1) if month < today().isoformat()[:7] else "",
    )


def _drawn(made: Charts) -> bytes:
    return render_template(
        "_charts.html", made=made, hist=histogram(made), tall=TALL, weeks=made.weeks,
        kind_word=words.site_kind_word,
        covered=lambda held: sum(state == "covered" for state in held.values()),
        known=lambda held: sum(state in ("covered", "empty") for state in held.values()),
        short=_short,
    ).encode()  # fmt: skip


def _short(day: date) -> str:
    return f"{day.month}/{day.day}"
