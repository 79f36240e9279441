"""Cards, badges and the limits on guessing: through the real store, on a clock that moves when
told."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

from attendance.records import decode_record
from attendance.statuses import Kind, Method, SiteKind, Status
from attendance.tokens import mark, new_badge
from attendance.wire import GalleryContents
from attendance.wire import Person as WirePerson
from kiosk.badges import BadgeReader, read_badge
from kiosk.checkin import Accepted, Again, CheckinService, Refused
from kiosk.fakes import FakeClock
from kiosk.limits import UNVERIFIED_BURST, UNVERIFIED_EVERY_S, Rate
from kiosk.people import People
from kiosk.pins import Pins, hash_pin
from kiosk.store import Store

KEY = b"k" * 32
BADGE = new_badge()


def township() -> People:
    li = WirePerson(
        official="A-1",
        name="李强",
        title="镇长",
        pin=hash_pin(KEY, "135790"),
        card=mark(KEY, "card", "12345678"),
        badge=mark(KEY, "badge", BADGE),
    )
    wang = WirePerson(official="A-2", name="王芳", title="", card=mark(KEY, "card", "999999"))
    zhao = WirePerson(official="A-3", name="赵六", title="", card=mark(KEY, "card", "999999"))
    people = [li, wang, zhao]
    return People(
        GalleryContents(
            device="k" * 8, version=7, model="m", dimension=4, pin_key=KEY, people=people
        )
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kiosk.db", "k" * 8) as opened:
        yield opened


Make = Callable[..., CheckinService]


@pytest.fixture
def make(store: Store, clock: FakeClock) -> Make:
    def made(**options: bool) -> CheckinService:
        people = township()
        pins = Pins(store, people, clock)
        return CheckinService(store, people, pins, clock, SiteKind.VILLAGE, **options)

    return made


def count(store: Store) -> int:
    batch = store.batch(1, 0)
    return len(batch.payloads) if batch else 0


def test_a_card_records_as_a_face_does_and_may_change_its_mind(make: Make, store: Store) -> None:
    service = make()
    done = service.by_card("0012345678")
    assert isinstance(done, Accepted)
    record = done.record
    assert (record.official, record.kind, record.status) == ("A-1", Kind.CHECKIN, Status.IN_VILLAGE)
    assert (record.method, record.verified, record.gallery) == (Method.CARD, True, 7)
    assert service.by_card("12345678") == Again("A-1", record.seq)
    changed = service.choose(record.record_id, Status.BUSINESS_TRIP, "meeting")
    assert isinstance(changed, Accepted)
    assert (changed.record.kind, changed.record.method) == (Kind.AMEND, Method.CARD)
    batch = store.batch(1, 0)
    assert batch is not None
    assert [decode_record(p).verified for p in batch.payloads] == [True, True]


def test_a_card_of_two_people_or_of_nobody_records_nothing(make: Make, store: Store) -> None:
    service = make()
    for number in ("999999", "87654321", "no card", "1"):
        assert service.by_card(number) == Refused("unknown_card")
    assert count(store) == 0


def test_where_the_card_needs_a_pin_it_says_whose(make: Make, store: Store) -> None:
    service = make(card_needs_pin=True)
    assert service.by_card("12345678") == Refused("card_second_factor", "A-1")
    assert count(store) == 0
    done = service.by_pin("A-1", "135790", method=Method.CARD)
    assert isinstance(done, Accepted)
    assert done.record.method is Method.CARD


def test_a_badge_alone_records_nothing(make: Make, store: Store) -> None:
    service = make()
    assert service.by_badge(BADGE) == Refused("card_second_factor", "A-1")
    assert service.by_badge(new_badge()) == Refused("unknown_badge")
    assert count(store) == 0


def test_trying_cards_is_slowed_and_a_restart_does_not_help(make: Make, clock: FakeClock) -> None:
    service = make()
    for number in range(10):
        assert service.by_card(f"8000000{number}") == Refused("unknown_card")
    assert service.by_card("12345678") == Refused("card_wait", wait_s=30)  # known ones wait too
    assert make().by_card("12345678") == Refused("card_wait", wait_s=30)
    assert isinstance(service.by_pin("A-1", "135790"), Accepted)  # the other ways go on
    clock.advance(30)
    assert isinstance(service.by_card("12345678"), Again | Accepted)
    clock.reboot(boottime_ns=5_000_000_000)
    assert service.by_card("80000001") == Refused("card_wait", wait_s=25)
    clock.advance(25)
    assert service.by_card("80000001") == Refused("unknown_card")
    assert service.by_card("80000002") == Refused("card_wait", wait_s=30)


def test_unverified_check_ins_are_put_off_and_never_refused(
    make: Make, store: Store, clock: FakeClock
) -> None:
    service = make()
    for number in range(UNVERIFIED_BURST):
        assert isinstance(service.by_pin(f"Z-{number}", "123456"), Accepted)
    put_off = service.by_pin("Z-99", "123456")
    assert put_off == Refused("wait", "Z-99", 30)
    assert isinstance(
        service.by_pin("A-1", "135790"), Accepted
    )  # whoever can be checked never waits
    clock.advance(put_off.wait_s)
    done = service.by_pin("Z-99", "123456")
    assert isinstance(done, Accepted)
    assert not done.verified


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 90), st.booleans(), st.sampled_from(["", "", "", "boot", "restart"])
        ),
        max_size=80,
    )
)
def test_no_history_takes_more_than_the_rate_allows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, bool, str]]
) -> None:
    clock, taken = FakeClock(), 0
    with Store.open(tmp_path_factory.mktemp("rate") / "kiosk.db", "k" * 8) as store:
        start = time_of = 0.0

        def fresh() -> Rate:
            return Rate(store, clock, "t", UNVERIFIED_BURST, UNVERIFIED_EVERY_S)

        rate = fresh()
        for seconds, keen, event in steps:
            clock.advance(seconds)
            time_of += seconds
            if event == "boot":
                clock.reboot(boottime_ns=0)
            if event:
                rate = fresh()
            wait_s = rate.wait_s()
            assert 0 <= wait_s <= UNVERIFIED_EVERY_S  # nobody waits longer, whatever went before
            if wait_s and keen:
                clock.advance(wait_s)
                time_of += wait_s
                assert rate.wait_s() == 0
            if not rate.wait_s():
                rate.take()
                taken += 1
        assert taken <= UNVERIFIED_BURST + (time_of - start) / UNVERIFIED_EVERY_S + 1e-6


def scene(text: str, side: int, angle: float, rng: np.random.Generator) -> np.ndarray:
    """A badge held up before a 640x480 camera: tilted, a little soft, with sensor noise."""
    drawn = io.BytesIO()
    segno.make(text, error="q", micro=False, boost_error=False).save(
        drawn, "png", scale=8, border=4
    )
    code = cv2.imdecode(np.frombuffer(drawn.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    code = cv2.resize(code, (side, side), interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1)
    turn[:, 2] += (320 - side / 2, 240 - side / 2)
    picture = cv2.GaussianBlur(rng.integers(90, 200, (480, 640, 3), dtype=np.uint8), (0, 0), 3)
    badge = cv2.warpAffine(code, turn, (640, 480))
    mask = cv2.warpAffine(np.full((side, side), 255, np.uint8), turn, (640, 480))
    picture[mask > 127] = badge[mask > 127]
    soft = cv2.GaussianBlur(picture, (0, 0), 0.8)
    return np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)


def test_a_tilted_noisy_badge_is_read_and_other_codes_are_nobody() -> None:
    rng = np.random.default_rng(7)
    read = [
        read_badge(scene(BADGE, side, angle, rng))
        for side in (150, 220)
        for angle in (-25.0, -10.0, 0.0, 12.0, 25.0)
    ]
    assert read.count(BADGE) >= 9
    assert set(read) <= {BADGE, None}
    assert read_badge(scene("https://example.cn/pay?u=1", 220, 0, rng)) is None
    assert read_badge(np.zeros((480, 640, 3), np.uint8)) is None


def test_a_badge_is_told_once_while_it_is_held_up_and_only_where_any_is_enrolled() -> None:
    now, told, came = [100.0], [], threading.Event()

    def on_badge(text: str) -> None:
        told.append(text)
        came.set()

    picture = scene(BADGE, 220, 5, np.random.default_rng(1))
    with BadgeReader(on_badge, mono=lambda: now[0]) as reader:
        reader.offer(picture)
        assert reader._image is None  # nobody here has a badge: nothing is looked at
        reader.wanted = True
        for seconds in (1.0, 1.0, 9.0):
            now[0] += seconds
            came.clear()
            reader.offer(picture)
            came.wait(3 if seconds != 1.0 or not told else 0.5)
    assert told == [BADGE, BADGE]
    reader.close()


def test_guessing_costs_the_same_whoever_holds_the_card() -> None:
    people = township()
    times: dict[str, list[float]] = {"12345678": [], "87654321": []}
    for _ in range(5):
        for number, took in times.items():
            began = time.process_time()  # of the processor: a busy machine is no sign
            people.owner("card", number)
            took.append(time.process_time() - began)
    known, unknown = (min(took) for took in times.values())
    assert 0.5 < known / unknown < 2
