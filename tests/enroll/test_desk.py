"""What lies on the desk's disk: durable, private, encrypted, and gone when it is erased."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attendance import wire
from enroll.config import load_config, load_keys
from enroll.database import Database, check_mode
from enroll.desk import Desk
from enroll.enrol import grant_consent
from enroll.errors import (
    ConsentMissing,
    DeskNewer,
    DeskUnusable,
    NotPaired,
    OfficialUnknown,
)
from enroll.store import Consent
from enroll.withdraw import withdraw_consent

DAY = date(2026, 11, 1)


def row(official: str, *sites: str) -> wire.RosterRow:
    return wire.RosterRow(
        official=official, name="甲", title="", phone="", work_group="", sites=list(sites)
    )


def everything(desk: Desk) -> bytes:
    """Every byte in the desk's folder."""
    return b"".join(p.read_bytes() for p in desk.data.rglob("*") if p.is_file())


def fill(desk: Desk, official: str, templates: np.ndarray) -> None:
    desk.store.put_official(row(official))
    desk.store.set_pin(official, "482913")
    grant_consent(desk.store, official, DAY, desk.now_ms())
    desk.store.set_face(official, templates, "sface-1")


class InMemory(Database):
    """A desk whose file SQLite takes for none."""

    @property
    def path(self) -> Path:
        return Path(":memory:")

    @path.setter
    def path(self, _path: Path) -> None:
        pass


def test_a_disk_that_refuses_the_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "desk.db"
    # Without shared memory SQLite stays with the rollback journal, and says so in its answer only.
    db = sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True, isolation_level=None)
    with pytest.raises(DeskUnusable, match=r"journal_mode=delete.*network or memory") as caught:
        check_mode(db, path)
    assert "网络盘" in caught.value.words("zh")
    with Desk(tmp_path / "desk") as desk:
        held = desk.store.db
        assert held.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert held.execute("PRAGMA synchronous").fetchone() == (2,)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeskUnusable, match="journal_mode=memory"):
        InMemory(tmp_path / "other")


def test_what_is_kept_comes_back_after_a_restart(
    tmp_path: Path, synthetic: Callable[[int], np.ndarray]
) -> None:
    with Desk(tmp_path) as desk:
        fill(desk, "a", synthetic(1))
    with Desk(tmp_path) as desk:
        face = desk.store.face("a")
        pin = desk.store.pin("a")
        assert face is not None
        assert pin is not None
        np.testing.assert_array_equal(face.templates, synthetic(1))
        assert (face.model, pin.digits) == ("sface-1", "482913")
        assert "482913" not in repr(pin)
        assert desk.store.consent("a", "face") == Consent(DAY, None)


def test_files_are_private_and_hold_nothing_in_the_clear(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    fill(desk, "a", synthetic(1))
    desk.store.set_portrait("a", b"\xff\xd8 a portrait")
    for path in desk.data.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    disk = everything(desk)
    assert synthetic(1)[0].tobytes() not in disk
    assert b"482913" not in disk
    assert b"a portrait" not in disk


def test_withdrawal_leaves_no_byte_of_the_face(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    for n, who in enumerate("abc"):
        fill(desk, who, synthetic(n))
    found = desk.store.rows("SELECT wrapped, box FROM secrets WHERE official='b' AND kind='face'")
    wrapped, box = found[0]
    assert box in everything(desk)
    key = (desk.data / "desk.key").read_bytes()
    done = withdraw_consent(desk, "b")
    disk = everything(desk)
    for piece in (box, box[40:72], wrapped, wrapped[30:60], key[10:50]):
        assert bytes(piece) not in disk
    assert (done.templates, done.had_consent, done.pin) == (2, True, False)
    assert desk.store.face("b") is None
    assert desk.store.pin("b") is not None, "checking in by PIN goes on"
    for n, who in ((0, "a"), (2, "c")):
        face = desk.store.face(who)
        assert face is not None
        np.testing.assert_array_equal(face.templates, synthetic(n))


def test_withdrawing_twice_and_of_a_stranger(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    fill(desk, "a", synthetic(1))
    assert withdraw_consent(desk, "a").had_consent
    again = withdraw_consent(desk, "a")
    assert (again.had_consent, again.templates) == (False, 0)
    assert len(desk.ledger.unsent_withdrawals()) == 1
    with pytest.raises(OfficialUnknown):
        withdraw_consent(desk, "nobody")


def test_who_leaves_takes_the_pin_along_and_the_consent_stays_as_evidence(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    fill(desk, "a", synthetic(1))
    assert withdraw_consent(desk, "a", leaving=True).pin
    assert desk.store.official("a") is None
    assert desk.store.pin("a") is None
    consent = desk.store.consent("a", "face")
    assert consent is not None
    assert not consent.stands


def test_a_withdrawn_consent_needs_a_later_one(desk: Desk, clock) -> None:
    grant_consent(desk.store, "a", DAY, desk.now_ms())
    desk.store.end_consent("a", "face", desk.now_ms())
    today = date(2026, 11, 21)
    for stale in (DAY, date(2026, 11, 20)):
        with pytest.raises(ConsentMissing, match="withdrawn"):
            grant_consent(desk.store, "a", stale, desk.now_ms())
    with pytest.raises(ConsentMissing, match="future"):
        grant_consent(desk.store, "a", date(2026, 11, 22), desk.now_ms())
    grant_consent(desk.store, "a", today, desk.now_ms())
    desk.store.end_consent("a", "face", desk.now_ms())
    with pytest.raises(ConsentMissing):
        grant_consent(desk.store, "a", today, desk.now_ms())
    grant_consent(desk.store, "a", today, desk.now_ms(), renewed=True)
    clock.forward(days=1)
    assert desk.store.consent("a", "face") == Consent(today, None)


def test_consents_cannot_be_rewritten(desk: Desk) -> None:
    grant_consent(desk.store, "a", DAY, desk.now_ms())
    for sql in ("UPDATE consents SET given_on='2020-01-01'", "DELETE FROM consents"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            desk.store.db.execute(sql)


def test_a_row_moved_to_another_official_is_noticed(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    fill(desk, "a", synthetic(1))
    desk.store.put_official(row("b"))
    desk.store.db.execute(
        "INSERT INTO secrets SELECT 'b', kind, model, mark, wrapped, box FROM secrets"
        " WHERE kind = 'face'"
    )
    with pytest.raises(DeskUnusable, match="altered"):
        desk.store.face("b")


def test_a_key_replacement_that_was_cut_off_is_finished_at_the_next_start(
    tmp_path: Path, synthetic: Callable[[int], np.ndarray]
) -> None:
    class Cut(Exception):
        pass

    def cut() -> None:
        raise Cut

    for after_rewrap in (False, True):
        with Desk(tmp_path) as desk:
            fill(desk, "a", synthetic(1))
            ring = desk.store.keyring

            def crash(desk: Desk = desk, after: bool = after_rewrap) -> None:
                if after:
                    desk.store._rewrap()
                cut()

            with pytest.raises(Cut), desk.store.locked():
                ring.replace(crash)
            assert ring.unfinished
        with Desk(tmp_path) as desk:
            assert not desk.store.keyring.unfinished
            face = desk.store.face("a")
            assert face is not None
            np.testing.assert_array_equal(face.templates, synthetic(1))


def test_another_process_may_replace_the_key_meanwhile(
    desk: Desk, synthetic: Callable[[int], np.ndarray]
) -> None:
    fill(desk, "a", synthetic(1))
    with Desk(desk.data) as other:
        fill(other, "b", synthetic(2))
        withdraw_consent(other, "b")
        fill(other, "c", synthetic(3))
    assert [face.official for face in desk.store.faces()] == ["a", "c"]
    desk.store.set_pin("a", "739104")
    pin = desk.store.pin("a")
    assert pin is not None
    assert pin.digits == "739104"


def test_several_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(name: str) -> None:
        with Desk(tmp_path) as desk:
            for n in range(10):
                desk.store.put_official(row(f"{name}{n}"))
                desk.store.set_pin(f"{name}{n}", "482913")

    Desk(tmp_path).close()
    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Desk(tmp_path) as desk:
        assert len(desk.store.officials()) == 40
        assert all(desk.store.pin(o.official) for o in desk.store.officials())


def test_a_database_from_a_newer_version_gives_one_line_and_is_left_alone(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.store.put_official(row("a"))
        desk.store.db.execute("PRAGMA user_version=99")
    before = (tmp_path / "desk.db").read_bytes()
    with pytest.raises(DeskNewer, match="newer"):
        Desk(tmp_path)
    assert (tmp_path / "desk.db").read_bytes() == before


@pytest.mark.parametrize("name", ["desk.db", "desk.key", "desk.json", "device.key"])
def test_a_damaged_file_gives_one_line(tmp_path: Path, name: str) -> None:
    with Desk(tmp_path) as desk:
        load_keys(tmp_path, create=True)
        desk.store.put_official(row("a"))
        desk.store.set_pin("a", "482913")
    (tmp_path / name).write_bytes(b"\x00not it" * 200)

    def use() -> None:
        with Desk(tmp_path) as desk:
            desk.store.pin("a")
            desk.keys()
            desk.config()

    with pytest.raises(DeskUnusable) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_full_disk_gives_one_line_and_keeps_what_was_there(desk: Desk) -> None:
    desk.store.put_official(row("a"))
    pages = desk.store.db.execute("PRAGMA page_count").fetchone()[0]
    desk.store.db.execute(f"PRAGMA max_page_count={pages}")

    def fill_up() -> None:
        for n in range(200):
            desk.store.put_official(row(f"x{n}", "杏树村" * 10))

    with pytest.raises(DeskUnusable, match="full"):
        fill_up()
    kept = len(desk.store.officials())
    desk.store.db.execute("PRAGMA max_page_count=100000")
    desk.store.put_official(row("later"))
    assert len(desk.store.officials()) == kept + 1


def test_an_unpaired_desk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotPaired, match="quxiang-enroll pair"):
        load_config(tmp_path)


actions = st.lists(
    st.tuples(st.sampled_from(["face", "pin", "withdraw", "reopen"]), st.sampled_from("abc")),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(actions)
def test_any_history_leaves_what_was_said_last(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("desk")
    desk = Desk(folder)
    faces: dict[str, float] = {}
    pins: dict[str, str] = {}
    for n, (what, who) in enumerate(history):
        desk.store.put_official(row(who))
        if what == "face":
            desk.store.set_face(who, np.full((1, 4), n, np.float32), "m")
            faces[who] = n
        elif what == "pin":
            pins[who] = f"{n:06}"
            desk.store.set_pin(who, pins[who])
        elif what == "withdraw":
            withdraw_consent(desk, who)
            faces.pop(who, None)
        else:
            desk.close()
            desk = Desk(folder)
    with desk:
        assert {f.official: float(f.templates[0, 0]) for f in desk.store.faces()} == faces
        kept = {who: desk.store.pin(who) for who in "abc"}
        assert {who: pin.digits for who, pin in kept.items() if pin} == pins
