"""Whole histories of check-ins through the real store, on a clock that moves when told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from attendance.statuses import Kind, Method, SiteKind, Status
from attendance.wire import GalleryContents
from attendance.wire import Person as WirePerson
from kiosk.checkin import Accepted, Again, CheckinService, Refused
from kiosk.fakes import FakeClock
from kiosk.people import People
from kiosk.pins import Pins, hash_pin
from kiosk.store import Store

PIN_KEY = b"k" * 32
TEMPLATE = np.eye(1, 4, dtype="<f4").tobytes()
PIN_LI = hash_pin(PIN_KEY, "135790")


def township() -> People:
    li = WirePerson(official="A-1", name="李强", title="镇长", templates=TEMPLATE, pin=PIN_LI)
    wang = WirePerson(official="A-2", name="王芳", title="干事", templates=TEMPLATE)
    twin = WirePerson(
        official="A-3", name="王芬", title="", templates=TEMPLATE, pin=PIN_LI, second_factor=True
    )
    contents = GalleryContents(
        device="k" * 8, version=7, model="m", dimension=4, pin_key=PIN_KEY, people=[li, wang, twin]
    )
    return People(contents)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kiosk.db", "k" * 8) as opened:
        yield opened


@pytest.fixture
def service(store: Store, clock: FakeClock) -> CheckinService:
    people = township()
    return CheckinService(store, people, Pins(store, people, clock), clock, SiteKind.VILLAGE)


def face(service: CheckinService, official: str = "A-1", at: float | None = None):
    return service.by_face(official, 0.71, 0.3, "live", "m", 7, at=at)


def history(store: Store) -> list[tuple[str, str, str, bool]]:
    batch = store.batch(1, 0)
    from attendance.records import decode_record

    records = [decode_record(p) for p in batch.payloads] if batch else []
    return [(str(r.kind), r.official or "", str(r.status), r.verified) for r in records]


def test_a_face_is_recorded_once_a_minute(
    service: CheckinService, store: Store, clock: FakeClock
) -> None:
    first = face(service)
    assert isinstance(first, Accepted)
    assert first.person is not None
    assert (first.person.name, first.status, first.kind) == (
        "李强",
        Status.IN_VILLAGE,
        Kind.CHECKIN,
    )
    assert first.record.method is Method.FACE
    clock.advance(59)
    assert face(service) == Again("A-1", 1)
    clock.advance(2)
    assert isinstance(face(service), Accepted)
    assert history(store) == [("checkin", "A-1", "in_village", True)] * 2


def test_a_file_counts_by_its_own_time(service: CheckinService, clock: FakeClock) -> None:
    assert isinstance(face(service, at=1.0), Accepted)
    clock.advance(600)
    assert isinstance(face(service, at=60.9), Again)
    assert isinstance(face(service, at=61.0), Accepted)


def test_a_new_run_always_records(service: CheckinService, store: Store, clock: FakeClock) -> None:
    face(service)
    people = township()
    anew = CheckinService(store, people, Pins(store, people, clock), clock, SiteKind.VILLAGE)
    assert isinstance(face(anew), Accepted)


def test_an_infinite_margin_is_left_out(service: CheckinService) -> None:
    outcome = service.by_face("A-1", 0.71, float("inf"), "off", "m", 7)
    assert isinstance(outcome, Accepted)
    assert outcome.record.margin is None
    assert outcome.record.liveness == "off"


def test_pin_has_the_same_standing(service: CheckinService, store: Store) -> None:
    outcome = service.by_pin("李强", "135790", Status.BUSINESS_TRIP, "meeting")
    assert isinstance(outcome, Accepted)
    assert outcome.record.kind is Kind.DECLARE
    assert outcome.verified
    assert service.by_pin("A-1", "135790", Status.BUSINESS_TRIP, "meeting") == Again("A-1", 1)
    assert isinstance(service.by_pin("A-1", "135790", Status.LEFT), Accepted)
    assert [row[0] for row in history(store)] == ["declare", "checkout"]


def test_a_wrong_pin_records_nothing(service: CheckinService, store: Store) -> None:
    assert service.by_pin("A-1", "000000") == Refused("wrong_pin", "A-1")
    assert history(store) == []


@pytest.mark.parametrize("official", ["A-2", "Z-99"])
def test_nobody_is_turned_away(service: CheckinService, store: Store, official: str) -> None:
    outcome = service.by_pin(official, "123456")
    assert isinstance(outcome, Accepted)
    assert not outcome.verified
    assert history(store) == [("checkin", official, "in_village", False)]


def test_a_verified_check_in_follows_an_unverified_one(service: CheckinService) -> None:
    service.by_pin("A-2", "123456")
    outcome = face(service, "A-2")
    assert isinstance(outcome, Accepted)
    assert outcome.verified


def test_an_impossible_id_is_no_official(service: CheckinService, store: Store) -> None:
    for text in ("", "没有此人", "a b", "x" * 33, "A-1\n\0"):
        assert isinstance(service.by_pin(text, "123456"), Refused | Accepted)
    assert all(row[1] == "A-1" for row in history(store))


def test_twins_need_their_pin(service: CheckinService) -> None:
    assert face(service, "A-3") == Refused("second_factor", "A-3")
    assert isinstance(service.by_pin("A-3", "135790"), Accepted)
    assert face(service, "nobody") == Refused("unknown")


def test_change_of_mind(service: CheckinService, store: Store, clock: FakeClock) -> None:
    first = face(service)
    assert isinstance(first, Accepted)
    clock.advance(9)
    amended = service.choose(first.record.record_id, Status.ON_LEAVE, "sick")
    assert isinstance(amended, Accepted)
    assert amended.record.supersedes == first.record.record_id
    clock.advance(9)
    twice = service.choose(first.record.record_id, Status.ON_DUTY)
    assert isinstance(twice, Accepted)
    assert twice.record.supersedes == amended.record.record_id
    clock.advance(11)
    later = service.choose(first.record.record_id, Status.LEFT)
    assert isinstance(later, Accepted)
    assert (later.kind, later.record.supersedes) == (Kind.CHECKOUT, None)
    clock.advance(2)
    late = service.choose(first.record.record_id, Status.IN_VILLAGE)
    assert late == Refused("identify_again")
    assert history(store) == [
        ("checkin", "A-1", "in_village", True),
        ("amend", "A-1", "on_leave", True),
        ("amend", "A-1", "on_duty", True),
        ("checkout", "A-1", "left", True),
    ]


def test_being_seen_again_lets_choose_again(service: CheckinService, clock: FakeClock) -> None:
    first = face(service)
    assert isinstance(first, Accepted)
    clock.advance(40)
    assert service.choose(first.record.record_id, Status.LEFT) == Refused("identify_again")
    assert isinstance(face(service), Again)
    chosen = service.choose(first.record.record_id, Status.LEFT)
    assert isinstance(chosen, Accepted)
    assert chosen.kind is Kind.CHECKOUT


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.STALE])
def test_what_cannot_be_chosen(service: CheckinService, status: Status) -> None:
    assert service.by_pin("A-1", "135790", status) == Refused("bad_choice", "A-1")
    assert service.choose("x", status) == Refused("bad_choice")


def test_refusals_have_words_in_both_languages() -> None:
    from kiosk.checkin import _REFUSALS

    for reason in _REFUSALS:
        refused = Refused(reason, wait_s=61)
        assert refused.words("zh") != refused.words("en")
        assert "{" not in refused.words("zh") + refused.words("en")
    assert "2" in Refused("locked", wait_s=61).words("en")
