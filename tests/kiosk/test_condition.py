"""How a kiosk is: told to the server, to Prometheus, and to people before something stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import requests

from attendance import wire
from attendance.clock import ClockClass
from attendance.statuses import SiteKind
from hardware.inputs import WayIn
from hardware.lamps import ScreenBoard
from kiosk.card import PROBE, Card
from kiosk.checkin import CheckinService
from kiosk.condition import EXPIRING_MS, LOW_MB, WAITING_S, Condition, expiring, exposition
from kiosk.display import Display
from kiosk.errors import StoreUnusable
from kiosk.events import EventLog
from kiosk.fakes import FakeClock
from kiosk.lampkeeper import LampKeeper
from kiosk.people import People
from kiosk.pins import Pins
from kiosk.screen.app import Answer, Screen
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Store
from kiosk.troubles import Troubles
from kiosk.upkeep import WARN_S, Upkeep
from kiosk.vault import Vault, note_gallery
from recognition.gallery import Gallery
from tests.faults.rig import checkin

NOW = 1_780_000_000_000
WELL = Condition(
    now_ms=NOW, pending=2, oldest_s=61, rejected=1, records=9, free_mb=11_007, clock=ClockClass.A,
    wall_off_ms=0, camera="ok", lamps="rgb", gallery=3, expires_ms=NOW + 90 * 86_400_000,
    heard_ms=NOW - 5_000, refused={"unknown": 4},
)  # fmt: skip


def lines(condition: Condition) -> dict[str, float]:
    said = exposition(condition).decode()
    pairs = (line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_metrics_say_what_a_caretaker_would_ask() -> None:
    assert lines(WELL) == {
        "quxiang_kiosk_outbox_records": 2,
        "quxiang_kiosk_outbox_oldest_seconds": 61,
        "quxiang_kiosk_rejected_records": 1,
        "quxiang_kiosk_last_record_number": 9,
        "quxiang_kiosk_disk_free_bytes": 11_007_000_000,
        "quxiang_kiosk_clock_verified": 1,
        "quxiang_kiosk_wall_clock_ahead_seconds": 0,
        "quxiang_kiosk_last_contact_timestamp_seconds": (NOW - 5_000) / 1000,
        "quxiang_kiosk_gallery_version": 3,
        "quxiang_kiosk_gallery_expiry_timestamp_seconds": NOW / 1000 + 90 * 86_400,
        "quxiang_kiosk_camera_ok": 1,
        "quxiang_kiosk_lamps_ok": 1,
        'quxiang_kiosk_refusals{reason="unknown"}': 4,
    }


def test_metrics_leave_out_what_is_not_known() -> None:
    said = lines(Condition(now_ms=NOW, camera="fault", lamps="unknown", troubles=("store",)))
    assert "quxiang_kiosk_outbox_records" not in said
    assert "quxiang_kiosk_disk_free_bytes" not in said
    assert said['quxiang_kiosk_trouble{part="store"}'] == 1
    assert said["quxiang_kiosk_camera_ok"] == said["quxiang_kiosk_lamps_ok"] == 0
    assert said["quxiang_kiosk_clock_verified"] == 0


def test_the_server_understands_the_same() -> None:
    health = WELL.health()
    sent = msgspec.json.decode(wire.encode(health), type=wire.Health)
    assert sent == health
    assert (sent.oldest_s, sent.rejected, sent.gallery_expires_ms) == (61, 1, WELL.expires_ms)
    absurd = msgspec.structs.asdict(Condition(now_ms=NOW, expires_ms=10**18).health())
    msgspec.convert(absurd, wire.Health)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"free_mb": LOW_MB - 1}, ["disk"]),
        ({"oldest_s": WAITING_S}, ["outbox"]),
        ({"oldest_s": None, "free_mb": None}, []),
    ],
)
def test_people_are_told_before_it_stops(changed: dict[str, int], told: list[str]) -> None:
    warned = replace(WELL, **changed).warnings()  # type: ignore[arg-type]
    assert [key for key, trouble in warned.items() if trouble] == told


def test_a_manifest_is_told_two_weeks_before_and_after() -> None:
    assert expiring(None, NOW) is None
    assert expiring(NOW + EXPIRING_MS + 1, NOW) is None
    soon, over = expiring(NOW + EXPIRING_MS, NOW), expiring(NOW, NOW)
    assert soon is not None
    assert over is not None
    assert (soon.what[1], over.what[1]) == (
        "The gallery's manifest expires soon",
        "The gallery's manifest has expired",
    )


def test_the_age_of_what_waits(tmp_path) -> None:
    clock = FakeClock()
    with Store.open(tmp_path / "k.db", "kkkkkkkk") as store:
        assert store.oldest_waiting_s(clock.read(), clock.wall_ms) == 0
        first = store.record(checkin(1), clock.read()).record
        store.record(checkin(2), clock.read())
        clock.advance(90)
        clock.wall_ms -= 10**12  # a step of the wall clock within one boot changes nothing
        assert store.oldest_waiting_s(clock.read(), clock.wall_ms) == 90
        clock.reboot(wall_ms=first.wall_ms + 3_600_000)
        assert store.oldest_waiting_s(clock.read(), clock.wall_ms) == 3600
        clock.wall_ms = 0  # no battery: not older than nothing
        assert store.oldest_waiting_s(clock.read(), clock.wall_ms) == 0
        acks = [wire.Result(seq=1, record_id=first.record_id, result="stored")]
        store.acknowledge(1, acks)
        clock.wall_ms = first.wall_ms + 90_000
        assert store.oldest_waiting_s(clock.read(), clock.wall_ms) == 90
        assert store.rejected_count() == 0


def test_a_card_is_looked_at_and_a_hung_one_is_a_fault(tmp_path) -> None:
    now = [100.0]
    card = Card(tmp_path, lambda: now[0])
    assert card.fault is None
    card.look()
    assert card.fault is None
    assert (tmp_path / PROBE).stat().st_size == 16
    (tmp_path / PROBE).unlink()
    (tmp_path / PROBE).mkdir()
    card.look()
    assert isinstance(card.fault, StoreUnusable)
    (tmp_path / PROBE).rmdir()
    card.look()
    assert card.fault is None
    gone = Card(tmp_path / "gone", lambda: now[0])
    gone.look()
    assert gone.fault is not None
    hung = Card(tmp_path, lambda: now[0])
    hung._began = 100.0
    assert hung.fault is None
    now[0] = 109.5
    assert hung.fault is not None
    assert hung.fault.what == "io"


class _Nobody:
    def pin(self, official: str, pin: str) -> Answer:
        raise NotImplementedError

    def choose(self, *_: object) -> Answer:
        raise NotImplementedError


@pytest.mark.parametrize("served", [True, False])
def test_prometheus_reads_the_loopback_page(served: bool) -> None:
    with Screen(
        ScreenFeed(), _Nobody(), 0, (lambda: exposition(WELL)) if served else None
    ) as screen:
        answer = requests.get(f"{screen.url}metrics", timeout=5)
    assert answer.status_code == (200 if served else 404)
    if served:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"quxiang_kiosk_outbox_records 2.0" in answer.content


def test_a_missing_touch_screen_is_told_until_there_is_a_way_in() -> None:
    for way in WayIn:
        trouble = replace(WELL, way=way).warnings()["touch"]
        assert (trouble is not None) == (way is WayIn.NONE)


def test_each_warning_is_shown_while_it_lasts_and_goes_by_itself(tmp_path: Path) -> None:
    """Through the kiosk's own turns: a card that fills, a touch screen that is pulled."""
    clock, now = FakeClock(), [100.0]
    feed, said, shown = ScreenFeed(), [], []
    events = EventLog(None)
    events.listen(lambda event: said.append(event["part"]))
    found = [replace(WELL, way=WayIn.TOUCH)]
    with Store.open(tmp_path / "k.db", "kkkkkkkk") as store:
        people = People()
        keeper = LampKeeper(ScreenBoard([]), events, now_s=lambda: now[0])
        upkeep = Upkeep(
            store=store,
            vault=Vault(tmp_path / "vault"),
            service=CheckinService(
                store, people, Pins(store, people, clock), clock, SiteKind.VILLAGE
            ),
            gallery=Gallery("m", 4),
            display=Display(store, keeper, feed, clock, mono=lambda: now[0]),
            events=events,
            feed=feed,
            troubles=Troubles(feed, events),
            clock=clock,
            live=True,
            mono=lambda: now[0],
            survey=lambda: found[0],
        )
        for change in (
            {}, {"free_mb": LOW_MB - 1}, {"free_mb": 0}, {"free_mb": 9000, "way": WayIn.NONE},
            {"oldest_s": WAITING_S}, {"way": WayIn.KEYBOARD, "oldest_s": 0},
        ):  # fmt: skip
            found[0] = replace(found[0], **change)
            now[0] += WARN_S
            upkeep.turn()
            shown.append([each["what_en"] for each in feed.get("troubles")])
            assert all(each["advice_zh"] and each["advice_en"] for each in feed.get("troubles"))
        note_gallery(store, 3)  # of which the vault has nothing that can be read
        now[0] += WARN_S
        upkeep.turn()
        assert feed.get("condition") == found[0].shown()
        assert [each["what_zh"] for each in feed.get("troubles")] == ["人脸库读不出"]
    touch, waits = "The touch screen is missing", "Records have waited for days"
    assert shown == [
        [], ["Storage is nearly full"], ["Storage is full"], [touch], [touch, waits], [],
    ]  # fmt: skip
    assert said == ["disk", "disk", "touch", "outbox", "gallery"], "each told once"
