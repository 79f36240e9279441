"""Cards and badges from the desk to the kiosk: enrolled, printed, taken back, re-issued."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from attendance import wire
from attendance.tokens import is_badge
from enroll.badges import make_badge, read_card, revoke
from enroll.desk import Desk
from enroll.errors import CardInvalid, OfficialUnknown, TokenMissing, TokenTaken
from enroll.folder import BadRow, Row, parse_officials
from enroll.sync import sync_once
from enroll.withdraw import withdraw_consent
from kiosk.badges import read_badge
from kiosk.people import People

HEADER = "official,name,title,phone,work_group,sites,consented_on,pin"


@pytest.fixture
def two(paired: Desk) -> Desk:
    for who in ("a", "b"):
        row = wire.RosterRow(
            official=who, name=f"姓名{who}", title="", phone="", work_group="", sites=["杏树村"]
        )
        paired.store.put_official(row)
        paired.store.set_pin(who, "482913")
    return paired


def sync(desk: Desk) -> None:
    client = desk.client()
    try:
        sync_once(desk, client)
    finally:
        client.close()


def holder(kiosk, kind: str, token: str) -> str | None:
    person = People(kiosk.contents).owner(kind, token)
    return person.official if person else None


def test_a_card_reaches_each_kiosk_under_its_own_key_and_never_in_the_clear(
    two: Desk, township
) -> None:
    kiosks = [township.add_kiosk("杏树村"), township.add_kiosk("镇政府")]
    assert read_card(two, "a", io.StringIO("0012345678\n"))
    assert not read_card(two, "a", io.StringIO("12345678\n"))
    sync(two)
    for kiosk in kiosks:
        township.pull(kiosk)
        assert holder(kiosk, "card", "12345678") == "a"
        assert holder(kiosk, "card", "12345679") is None
        assert holder(kiosk, "badge", "12345678") is None
        assert b"12345678" not in wire.encode_contents(kiosk.contents)
    assert kiosks[0].person("a").card != kiosks[1].person("a").card
    assert b"12345678" not in (two.data / "desk.db").read_bytes()


def test_a_lost_card_is_void_after_the_next_sync_and_may_be_given_to_another(
    two: Desk, township
) -> None:
    kiosk = township.add_kiosk("杏树村")
    read_card(two, "a", io.StringIO("12345678"))
    with pytest.raises(TokenTaken):
        read_card(two, "b", io.StringIO("12345678"))
    sync(two)
    township.pull(kiosk)
    revoke(two, "a", "card")
    sync(two)
    township.pull(kiosk)
    assert holder(kiosk, "card", "12345678") is None
    read_card(two, "b", io.StringIO("12345678"))
    sync(two)
    township.pull(kiosk)
    assert holder(kiosk, "card", "12345678") == "b"
    with pytest.raises(TokenMissing):
        revoke(two, "a", "card")


def test_a_badge_is_printed_read_by_the_camera_and_voided_by_the_next(
    two: Desk, township, tmp_path: Path
) -> None:
    kiosk = township.add_kiosk("杏树村")
    codes = []
    for name in ("one.png", "two.png"):
        make_badge(two, "a", tmp_path / name)
        sync(two)
        township.pull(kiosk)
        drawn = cv2.imread(str(tmp_path / name))
        scene = np.full((720, 1280, 3), 140, np.uint8)
        side = 200
        scene[200 : 200 + side, 500 : 500 + side] = cv2.resize(drawn, (side, side))
        codes.append(read_badge(scene))
        assert is_badge(codes[-1] or "")
        assert holder(kiosk, "badge", codes[-1] or "") == "a"
    assert codes[0] != codes[1]
    assert holder(kiosk, "badge", codes[0] or "") is None
    assert (tmp_path / "one.png").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_badges_come_in_three_formats(two: Desk, tmp_path: Path, suffix: str) -> None:
    make_badge(two, "a", tmp_path / f"badge.{suffix}")
    head = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert (tmp_path / f"badge.{suffix}").read_bytes().startswith(head)


def test_what_cannot_be_is_told_and_changes_nothing(two: Desk, tmp_path: Path) -> None:
    make_badge(two, "a", tmp_path / "badge.png")
    before = two.store.token("a", "badge")
    with pytest.raises(CardInvalid):
        make_badge(two, "a", tmp_path / "badge.docx")
    with pytest.raises(OSError, match="badge"):
        make_badge(two, "a", tmp_path / "nowhere" / "badge.png")
    assert two.store.token("a", "badge") == before
    with pytest.raises(CardInvalid):
        read_card(two, "a", io.StringIO("\n"))
    with pytest.raises(OfficialUnknown):
        read_card(two, "z", io.StringIO("12345678"))


def test_a_withdrawal_keeps_the_card_and_leaving_takes_it(two: Desk) -> None:
    read_card(two, "a", io.StringIO("12345678"))
    withdraw_consent(two, "a")
    assert two.store.token("a", "card") is not None
    withdraw_consent(two, "a", leaving=True)
    assert two.store.token("a", "card") is None


def test_the_column_card_is_optional_and_checked(clock: Callable[[], object]) -> None:
    from datetime import date

    today = date(2026, 11, 21)
    (plain,) = parse_officials(f"{HEADER}\na,王芳,,,,,,482913\n", today, None)
    assert isinstance(plain, Row)
    assert plain.card is None
    text = f"{HEADER},card\na,王芳,,,,,,482913,0012345678\nb,李四,,,,,,482913,12\n"
    good, bad = parse_officials(text, today, None)
    assert isinstance(good, Row)
    assert good.card == "12345678"
    assert isinstance(bad, BadRow)
    assert "card number" in bad.faults[0].en


#: What takes a desk's file back to the version before.
BACK = {
    5: "DROP TABLE expected",
    4: "DROP TABLE reenrolments",
    3: "DROP TABLE proposals",
    2: "ALTER TABLE receipts DROP COLUMN version; ALTER TABLE receipts DROP COLUMN signature",
    1: "DROP TABLE token_marks",
}


@pytest.mark.parametrize("version", BACK)
def test_a_desk_of_a_release_before_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    with Desk(tmp_path) as desk:
        desk.store.put_official(
            wire.RosterRow(official="a", name="甲", title="", phone="", work_group="", sites=[])
        )
    db = sqlite3.connect(tmp_path / "desk.db")
    wanted = db.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    for number in range(max(BACK), version - 1, -1):
        db.executescript(BACK[number])
    db.execute(f"PRAGMA user_version={version}")
    db.close()
    for _ in range(2):
        with Desk(tmp_path) as desk:
            assert desk.store.official("a") is not None
            assert desk.store.rows("SELECT name FROM sqlite_master ORDER BY name") == wanted
            assert desk.store.rows("SELECT version, signature FROM receipts") == []
            assert desk.store.expected() == {}


def test_the_commands(command, township, tmp_path: Path) -> None:
    def desk(*words: object, **more: str):
        return command(*words, "--data", tmp_path / "desk", **more)

    assert desk("pair", "--server", township.url, "--code", township.make_code()).returncode == 0
    people = tmp_path / "people"
    people.mkdir()
    text = f"{HEADER},card\na,王芳,,,,,,482913,0012345678\nb,李四,,,,,,482913,12345678\n"
    (people / "officials.csv").write_text(text, "utf-8")
    told = desk("import", str(people))
    assert "this card is a's" in told.stdout
    assert desk("card", "b", "--number-stdin", text="87654321\n").returncode == 0
    assert ", card" in desk("list").stdout
    made = desk("badge", "a", str(tmp_path / "badge.pdf"))
    assert (made.returncode, made.stdout.count("a: the badge is in")) == (0, 1)
    assert desk("card", "a", "--revoke").returncode == 0
    again = desk("card", "a", "--revoke")
    assert (again.returncode, again.stderr.strip()) == (1, "a has no card")
    assert desk("card", "a").returncode == 2
