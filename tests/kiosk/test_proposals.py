"""What a kiosk proposes: of whom, when, how much of it, and how it goes away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from attendance.days import DAY_MS
from attendance.errors import SignatureInvalid
from attendance.proposals import (
    LIFETIME_MS,
    MAX_OF_ONE,
    MAX_PICTURE,
    ProposalContents,
    ProposalPackage,
    open_proposal,
    seal_proposal,
)
from attendance.signing import DeviceKeys
from attendance.wire import GalleryContents, Person
from kiosk.commands import status_of
from kiosk.config import load_keys
from kiosk.errors import KioskError
from kiosk.fakes import FakeClock, FakeTownship, package
from kiosk.pairing import pair
from kiosk.people import People
from kiosk.proposals import MOST, PER_EXCHANGE, REST_NS, Pile
from kiosk.proposer import LOOK_S, REST_MS, Proposer
from kiosk.site import Site
from kiosk.vault import settle_erasures
from recognition.decision import Match, Unknown, Wait
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.liveness import LivenessVerdict
from recognition.quality import assess_quality
from recognition.recogniser import Observation
from recognition.types import Face

THRESHOLD = 0.5


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    made = FakeTownship()
    yield made
    made.close()


class Counter:
    """A paired kiosk's folder whose desk allows proposals of XC-1 and XC-2, not of XC-3."""

    def __init__(self, folder: Path, township: FakeTownship) -> None:
        self.township = township
        self.config = pair(folder, township.url, str(township.code))
        self.keys = load_keys(folder)
        self.clock = FakeClock()
        self.site = Site(folder)
        self.version = 0
        self.allow("XC-1", "XC-2")

    def allow(
        self, *officials: str, tombstones: tuple[str, ...] = (), desk_box: bytes | None = None
    ) -> list[str]:
        """Another gallery of the desk; whose erasure the kiosk confirmed."""
        self.version += 1
        contents = GalleryContents(
            device=self.config.device,
            version=self.version,
            model="sface",
            dimension=2,
            pin_key=b"k" * 32,
            people=[
                Person(official=who, name=who, title="", propose=who in officials)
                for who in ("XC-1", "XC-2", "XC-3")
            ],
            desk_box=self.township.desk.box_public if desk_box is None else desk_box,
        )
        sealed = package(self.township.desk, self.keys.box_public, contents, tombstones=tombstones)
        self.site.vault.install(
            sealed, self.site.client(self.clock).config, self.keys, 1, self.site.store
        )
        self.people = People(contents)
        receipts = settle_erasures(self.site.vault, self.site.store, self.keys, self.clock.read())
        return [receipt.record.official or "" for receipt in receipts]

    @property
    def pile(self) -> Pile:
        return self.site.vault.pile

    def package(self, official: str = "XC-1", at_ms: int | None = None) -> ProposalPackage:
        return seal_proposal(
            ProposalContents(
                id=str(uuid.uuid4()),
                device=self.config.device,
                official=official,
                at_ms=self.clock.wall_ms if at_ms is None else at_ms,
                method="pin",
                score=0.4,
                threshold=THRESHOLD,
                liveness="passive",
                model="sface",
                picture=b"\xff\xd8 a face",
            ),
            self.township.desk.box_public,
            self.keys,
        )

    def proposer(self) -> Proposer:
        return Proposer(
            self.site.vault,
            self.site.store,
            self.keys,
            lambda: self.people,
            THRESHOLD,
            "sface",
            lambda: self.clock.wall_ms,
        )

    def waiting(self) -> list[str]:
        return [each.official for each in self.pile.waiting()]


@pytest.fixture
def counter(tmp_path: Path, township: FakeTownship) -> Iterator[Counter]:
    made = Counter(tmp_path, township)
    yield made
    made.site.close()


# -- the pile -------------------------------------------------------------------------------


def test_three_an_official_and_sixty_a_card(counter: Counter) -> None:
    for _ in range(MAX_OF_ONE):
        assert counter.pile.has_room("XC-1")
        counter.pile.put(counter.package())
    assert not counter.pile.has_room("XC-1")
    assert counter.pile.has_room("XC-2")
    for n in range(MOST - MAX_OF_ONE):
        counter.pile.put(counter.package(f"other-{n}"))
    assert not counter.pile.has_room("XC-2")


def test_only_the_desk_can_open_what_lies_on_the_card(counter: Counter) -> None:
    counter.pile.put(counter.package())
    (path,) = (counter.site.folder / "proposals").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"a face" not in path.read_bytes()
    (waiting,) = counter.pile.waiting()
    assert open_proposal(waiting, counter.township.desk).picture == b"\xff\xd8 a face"
    for others in (counter.keys, DeviceKeys.generate()):
        with pytest.raises(SignatureInvalid):
            open_proposal(waiting, others)


def test_gone_with_the_consent_with_time_and_when_damaged(counter: Counter) -> None:
    counter.pile.put(counter.package("XC-1"))
    counter.pile.put(counter.package("XC-2"))
    counter.pile.put(counter.package("XC-2", counter.clock.wall_ms - LIFETIME_MS))
    counter.pile.put(counter.package("XC-3"))
    (counter.site.folder / "proposals" / "torn.json").write_bytes(b'{"v": 1, "id"')
    counter.allow("XC-1", "XC-2")
    assert sorted(counter.waiting()) == ["XC-1", "XC-2"]
    assert len(list((counter.site.folder / "proposals").iterdir())) == 2
    assert counter.allow("XC-2", tombstones=("XC-1",)) == ["XC-1"], "the receipt comes after"
    assert counter.waiting() == ["XC-2"]
    counter.clock.advance(30 * DAY_MS / 1000)
    settle_erasures(counter.site.vault, counter.site.store, counter.keys, counter.clock.read())
    assert counter.waiting() == []


def test_sent_after_the_records_a_few_at_a_time(counter: Counter) -> None:
    for n in range(PER_EXCHANGE + 1):
        counter.pile.put(counter.package("XC-1" if n % 2 else "XC-2"))
    client = counter.site.client(counter.clock)
    client.exchange()
    assert len(counter.township.proposals) == PER_EXCHANGE
    assert len(counter.waiting()) == 1
    assert status_of(counter.site)["proposals"] == 1
    client.exchange()
    assert len(counter.township.proposals) == PER_EXCHANGE + 1
    assert counter.waiting() == []
    client.close()


@pytest.mark.parametrize(("word", "left"), [("full", 0), ("gone", 0), ("not_found", 1)])
def test_what_the_server_will_never_take_goes_and_nothing_spoils_an_exchange(
    counter: Counter, word: str, left: int
) -> None:
    counter.pile.put(counter.package())
    counter.township.proposal_refusal = word
    client = counter.site.client(counter.clock)
    assert client.exchange().pending == 0
    assert len(counter.waiting()) == left
    counter.township.proposal_refusal = None
    client.exchange()
    assert len(counter.waiting()) == left, "not again for an hour"
    counter.clock.advance(REST_NS / 1e9)
    client.exchange()
    assert counter.waiting() == []
    client.close()


def test_a_stick_takes_them_along_and_several_kiosks_share_one(
    counter: Counter, tmp_path: Path
) -> None:
    stick = tmp_path / "stick.json"
    assert counter.pile.export(stick) == 0
    first, second = counter.package(), counter.package("XC-2")
    counter.pile.put(first)
    assert counter.pile.export(stick) == 1
    assert counter.waiting() == []
    counter.pile.put(second)
    counter.pile.put(first)  # a power cut between writing and erasing
    assert counter.pile.export(stick) == 2
    held = msgspec.json.decode(stick.read_bytes())["proposals"]
    assert [each["id"] for each in held] == [first.id, second.id]
    stick.write_text("somebody's letter")
    counter.pile.put(first)
    with pytest.raises(KioskError):
        counter.pile.export(stick)
    assert stick.read_text() == "somebody's letter"
    assert counter.waiting() == ["XC-1"]


# -- what is proposed -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine()


@pytest.fixture(scope="module")
def portrait(shared_data: Path, engine: Engine) -> tuple[Any, tuple[Face, ...]]:
    """A camera picture of somebody who stands near, and the faces in it."""
    person = sorted((shared_data / "lfw_dev").iterdir())[2]
    face = cv2.imread(str(sorted(person.glob("*.jpg"))[0]))
    frame = np.full((480, 640, 3), 127, np.uint8)
    frame[40:440, 120:520] = cv2.resize(face, (400, 400))
    return frame, tuple(engine.detect(frame))


Look = Callable[..., None]


@pytest.fixture
def look(portrait: tuple[Any, tuple[Face, ...]]) -> Look:
    """Shows the proposer that frame, as the recogniser saw it."""
    frame, faces = portrait

    def at(proposer: Proposer, t: float, decision: Any, track: int | None = 1) -> None:
        seen = Observation(
            t,
            round(t * 10),
            faces,
            faces[0] if track is not None else None,
            track,
            decision,
            quality=assess_quality(frame, faces[0], "live") if track is not None else None,
        )
        proposer.seen(frame, seen, None)

    return at


def match(score: float, name: str = "passive", live: bool | None = True) -> Match:
    return Match("XC-1", score, 0.4, LivenessVerdict(live, name, 0.9), 1, 3)


def test_by_face_only_where_it_was_close_and_alive(counter: Counter, look: Look) -> None:
    for refused in (match(0.63), match(0.55, "off"), match(0.55, "still")):
        proposer = counter.proposer()
        look(proposer, 0.0, refused)
        assert not proposer.by_face(refused)
    proposer = counter.proposer()
    look(proposer, 0.0, match(0.55))
    assert proposer.holds
    assert proposer.by_face(match(0.55))
    assert not proposer.holds
    (waiting,) = counter.pile.waiting()
    told = open_proposal(waiting, counter.township.desk)
    assert (told.official, told.method, told.score, told.liveness) == (
        "XC-1",
        "face",
        0.55,
        "passive",
    )
    assert (told.threshold, told.device) == (THRESHOLD, counter.config.device)
    picture = cv2.imdecode(np.frombuffer(told.picture, np.uint8), cv2.IMREAD_COLOR)
    assert max(picture.shape[:2]) <= 320
    assert len(told.picture) <= MAX_PICTURE


def test_by_pin_only_where_nobodys_templates_fitted(counter: Counter, look: Look) -> None:
    unknown = Unknown(0.41, 1)
    for decision in (match(0.9), Wait(None, 1)):
        proposer = counter.proposer()
        look(proposer, 0.0, decision)
        assert not proposer.by_pin("XC-1")
    proposer = counter.proposer()
    assert not proposer.by_pin("XC-1"), "nobody was seen"
    look(proposer, 0.0, unknown)
    assert not proposer.by_pin("XC-3"), "never consented"
    assert not proposer.by_pin("nobody"), "not on the list"
    look(proposer, 1.0, Wait(None, None), None)  # turns to the keys of the PIN
    assert proposer.by_pin("XC-1")
    assert counter.waiting() == ["XC-1"]


def test_once_a_week(counter: Counter, look: Look) -> None:
    proposer = counter.proposer()
    for seconds, kept in ((0, True), (60, False), (REST_MS / 1000, True)):
        counter.clock.advance(seconds)
        look(proposer, 0.0, Unknown(0.41, 1))
        assert proposer.by_pin("XC-1") is kept
    counter.clock.advance(-REST_MS * 3 / 1000)
    look(proposer, 0.0, Unknown(0.41, 1))
    assert proposer.by_pin("XC-1"), "a clock that was set back holds nobody up for ever"


def test_a_face_is_held_only_while_it_is_there(counter: Counter, look: Look) -> None:
    proposer = counter.proposer()
    look(proposer, 0.0, Unknown(0.41, 1))
    assert proposer.holds
    look(proposer, LOOK_S, Wait(None, None), None)
    assert proposer.holds
    look(proposer, LOOK_S + 0.1, Wait(None, None), None)
    assert not proposer.holds
    look(proposer, 50.0, Unknown(0.41, 1))
    look(proposer, 50.1, Wait(None, 2), 2)  # somebody else steps up
    assert not proposer.by_pin("XC-1")
    look(proposer, 51.0, Unknown(0.41, 3), 3)
    counter.allow()
    look(proposer, 51.1, Unknown(0.41, 3), 3)
    assert not proposer.holds, "nobody consents any more"


def test_a_full_card_or_a_gallery_of_an_older_desk_keeps_nothing(
    counter: Counter, look: Look
) -> None:
    proposer = counter.proposer()
    look(proposer, 0.0, Unknown(0.41, 1))
    (counter.site.folder / "proposals").write_text("not a folder")
    assert not proposer.by_pin("XC-1"), "and no fault of the check-in"
    (counter.site.folder / "proposals").unlink()
    counter.allow("XC-1", desk_box=b"")
    look(proposer, 0.1, Unknown(0.41, 1))
    assert not proposer.by_pin("XC-1")
    counter.allow("XC-1")
    look(proposer, 0.2, Unknown(0.41, 1))
    assert proposer.by_pin("XC-1")
    with pytest.raises(KioskError):
        counter.allow("XC-1", desk_box=b"short")
