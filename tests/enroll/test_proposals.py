"""Proposed pictures at the desk: what it takes, from whom, how often, and who decides."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from attendance import wire
from attendance.days import DAY_MS
from attendance.proposals import (
    LIFETIME_MS,
    MAX_OF_ONE,
    ProposalContents,
    ProposalPackage,
    seal_proposal,
)
from attendance.signing import DeviceKeys, to_text
from enroll.accept import accept, judge, refuse
from enroll.cli import main
from enroll.database import PROPOSALS
from enroll.desk import Desk
from enroll.enrol import MAX_TEMPLATES
from enroll.errors import EnrollError, FaceRefused, ProposalUnknown
from enroll.proposal_page import write_page
from enroll.proposals import Proposals
from enroll.seal import Sealer
from enroll.withdraw import withdraw_consent
from recognition.engine import Engine

from .conftest import FakeKiosk, FakeTownship
from .test_sync import add, sync

JPEG = b"\xff\xd8 a face \xff\xd9"


def proposal(kiosk: FakeKiosk, desk: Desk, official: str = "a", **changes: Any) -> ProposalPackage:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "device": kiosk.device,
        "official": official,
        "at_ms": desk.now_ms() + 1000,
        "method": "pin",
        "score": 0.41,
        "threshold": 0.5,
        "liveness": "passive 0.97",
        "model": "sface",
        "picture": JPEG,
    }
    made = ProposalContents(**{**fields, **changes})
    return seal_proposal(made, desk.keys().box_public, kiosk.keys)


@pytest.fixture
def kiosk(paired: Desk, township: FakeTownship, synthetic) -> FakeKiosk:
    """That of 杏树村, which the desk has seen; `a` and `b` consented to proposals, `c` did not."""
    made = township.add_kiosk("杏树村")
    for n, who in enumerate("abc"):
        add(paired, who, synthetic(n), "杏树村")
        if who != "c":
            paired.store.add_consent(who, "proposals", date(2026, 11, 21), paired.now_ms())
    sync(paired)
    return made


def test_the_sealed_gallery_says_who_may_be_proposed_and_to_whose_key(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk, synthetic
) -> None:
    township.pull(kiosk)
    assert kiosk.contents is not None
    assert kiosk.contents.desk_box == paired.keys().box_public
    assert {p.official for p in kiosk.contents.people if p.propose} == {"a", "b"}
    # A change of that consent alone makes a new gallery due; twins are left out.
    paired.store.end_consent("a", "proposals", paired.now_ms())
    paired.store.mark_alike("b", "c", 0.9)
    (row,) = paired.ledger.kiosks()
    assert Sealer(paired.store, paired.ledger).is_due(row, row.put_version, paired.now_ms())
    sync(paired)
    township.pull(kiosk)
    assert not any(p.propose for p in kiosk.contents.people)


def test_what_is_taken_and_what_is_not(paired: Desk, kiosk: FakeKiosk) -> None:
    pile = Proposals(paired)
    stranger = FakeKiosk("nobody00", "杏树村", kiosk.kind)
    good = proposal(kiosk, paired)
    other = proposal(kiosk, paired, "b")
    for package, fate in (
        (good, "taken"),
        (good, "known"),
        (msgspec.structs.replace(other, id=good.id), "known"),
        (proposal(stranger, paired), "foreign"),
        (msgspec.structs.replace(other, official="a"), "foreign"),
        (msgspec.structs.replace(other, sealed=good.sealed), "foreign"),
        (
            seal_proposal(
                ProposalContents(
                    id=str(uuid.uuid4()), device=kiosk.device, official="a", at_ms=good.at_ms,
                    method="pin", score=0.4, threshold=0.5, liveness="", model="", picture=JPEG,
                ),
                DeviceKeys.generate().box_public,
                kiosk.keys,
            ),
            "foreign",
        ),
        (proposal(kiosk, paired, "c"), "unasked"),
        (proposal(kiosk, paired, at_ms=paired.now_ms() - 1), "unasked"),
        (proposal(kiosk, paired, at_ms=paired.now_ms() - LIFETIME_MS), "stale"),
        (proposal(kiosk, paired, at_ms=paired.now_ms() + 2 * DAY_MS), "stale"),
        *[(proposal(kiosk, paired), "taken") for _ in range(MAX_OF_ONE - 1)],
        (proposal(kiosk, paired), "full"),
        (other, "taken"),
    ):  # fmt: skip
        assert pile.take(package) == fate, package.official
    assert pile.contents(good.id).picture == JPEG
    assert JPEG not in (paired.store.db.serialize())
    with paired.store.transaction() as db:
        db.execute("UPDATE kiosks SET revoked = 1")
    assert pile.take(proposal(kiosk, paired, "b")) == "foreign"


def test_a_lying_server_can_neither_open_nor_swap_nor_repeat(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk
) -> None:
    pile = Proposals(paired)
    honest = proposal(kiosk, paired)
    liar = DeviceKeys.generate()
    forged = seal_proposal(
        ProposalContents(
            id=str(uuid.uuid4()), device=kiosk.device, official="a", at_ms=honest.at_ms,
            method="face", score=0.51, threshold=0.5, liveness="passive", model="sface",
            picture=b"\xff\xd8 the server's own \xff\xd9",
        ),
        paired.keys().box_public,
        liar,
    )  # fmt: skip
    swapped = msgspec.structs.replace(forged, id=honest.id)
    township.proposals = [honest, forged]
    assert b"a face" not in wire.encode(honest)
    assert sync(paired).proposals == 1
    (row,) = pile.rows()
    assert row.id == honest.id
    assert [d.what for d in township.decisions] == ["erased"], "of the forged one"
    for again in (honest, swapped):
        township.proposals = [again]
        assert sync(paired).proposals == 0
        assert township.proposals == []
    assert pile.contents(honest.id).picture == JPEG
    refuse(paired, pile.find(honest.id), "王主任")
    township.proposals = [honest]
    assert sync(paired).proposals == 0, "decided is decided"
    assert pile.rows() == []
    # Another key for the kiosk, so that forged ones fit, is refused as every change is.
    township.rows[kiosk.device] = msgspec.structs.replace(
        township.rows[kiosk.device], sign_key=to_text(liar.sign_public)
    )
    township.proposals = [msgspec.structs.replace(forged, id=forged.id)]
    done = sync(paired)
    assert len(done.changed) == 1
    assert done.proposals == 0


def test_decisions_are_told_once_with_the_name_also_after_a_bad_day(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk
) -> None:
    pile = Proposals(paired)
    package = proposal(kiosk, paired)
    assert pile.take(package) == "taken"
    township.down()
    for nobody in ("", "   ", "a", "姓名a"):
        with pytest.raises(EnrollError):
            refuse(paired, pile.find(package.id[:8]), nobody)
    refuse(paired, pile.find(package.id[:8]), "  王 主任 ")
    with pytest.raises(ProposalUnknown):
        pile.contents(package.id)
    with pytest.raises(ProposalUnknown):
        pile.find(package.id[:8])
    township.up()
    sync(paired)
    sync(paired)
    (told,) = township.decisions
    assert (told.id, told.what, told.by, told.device) == (
        package.id,
        "refused",
        "王 主任",
        kiosk.device,
    )
    assert pile.rows() == []


def test_the_log_can_only_grow(paired: Desk, kiosk: FakeKiosk) -> None:
    pile = Proposals(paired)
    package = proposal(kiosk, paired)
    pile.take(package)
    refuse(paired, pile.find(package.id), "王主任")
    for statement in (
        "DELETE FROM proposals",
        "UPDATE proposals SET what = 'accepted'",
        "UPDATE proposals SET who = 'somebody'",
        "UPDATE proposals SET official = 'b'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            paired.store.db.execute(statement)
    (row,) = pile.rows(undecided=False)
    assert (row.what, row.who, row.decided_ms) == ("refused", "王主任", paired.now_ms())


def test_nobody_looks_for_thirty_days(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk, clock
) -> None:
    pile = Proposals(paired)
    package = proposal(kiosk, paired)
    pile.take(package)
    clock.forward(days=30, seconds=2)
    sync(paired)
    assert pile.rows() == []
    assert [(d.what, d.by) for d in township.decisions] == [("erased", "")]


@pytest.mark.parametrize("how", ["withdraw", "disallow"])
def test_the_end_of_a_consent_erases_and_closes(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk, clock, how: str
) -> None:
    pile = Proposals(paired)
    package, late = proposal(kiosk, paired), proposal(kiosk, paired)
    pile.take(package)
    box = paired.store.rows("SELECT box FROM proposals")[0][0]
    clock.forward(minutes=1)
    if how == "withdraw":
        assert withdraw_consent(paired, "a").proposals == 1
    else:
        assert main(["proposals", "disallow", "a", "--data", str(paired.data)]) == 0
    assert pile.rows() == []
    assert bytes(box) not in paired.store.db.serialize()
    assert pile.take(late) == "unasked"
    township.proposals = [late]
    sync(paired)
    assert township.proposals == []
    assert township.decisions[-1].what == "erased"
    # A consent given again does not open what was proposed before it.
    paired.store.add_consent("a", "face", date(2026, 11, 21), paired.now_ms())
    clock.forward(minutes=1)
    paired.store.add_consent("a", "proposals", date(2026, 11, 21), paired.now_ms())
    assert pile.take(late) == "unasked"
    assert pile.take(proposal(kiosk, paired)) == "taken"


def test_consent_is_apart_from_that_to_the_face(paired: Desk, kiosk: FakeKiosk, capsys) -> None:
    data = ["--data", str(paired.data)]
    assert main(["proposals", "allow", "nobody", *data]) == 1
    assert main(["proposals", "allow", "c", "--consented-on", "2999-01-01", *data]) == 1
    withdraw_consent(paired, "c")
    assert main(["proposals", "allow", "c", *data]) == 1, "no face, no proposals"
    capsys.readouterr()
    assert main(["proposals", "list", *data]) == 0
    said = capsys.readouterr().out
    assert "姓名a" in said
    assert "姓名c" not in said


def test_a_desk_of_the_release_before_is_brought_up(tmp_path: Path) -> None:
    with Desk(tmp_path / "old") as desk:
        desk.store.set_meta("kept", "yes")
        db = desk.store.db
        db.executescript("DROP TABLE expected; DROP TABLE reenrolments; DROP TABLE proposals")
        db.execute("PRAGMA user_version=3")
    with Desk(tmp_path / "old") as desk:
        assert desk.store.meta("kept") == "yes"
        assert Proposals(desk).rows() == []
        found = desk.store.rows("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'")
    assert found[0][0] == 2 + PROPOSALS.count("CREATE TRIGGER")


# -- the gate, with real faces ---------------------------------------------------------------


@pytest.fixture
def enrolled(
    paired: Desk, township: FakeTownship, engine: Engine, faces: Callable[[int], list[Path]]
) -> tuple[Desk, FakeKiosk]:
    """Two people of two templates each, who consented to proposals."""
    kiosk = township.add_kiosk("杏树村")
    for n, who in ((4, "a"), (2, "b")):
        add(paired, who, None, "杏树村")
        paired.store.add_consent(who, "face", date(2026, 11, 21), paired.now_ms())
        paired.store.add_consent(who, "proposals", date(2026, 11, 21), paired.now_ms())
        rows = []
        for path in faces(n)[:2]:
            frame = cv2.imread(str(path))
            rows.append(engine.embed(frame, engine.detect(frame, thorough=True)[0], thorough=True))
        paired.store.set_face(who, np.stack(rows), engine.model_id)
    paired.store.set_meta("model", engine.model_id)
    sync(paired)
    return paired, kiosk


def test_the_gate_of_enrolment_stands_before_acceptance(
    enrolled: tuple[Desk, FakeKiosk], engine: Engine, faces: Callable[[int], list[Path]]
) -> None:
    desk, kiosk = enrolled
    pile = Proposals(desk)

    def of(picture: bytes) -> Any:
        made = proposal(kiosk, desk, picture=picture)
        assert pile.take(made) == "taken"
        return pile.find(made.id)

    dark = cv2.imencode(".jpg", (cv2.imread(str(faces(4)[2])) * 0.1).astype(np.uint8))[1].tobytes()
    for picture, why in (
        (b"\xff\xd8 no picture", "JPEG"),
        (dark, "."),
        (faces(2)[3].read_bytes(), "not the person"),
        (faces(4)[0].read_bytes(), "nearly the same"),
    ):
        waiting = of(picture)
        with pytest.raises(FaceRefused, match=why):
            accept(desk, engine, waiting, "王主任")
        assert pile.rows() == [waiting], "it waits on: a person refuses it"
        assert len(desk.store.face("a").templates) == 2
        refuse(desk, waiting, "王主任")
    new = of(faces(4)[3].read_bytes())
    found = judge(desk, engine, "a", pile.contents(new.id).picture)
    assert found.why is None
    assert len(found.scores) == 2
    page = write_page(desk, new, pile.contents(new.id), found, faces(4)[0].parent.parent)
    assert "<script" not in page.read_text("utf-8")
    before = desk.store.face("a")
    done = accept(desk, engine, new, "王主任")
    assert (done.templates, done.replaced) == (3, False)
    assert not page.exists()
    after = desk.store.face("a")
    assert np.array_equal(after.templates[:2], before.templates)
    assert after.mark != before.mark
    # The fourth: one of the old ones makes room, never the new one.
    last = of(faces(4)[2].read_bytes())
    template = judge(desk, engine, "a", pile.contents(last.id).picture).template
    done = accept(desk, engine, last, "王主任")
    assert (done.templates, done.replaced) == (MAX_TEMPLATES, True)
    assert any(np.allclose(row, template) for row in desk.store.face("a").templates)


def test_a_picture_that_is_somebody_elses_too_needs_a_second_word(
    enrolled: tuple[Desk, FakeKiosk], engine: Engine, faces: Callable[[int], list[Path]]
) -> None:
    desk, kiosk = enrolled
    # `b` is enrolled with a picture of `a` by mistake, or they are twins.
    frame = cv2.imread(str(faces(4)[3]))
    twin = engine.embed(frame, engine.detect(frame, thorough=True)[0], thorough=True)
    desk.store.set_face("b", twin[None], engine.model_id)
    made = proposal(kiosk, desk, picture=faces(4)[3].read_bytes())
    assert Proposals(desk).take(made) == "taken"
    waiting = Proposals(desk).find(made.id)
    with pytest.raises(FaceRefused):
        accept(desk, engine, waiting, "王主任")
    done = accept(desk, engine, waiting, "王主任", allow_similar=True)
    assert [s.official for s in done.similar if s.collides] == ["b"]
    assert desk.store.alike("a") == {"b"}


def test_a_server_of_the_release_before_is_left_alone(
    paired: Desk, township: FakeTownship, kiosk: FakeKiosk
) -> None:
    township.knows_proposals = False
    pile = Proposals(paired)
    package = proposal(kiosk, paired)
    pile.take(package)
    refuse(paired, pile.find(package.id), "王主任")
    assert sync(paired).proposals == 0
    township.knows_proposals = True
    sync(paired)
    assert [d.what for d in township.decisions] == ["refused"], "told when it can be told"
