"""Corrections touch one official's one day, and nothing else."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from attendance.clock import ClockClass
from attendance.days import DAY_MS, day_of
from attendance.statuses import Status
from server.rules.corrections import KINDS, Ruling, apply, in_effect
from server.rules.roster import Expected
from server.rules.verdict import Case, judge

from .made_up import (
    CODE,
    DAY,
    HOUR,
    MIDNIGHT,
    MORNING,
    VILLAGE,
    after,
    fact,
    histories,
    kiosks,
)

COLLEAGUE = "QS-002"


@st.composite
def rulings(draw: st.DrawFn) -> list[Ruling]:
    made = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        day = after(draw(st.integers(0, 2)))
        start = MIDNIGHT + (day - DAY).days * DAY_MS + draw(st.integers(0, DAY_MS - 1))
        made.append(
            Ruling(
                number, CODE, day, draw(st.sampled_from([k for k in KINDS if k != "undo"])),
                f"{CODE}-{draw(st.integers(0, 5))}", VILLAGE.name, "village", start, None,
                draw(st.sampled_from((None, COLLEAGUE))),
            )
        )  # fmt: skip
    return made


def verdicts(facts, decided, official=CODE):  # type: ignore[no-untyped-def]
    """Verdict, visits and worth of three days, each from its own facts."""
    found = {}
    for n in range(3):
        start = MIDNIGHT + n * DAY_MS
        own = [f for f in facts if f.official == official and day_of(f.when.at_ms) == after(n)]
        others = [f for f in facts if f.official != official and day_of(f.when.at_ms) == after(n)]
        ruled = apply(official, after(n), own, decided, others)
        case = Case(after(n), start, start + DAY_MS, ruled, [], (Expected(VILLAGE, MORNING),))
        judged = judge(case, kiosks(MIDNIGHT + 9 * DAY_MS), MIDNIGHT + 9 * DAY_MS)
        found[after(n)] = (judged.verdict, judged.visits, judged.corrected)
    return found


@given(histories(days=3), rulings())
def test_a_correction_never_changes_another_day(facts, decided) -> None:  # type: ignore[no-untyped-def]
    plain = verdicts(facts, [])
    for day in (after(n) for n in range(3)):
        of_that_day = [r for r in decided if r.day == day]
        changed = verdicts(facts, of_that_day)
        assert {d: v for d, v in changed.items() if d != day} == {
            d: v for d, v in plain.items() if d != day
        }


@given(histories(days=3), histories(days=3, official=COLLEAGUE), rulings())
def test_a_correction_changes_nobody_but_those_whom_it_names(facts, theirs, decided) -> None:  # type: ignore[no-untyped-def]
    before = verdicts([*facts, *theirs], [], COLLEAGUE)
    after_ = verdicts([*facts, *theirs], decided, COLLEAGUE)
    named = {r.day for r in decided if r.kind == "mistaken" and r.really == COLLEAGUE}
    assert {d: v for d, v in after_.items() if d not in named} == {
        d: v for d, v in before.items() if d not in named
    }


@given(histories(days=3), rulings())
def test_the_facts_themselves_stay(facts, decided) -> None:  # type: ignore[no-untyped-def]
    kept = list(facts)
    verdicts(facts, decided)
    assert facts == kept


@given(histories(days=3), rulings())
def test_undoing_gives_the_day_back(facts, decided) -> None:  # type: ignore[no-untyped-def]
    undone = in_effect(decided, [(100 + r.id, r.id) for r in decided])
    assert undone == []
    again = in_effect(decided, [(100, decided[0].id), (101, 100)])
    assert again == decided, "an undo that is undone counts for nothing"


def ruling(kind: str, number: int = 1, **more: object) -> Ruling:
    fields: dict[str, object] = {"record_id": "r1", "site": VILLAGE.name, "site_kind": "village"}
    return Ruling(number, CODE, DAY, kind, **{**fields, **more})  # type: ignore[arg-type]


def test_each_kind_does_what_it_says() -> None:
    doubtful = fact(9 * HOUR, cls=ClockClass.C, before=30 * HOUR)
    nine = MIDNIGHT + 9 * HOUR
    assert apply(CODE, DAY, [doubtful], [ruling("void")]).facts == []
    vouched = apply(CODE, DAY, [doubtful], [ruling("time", start_ms=nine)]).facts[0]
    assert (vouched.when.cls, vouched.when.width_ms) == (ClockClass.B, 0)
    turned = apply(CODE, DAY, [doubtful], [ruling("direction")]).facts[0]
    assert turned.status is Status.LEFT
    back = apply(CODE, DAY, [turned], [ruling("direction")]).facts[0]
    assert back.status is Status.IN_VILLAGE
    stated = ruling("presence", record_id=None, start_ms=nine, end_ms=nine + HOUR)
    made = apply(CODE, DAY, [], [stated])
    assert [f.status for f in made.facts] == [Status.IN_VILLAGE, Status.LEFT]
    assert {f.method for f in made.facts} == {"manual"}
    assert made.by == (1,)


def test_a_mistaken_record_goes_to_whom_it_belongs() -> None:
    record = fact(9 * HOUR)
    mistaken = ruling("mistaken", really=COLLEAGUE)
    assert apply(CODE, DAY, [record], [mistaken]).facts == []
    theirs = apply(COLLEAGUE, DAY, [], [mistaken], [record]).facts
    assert [(f.official, f.record_id) for f in theirs] == [(COLLEAGUE, "r1")]
    unknown = ruling("mistaken", really=None)
    assert apply(COLLEAGUE, DAY, [], [unknown], [record]).facts == []


def test_what_is_decided_of_another_day_is_not_applied() -> None:
    record = fact(9 * HOUR)
    other = Ruling(1, CODE, date(2026, 11, 19), "void", "r1")
    assert apply(CODE, DAY, [record], [other]).facts == [record]
