"""The desk's machine died without a copy: another takes its place, by a person at each kiosk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from attendance import wire
from attendance.records import decode_record
from attendance.signing import DeviceKeys, fingerprint, key_mark, read_mark, to_text
from attendance.statuses import Kind
from enroll.desk import Desk
from enroll.export import export
from enroll.pairing import pair as pair_desk
from enroll.report import list_lines
from kiosk.cli import main as kiosk_command
from kiosk.config import load_config
from kiosk.desks import take_desk
from kiosk.errors import DeskRefused
from kiosk.site import Site
from server.services.paired.devices import revoke
from tests.attacks.test_lying_server import both, cursor_with, faces
from tests.attacks.town import CLOCK, Town, exchange


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()


def another_desk(town: Town) -> str:
    """A new machine is paired; the mark that it shows."""
    with town.context.database.transaction() as session:
        revoke(session, town.desk.config().device, datetime.now(UTC))
    town.desk.close()
    town.desk = Desk(town.folder / "desk2", lambda: datetime.now(UTC))
    pair_desk(town.desk.data, town.url, town.code("desk"))
    shown = list_lines(town.desk)[0]
    mark = key_mark(town.desk.keys().sign_public)
    assert shown.endswith(mark)
    return mark


def told(site: Site) -> list[str]:
    with site.store._read() as db:
        rows = db.execute("SELECT payload FROM records ORDER BY seq").fetchall()
    found = [decode_record(row[0]) for row in rows]
    return [r.detail or "" for r in found if r.kind is Kind.FAULT]


def test_a_new_desk_takes_the_place_of_one_that_died(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    site = town.kiosk("石桥村")
    town.enrol("plum", "石桥村")
    town.sync()
    before = exchange(site).gallery_version
    running = site.client(CLOCK)  # of the kiosk that goes on running meanwhile
    assert not running.exchange().desk_changed
    mark = another_desk(town)
    town.enrol("apricot", "石桥村")
    town.sync()
    report = running.exchange()
    assert report.desk_changed
    assert (report.gallery_version, faces(site)) == (before, ["plum"]), "the old one stays"

    assert kiosk_command(["desk", mark.lower().replace("-", " "), "--data", str(site.folder)]) == 0
    said = capsys.readouterr().out
    assert mark in said
    assert "1 people" in said
    report = running.exchange()
    assert (report.desk_changed, report.gallery_fault) == (False, None), "without a restart"
    assert report.gallery_version > before
    assert faces(site) == ["apricot"]
    assert told(site) == [f"another enrolment desk is taken from now on: {mark}"]
    assert kiosk_command(["desk", mark, "--data", str(site.folder)]) == 0
    assert len(told(site)) == 1, "it was taken already"
    running._repin("ab" * 32)  # a renewed certificate brings no old desk back
    assert load_config(site.folder).desk_key == to_text(town.desk.keys().sign_public)
    running.close()


def test_until_its_first_gallery_comes_the_one_before_stays(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    site = town.kiosk("石桥村")
    town.enrol("plum", "石桥村")
    town.sync()
    exchange(site)
    mark = another_desk(town)
    done = town.sync()
    assert done.sealed == []
    (problem,) = done.problems
    assert "import everybody first" in both(problem)[1]
    assert kiosk_command(["desk", mark, "--data", str(site.folder)]) == 0
    assert "the one before stays in force" in capsys.readouterr().out
    assert faces(site) == ["plum"], "nobody is enrolled there yet"
    town.enrol("apricot", "石桥村")
    assert len(town.sync().sealed) == 1
    exchange(site)
    with Site(site.folder) as again:
        assert exchange(again).gallery_fault is None
        assert faces(again) == ["apricot"]


def test_a_stick_brings_the_new_desks_key_where_there_is_no_network(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = town.kiosk("石桥村")
    town.enrol("plum", "石桥村")
    town.sync()
    exchange(site)
    mark = another_desk(town)
    town.enrol("apricot", "石桥村")
    town.sync()
    usb = tmp_path / "usb.json"
    export(town.desk, usb)
    town.liar.lies = {wire.CURSOR: lambda _: b"{}"}  # no server is asked
    data = ["--data", str(site.folder)]
    assert kiosk_command(["import", str(usb), *data]) == 1
    assert "not from our enrolment desk" in capsys.readouterr().err
    assert kiosk_command(["desk", mark, str(usb), *data]) == 0
    assert kiosk_command(["import", str(usb), *data]) == 0
    assert faces(site) == ["apricot"]
    file = msgspec.json.decode(usb.read_bytes())
    del file["desk_key"]  # of a desk of before
    usb.write_bytes(msgspec.json.encode(file))
    assert kiosk_command(["desk", mark, str(usb), *data]) == 1
    assert "export its file anew" in capsys.readouterr().err
    assert kiosk_command(["import", str(usb), *data]) == 1, "the same one again"


def test_a_lying_server_replaces_no_desk(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    site = town.kiosk("石桥村")
    town.enrol("plum", "石桥村")
    town.sync()
    exchange(site)
    pinned = load_config(site.folder).desk_key
    mark = another_desk(town)
    liar = DeviceKeys.generate()
    town.liar.lies = {wire.CURSOR: cursor_with(desk_key=to_text(liar.sign_public))}
    data = ["--data", str(site.folder)]
    report = exchange(site)
    assert report.desk_changed
    # Whoever types the true mark gets no other key, and is shown none to type instead.
    assert kiosk_command(["desk", mark, *data]) == 1
    said = capsys.readouterr()
    assert "tampered with" in said.err
    for shown in (key_mark(liar.sign_public), fingerprint(liar.sign_public)):
        assert shown not in said.err + said.out
    # Eight characters could be had by trying keys; and no others are guessed.
    for short in (mark[:9], mark[:-1], "", mark + "0", "\u0660" * 16):
        with pytest.raises(DeskRefused, match="sixteen letters and digits") as caught:
            take_desk(site, short, to_text(liar.sign_public), CLOCK.read())
        both(caught.value)
    for odd in ("", "x", to_text(b"short")):
        with pytest.raises(DeskRefused, match="does not have that fingerprint"):
            take_desk(site, mark, odd, CLOCK.read())
    with pytest.raises(DeskRefused, match="no desk's key"):
        take_desk(site, mark, None, CLOCK.read())
    assert load_config(site.folder).desk_key == pinned
    assert told(site) == []
    assert faces(site) == ["plum"]


def test_a_mark_is_read_as_people_write_it() -> None:
    mark = key_mark(bytes(32))
    assert mark.replace("-", "").startswith(fingerprint(bytes(32)))
    assert read_mark(mark.lower().replace("0", "o").replace("1", "l").replace("-", "  ")) == mark
