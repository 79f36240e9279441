"""A desk put back to an older copy: what the server still knows of who withdrew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest

from attendance import wire
from attendance.days import day_of
from enroll.desk import Desk
from enroll.enrol import grant_consent
from enroll.errors import ConsentMissing
from enroll.export import UsbFile, export
from enroll.report import sync_lines
from enroll.withdraw import withdraw_consent
from tests.enroll.test_sync import add, sync

Synthetic = Callable[[int], np.ndarray]


def copied(desk: Desk, clock, to: Path) -> Desk:
    desk.close()
    shutil.copytree(desk.data, to)
    return Desk(desk.data, clock)


def add_again(desk: Desk, official: str, signed: date) -> None:
    grant_consent(desk.store, official, signed, desk.now_ms())


def test_a_desk_put_back_to_a_copy_does_withdrawals_again_before_it_seals(
    paired: Desk, township, clock, tmp_path: Path, synthetic: Synthetic
) -> None:
    village, office = township.add_kiosk("杏树村"), township.add_kiosk("镇政府")
    for n, who in enumerate("abc"):
        add(paired, who, synthetic(n), *(["杏树村"] if who != "c" else []))
    sync(paired)
    for kiosk in (village, office):
        township.pull(kiosk)
    now = copied(paired, clock, tmp_path / "copy")
    clock.forward(days=3)
    for who in "ac":
        withdraw_consent(now, who)
    sync(now)
    for kiosk in (village, office):
        township.pull(kiosk)
    sync(now)
    assert now.ledger.owed() == []
    now.close()

    clock.forward(days=1)
    with Desk(tmp_path / "copy", clock) as back:
        back.store.set_portrait("a", b"\xff\xd8jpeg")  # it was on its way as the copy was made
        assert back.store.face("a") is not None
        done = sync(back)
        gone = date(2026, 11, 24)
        assert [(who, day_of(at_ms)) for who, at_ms in done.followed] == [("a", gone), ("c", gone)]
        assert any("a withdrew consent on 2026-11-24" in line for line in sync_lines(done)[0])
        assert (done.withdrawals, done.portraits, township.portraits) == ([], [], {})
        assert [back.store.face(who) is None for who in "abc"] == [True, False, True]
        for kiosk in (village, office):
            asked = township.pull(kiosk).tombstones
            assert asked == (["a", "c"] if kiosk is office else ["a"])
            assert [p.official for p in kiosk.contents.people if p.templates] == ["b"]
            assert kiosk.person("a").pin is not None, "PIN check-in goes on"
            for who in asked:
                township.confirm(kiosk, who, kiosk.version)
        again = sync(back)
        assert (again.followed, again.withdrawals, again.owed) == ([], [], [])
        with pytest.raises(ConsentMissing, match="2026-11-24"):
            add_again(back, "a", date(2026, 11, 23))
        add_again(back, "a", date(2026, 11, 25))
        assert sync(back).followed == []


def test_a_stick_of_a_desk_that_came_back_is_above_what_went_by_stick_before(
    paired: Desk, township, clock, tmp_path: Path, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("杏树村")
    add(paired, "a", synthetic(1), "杏树村")
    sync(paired)
    township.pull(kiosk)

    def carry(desk: Desk, *, above: int = 0) -> wire.Manifest:
        export(desk, tmp_path / "usb.json", above=above)
        file = msgspec.json.decode((tmp_path / "usb.json").read_bytes(), type=UsbFile)
        return kiosk.open(file.packages[kiosk.device], township.desk_key)

    now = copied(paired, clock, tmp_path / "copy")
    for n in range(4):  # the server never hears of these
        clock.forward(minutes=7)
        add(now, f"n-{n}", synthetic(n + 2), "杏树村")
        carry(now)
    now.close()
    clock.forward(minutes=30)
    with Desk(tmp_path / "copy", clock) as back:
        withdraw_consent(back, "a")
        assert carry(back).tombstones == ["a"], "the very first one is newer"
        clock.forward(days=-400)  # its battery is empty
        kiosk.version += 50
        with pytest.raises(AssertionError, match="rolled back"):
            carry(back)
        told = kiosk.version
        assert carry(back, above=told).version == told + 1


def test_the_command_takes_the_number_that_a_kiosk_says(
    paired: Desk, township, tmp_path: Path, synthetic: Synthetic, command
) -> None:
    kiosk = township.add_kiosk("杏树村")
    sync(paired)
    usb = tmp_path / "usb.json"
    for wrong in ("x", "-1", str(2**63)):
        done = command("export", usb, f"--above={wrong}", "--data", paired.data)
        assert done.returncode == 2
        assert "no gallery version" in done.stderr
    above = kiosk.version + (1 << 39)
    done = command("export", usb, "--above", above, "--data", paired.data)
    assert done.returncode == 0, done.stderr
    packages = msgspec.json.decode(usb.read_bytes(), type=UsbFile).packages
    assert kiosk.open(packages[kiosk.device], township.desk_key).version == above + 1


def test_who_consented_after_the_withdrawal_is_left_alone(
    paired: Desk, township, clock, synthetic: Synthetic
) -> None:
    township.add_kiosk("镇政府")
    for n, who in enumerate("abcd"):
        add(paired, who, synthetic(n))  # signed on the 21st, noted then
    noted_ms = paired.now_ms()
    township.withdrawn = [
        wire.Withdrawn(official="a", at_ms=noted_ms - 1),  # the same day, a moment before
        wire.Withdrawn(official="b", at_ms=noted_ms - 86_400_000),
        wire.Withdrawn(official="c", at_ms=noted_ms),
        wire.Withdrawn(official="stranger", at_ms=noted_ms),
        wire.Withdrawn(official="b", at_ms=1 << 70),
    ]
    assert [who for who, _ in sync(paired).followed] == ["c"]
    assert [paired.store.face(who) is None for who in "abcd"] == [False, False, True, False]
    # Of an old list that is imported into a new desk: noted after it, signed before it.
    township.withdrawn.append(wire.Withdrawn(official="d", at_ms=noted_ms - 1))
    assert sync(paired).followed == []
    paired.store.end_consent("d", "face", noted_ms)
    paired.store.add_consent("d", "face", date(2026, 11, 1), noted_ms)
    assert [who for who, _ in sync(paired).followed] == ["d"]


def test_a_moment_that_is_still_to_come_bars_no_new_consent(
    paired: Desk, township, clock, synthetic: Synthetic
) -> None:
    add(paired, "a", synthetic(1))
    far = paired.now_ms() + 10 * 365 * 86_400_000
    township.withdrawn = [wire.Withdrawn(official="a", at_ms=far)]
    assert sync(paired).followed == [("a", far)]
    clock.forward(days=1)
    add_again(paired, "a", date(2026, 11, 22))
    assert sync(paired).followed == []


def test_a_portrait_consented_to_earlier_goes_also_where_the_face_may_stay(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    paired.store.add_consent("a", "portrait", date(2026, 11, 1), paired.now_ms())
    paired.store.set_portrait("a", b"\xff\xd8jpeg")
    township.withdrawn = [wire.Withdrawn(official="a", at_ms=paired.now_ms() - 1)]
    assert len(sync(paired).followed) == 1
    assert township.portraits == {}
    assert township.pull(kiosk).tombstones == []
    assert kiosk.person("a").templates != b""
