"""Made-up histories for the rules: people, kiosks and records of a few days of November 2026."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import strategies as st

from attendance.clock import ClockClass, Estimate
from attendance.days import DAY_MS, day_start_ms
from attendance.statuses import Kind, Status
from attendance.whereabouts import Absence, Fact
from server.rules.roster import Expected, Hours, Place
from server.rules.verdict import Kiosk, Kiosks

#: A Wednesday.
DAY = date(2026, 11, 18)
MIDNIGHT = day_start_ms(DAY)
MINUTE = 60_000
HOUR = 60 * MINUTE
VILLAGE = Place(1, "杏树村", "village")
OTHER = Place(2, "柳林村", "village")
OFFICE = Place(3, "乡机关", "office")
PLACES = (VILLAGE, OTHER, OFFICE)
MORNING = Hours(1, "日班", 8 * 60 + 30, 17 * 60 + 30, late_min=10, early_min=10)
NIGHT = Hours(2, "夜班", 22 * 60, 30 * 60, late_min=10, early_min=10)
CODE = "QS-001"


def exactly(ms: int, cls: ClockClass = ClockClass.A, before: int = 0, after: int = 0) -> Estimate:
    return Estimate(ms - before, ms + after, ms, cls)


def fact(
    ms: int,
    number: int = 1,
    site: Place = VILLAGE,
    out: bool = False,
    cls: ClockClass = ClockClass.A,
    before: int = 0,
    after: int = 0,
    official: str = CODE,
    **more: object,
) -> Fact:
    """A check-in, or a check-out, `ms` after midnight of DAY."""
    here = Status.ON_DUTY if site.kind == "office" else Status.IN_VILLAGE
    fields: dict[str, object] = {
        "kind": Kind.CHECKOUT if out else Kind.CHECKIN,
        "status": Status.LEFT if out else here,
        **more,
    }
    return Fact(
        official=official, when=exactly(MIDNIGHT + ms, cls, before, after),
        record_id=f"r{number}", device=f"kiosk{site.id}", epoch=1, seq=number, site=site.name,
        method="face", **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def kiosks(until_ms: int = MIDNIGHT + 3 * DAY_MS, *places: Place) -> Kiosks:
    """A kiosk at each place, all of whose records before `until_ms` are here."""
    return Kiosks(
        {
            p.id: [Kiosk(f"kiosk{p.id}", MIDNIGHT - 30 * DAY_MS, None, until_ms, until_ms)]
            for p in places or PLACES
        }
    )


@st.composite
def histories(draw: st.DrawFn, days: int = 1, official: str = CODE) -> list[Fact]:
    """Some records of one official over `days` days from DAY on, of every class and kind."""
    made = []
    for number in range(draw(st.integers(0, 6))):
        site = draw(st.sampled_from(PLACES))
        at = MIDNIGHT + draw(st.integers(0, days * DAY_MS - 1))
        cls = draw(st.sampled_from(ClockClass))
        wide = {ClockClass.A: MINUTE, ClockClass.B: 3 * HOUR, ClockClass.C: 40 * HOUR}[cls]
        kind = draw(st.sampled_from((Kind.CHECKIN, Kind.CHECKIN, Kind.CHECKOUT, Kind.DECLARE)))
        here = Status.ON_DUTY if site.kind == "office" else Status.IN_VILLAGE
        status = {
            Kind.CHECKIN: here,
            Kind.CHECKOUT: Status.LEFT,
            Kind.DECLARE: draw(st.sampled_from((Status.BUSINESS_TRIP, Status.ON_LEAVE))),
        }[kind]
        before, after = draw(st.integers(0, wide)), draw(st.integers(0, wide))
        made.append(
            Fact(
                official, kind, status, Estimate(at - before, at + after, at, cls),
                f"{official}-{number}", f"kiosk{site.id}", 1, number + 1,
                verified=draw(st.integers(0, 5)) > 0, site=site.name, method="face",
            )
        )  # fmt: skip
    return made


expectations = st.lists(
    st.builds(Expected, st.sampled_from(PLACES), st.sampled_from((None, MORNING, NIGHT))),
    max_size=2,
    unique_by=lambda e: e.place.id,
).map(tuple)
absences = st.lists(
    st.builds(
        lambda status, start, hours, approved: Absence(
            CODE, status, MIDNIGHT + start * HOUR, MIDNIGHT + (start + hours) * HOUR, approved
        ),
        st.sampled_from((Status.ON_LEAVE, Status.BUSINESS_TRIP)),
        st.integers(-48, 48),
        st.integers(1, 72),
        st.sampled_from((True, False, None)),
    ),
    max_size=2,
)
moments = st.integers(MIDNIGHT - DAY_MS, MIDNIGHT + 5 * DAY_MS)


def after(days: int) -> date:
    return DAY + timedelta(days)
