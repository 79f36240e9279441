"""One proposed picture from the kiosk's camera to the kiosk's gallery, by real HTTP, by stick, and
gone with the consent. Kiosk, server and desk are the real ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from attendance.days import day_of
from attendance.statuses import SiteKind
from enroll.accept import accept
from enroll.cli import main
from enroll.desk import Desk
from enroll.enrol import grant_consent
from enroll.importer import import_folder
from enroll.pairing import pair as pair_desk
from enroll.proposals import Proposals
from enroll.withdraw import withdraw_consent
from hardware.frames import Frame
from hardware.lamps import ScreenBoard
from kiosk.checkin import CheckinService
from kiosk.clock import FrameClock, SystemClock
from kiosk.display import Display
from kiosk.events import EventLog
from kiosk.facelock import FaceLock
from kiosk.fakes import FakeClock
from kiosk.lampkeeper import LampKeeper
from kiosk.loop import Kiosk
from kiosk.pairing import pair as pair_kiosk
from kiosk.pins import Pins
from kiosk.proposer import Proposer, proposer_of
from kiosk.screen.app import Answer
from kiosk.screen.feed import ScreenFeed
from kiosk.site import Site
from recognition.engine import Engine
from recognition.gallery import Gallery
from recognition.recogniser import Recogniser
from tests.enroll.test_with_server import RealTownship, exchange, sync
from tests.enroll.test_with_server import real as real

PERSON, ENROLLED, SHOWN = 9, 1, 3
"""Of the pictures under `lfw_dev`: two of one person of which sface makes 0.39 to 0.41, below the
threshold and above the least that enrolment takes for one person."""


class Village:
    """The kiosk of a site, in this process: its loop, its proposer, its line to the server."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.t = 0.0
        self.base = FakeClock(SystemClock().read().wall_ms)
        feed, clock = ScreenFeed(), FrameClock(self.base)
        people = site.people()
        self.service = CheckinService(
            site.store, people, Pins(site.store, people, clock), clock, SiteKind.VILLAGE
        )
        self.told: list[dict[str, Any]] = []
        events = EventLog(None)
        events.listen(lambda event: self.told.append(dict(event)))
        display = Display(site.store, LampKeeper(ScreenBoard([]), events), feed, clock)
        gallery = Gallery(engine.model_id, engine.dimension)
        self.kiosk = Kiosk(
            store=site.store,
            vault=site.vault,
            service=self.service,
            recogniser=Recogniser(engine, gallery, "off"),
            display=display,
            lock=FaceLock(site.store, clock, by_frames=True),
            events=events,
            feed=feed,
            clock=clock,
            live=False,
            # A quick machine shows all pictures within the second between two looks at the vault.
            mono=lambda: self.t,
        )
        self.proposer: Proposer = proposer_of(
            site, engine, lambda: self.service.people, display.now_ms
        )
        self.kiosk.proposer = self.proposer

    def show(self, path: Path, seconds: float = 1.6) -> None:
        """Somebody before the camera who moves a little."""
        face = cv2.resize(cv2.imread(str(path)), (400, 400))
        for n in range(int(seconds * 10)):
            frame = np.full((480, 640, 3), 127, np.uint8)
            x, y = 120 + 4 * (n % 5), 40 + 2 * (n % 3)
            frame[y : y + 400, x : x + 400] = face
            self.kiosk.process(Frame(round(self.t * 10), self.t, frame, 0.0))
            self.t += 0.1

    def leaves(self) -> None:
        for _ in range(10):
            blank = np.full((480, 640, 3), 127, np.uint8)
            self.kiosk.process(Frame(round(self.t * 10), self.t, blank, 0.0))
            self.t += 0.1

    def passes(self, seconds: float) -> None:
        self.base.advance(seconds)
        self.t += seconds

    def pin(self, official: str) -> Answer:
        return self.kiosk.pin(official, "482913")

    @property
    def waiting(self) -> list[str]:
        return [package.official for package in self.site.vault.pile.waiting()]


@pytest.mark.timeout(180)
def test_a_picture_proposed_at_a_pin_becomes_a_template_by_a_supervisors_word(
    tmp_path: Path, real: RealTownship, folder, engine: Engine,
    faces: Callable[[int], list[Path]], command: Callable[..., Any],
) -> None:  # fmt: skip
    shown = faces(PERSON)[SHOWN]
    with Desk(tmp_path / "desk", lambda: datetime.now(UTC)) as desk:
        pair_desk(desk.data, real.url, real.code("--kind", "desk"))
        code = real.code("--kind", "kiosk", "--site", "杏树村", "--site-kind", "village")
        pair_kiosk(tmp_path / "kiosk", real.url, code)
        folder.add("g1", [faces(PERSON)[ENROLLED]])
        folder.add("g2", faces(2)[:2])
        folder.change("2026-11-01", "2026-03-01")
        import_folder(desk, folder.path, lambda: engine, sites=None)
        pile = Proposals(desk)
        with Site(tmp_path / "kiosk") as site:
            exchange(site)
            sync(desk)
            exchange(site)
            village = Village(site, engine)

            # Nobody consented: nothing is held, nothing is kept.
            village.show(shown)
            assert not village.proposer.holds
            answer = village.pin("g1")
            assert answer.ok
            assert answer.greeting["proposed"] is False
            assert village.waiting == []
            village.leaves()

            data = ["--data", str(desk.data)]
            assert main(["proposals", "allow", "g1", *data]) == 0
            exchange(site)
            village.show(shown)
            assert [e["reason"] for e in village.told if e["event"] == "refused"][-1] == "unknown"
            # Somebody else's PIN: g2 never agreed, so the face before the camera stays unkept.
            assert village.pin("g2").greeting["proposed"] is False
            assert village.waiting == []
            village.passes(120)
            village.show(shown)
            answer = village.pin("g1")
            assert answer.greeting["proposed"] is True
            assert village.waiting == ["g1"]
            assert not village.proposer.holds
            village.leaves()
            village.passes(120)
            village.show(shown)
            assert village.pin("g1").greeting["proposed"] is False, "one a week"

            stored = b"".join(p.read_bytes() for p in (site.folder / "proposals").iterdir())
            assert b"\xff\xd8\xff" not in stored
            exchange(site)
            assert village.waiting == []
            assert sync(desk).proposals == 1
            (proposal,) = pile.rows()
            assert (proposal.official, proposal.device) == ("g1", site.config.device)
            # By another process: closing the file in this one would take SQLite's locks with it.
            kept = subprocess.run(["cat", desk.data / "desk.db"], capture_output=True, check=True)
            assert b"\xff\xd8\xff" not in kept.stdout

            # Nothing changed by itself.
            assert len(desk.store.face("g1").templates) == 1
            before = site.vault.version
            sync(desk)
            exchange(site)
            assert site.vault.version == before
            village.leaves()
            village.show(shown)
            assert village.told[-1]["event"] == "refused"

            start = proposal.id[:8]
            assert main(["proposals", "show", start, "--folder", str(folder.path), *data]) == 0
            page = desk.data / "proposals" / f"{proposal.id}.html"
            assert page.stat().st_mode & 0o777 == 0o600
            assert page.read_text("utf-8").count("data:image/jpeg;base64,") == 2
            assert main(["proposals", "accept", start, "--by", "姓名g1", *data]) == 1, "their own"
            assert main(["proposals", "accept", start, "--by", "王主任", *data]) == 0
            assert not page.exists()
            assert len(desk.store.face("g1").templates) == 2
            (row,) = pile.rows(undecided=False)
            assert (row.what, row.who) == ("accepted", "王主任")

            assert exchange(site).gallery_installed
            village.leaves()
            village.passes(120)
            village.show(shown)
            assert village.told[-1]["event"] == "checkin"
            assert village.told[-1]["official"] == "g1"
            assert village.told[-1]["score"] > 0.7
    trail = real.trail()
    assert [(who.split(" ", 1)[1], what) for who, what in trail] == [
        ("王主任", "proposal_accepted")
    ]


@pytest.mark.timeout(180)
def test_by_stick_and_gone_with_the_consent_everywhere(
    tmp_path: Path, real: RealTownship, folder, engine: Engine,
    faces: Callable[[int], list[Path]],
) -> None:  # fmt: skip
    with Desk(tmp_path / "desk", lambda: datetime.now(UTC)) as desk:
        pair_desk(desk.data, real.url, real.code("--kind", "desk"))
        code = real.code("--kind", "kiosk", "--site", "柳树沟", "--site-kind", "village")
        pair_kiosk(tmp_path / "kiosk", real.url, code)
        folder.add("h1", [faces(PERSON)[ENROLLED]], sites="柳树沟")
        folder.change("2026-11-01", "2026-03-01")
        import_folder(desk, folder.path, lambda: engine, sites=None)
        today = day_of(desk.now_ms())
        desk.store.add_consent("h1", "proposals", today, desk.now_ms())
        pile = Proposals(desk)
        with Site(tmp_path / "kiosk") as site:
            exchange(site)
            sync(desk)
            exchange(site)
            village = Village(site, engine)
            village.show(faces(PERSON)[SHOWN])
            assert village.pin("h1").greeting["proposed"] is True
            stick = tmp_path / "stick.json"
            assert site.vault.pile.export(stick) == 1
            assert village.waiting == []
            assert pile.take_file(stick) == ["taken"]
            assert pile.take_file(stick) == ["known"]
            (proposal,) = pile.rows()

            # Another one waits at the server, and one more on the card.
            site.store.set_meta(proposed=None)
            village.leaves()
            village.passes(120)
            village.show(faces(PERSON)[SHOWN])
            assert village.pin("h1").greeting["proposed"] is True
            exchange(site)
            site.store.set_meta(proposed=None)
            village.leaves()
            village.passes(120)
            village.show(faces(PERSON)[SHOWN])
            assert village.pin("h1").greeting["proposed"] is True
            assert village.waiting == ["h1"]

            done = withdraw_consent(desk, "h1")
            assert done.proposals == 1
            assert pile.rows() == []
            with pytest.raises(LookupError):
                pile.contents(proposal.id)
            sync(desk)
            assert real.waiting() == 0
            exchange(site)
            assert village.waiting == []
            assert not village.proposer.holds
            assert sync(desk).owed == []
            assert pile.take_file(stick) == ["known"]

            # Enrolled anew, without that consent: the old file stays closed, and so does the pile.
            grant_consent(desk.store, "h1", today, desk.now_ms(), renewed=True)
            assert pile.take_file(stick) == ["known"]
            with pytest.raises(LookupError):
                accept(desk, engine, pile.find(proposal.id), "王主任")
