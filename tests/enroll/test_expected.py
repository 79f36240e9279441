"""Whom the server expects at a village is sealed to its kiosk, and nobody else for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from attendance.signing import DeviceKeys, to_text
from attendance.statuses import SiteKind
from enroll.desk import Desk
from enroll.errors import ServerRefused
from enroll.export import UsbFile, export
from enroll.withdraw import withdraw_consent

from .conftest import Clock, FakeKiosk, FakeTownship
from .test_sync import add, sync

Synthetic = Callable[[int], np.ndarray]


@pytest.fixture
def villages(paired: Desk, township: FakeTownship, synthetic: Synthetic) -> list[FakeKiosk]:
    """杏树村, where a and b are expected, and 桃花村, where nobody is; both hold their gallery."""
    township.sites["桃花村"] = SiteKind.VILLAGE
    kiosks = [township.add_kiosk("杏树村"), township.add_kiosk("桃花村")]
    for n, who in enumerate("ab"):
        add(paired, who, synthetic(n), "杏树村")
    sync(paired)
    for kiosk in kiosks:
        township.pull(kiosk)
    assert [kiosk.people() for kiosk in kiosks] == [["a", "b"], []]
    return kiosks


def sealed(desk: Desk) -> list[str]:
    """The sites for which a round sealed anew."""
    done = sync(desk)
    assert (done.problems, done.refused) == ([], {})
    return [each.kiosk.site for each in done.sealed]


def test_who_is_sent_to_a_village_is_sealed_there_until_they_are_no_longer_expected(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk], synthetic: Synthetic
) -> None:
    apricot, peach = villages
    township.sent = {("a", "桃花村")}
    assert sealed(paired) == ["桃花村"]
    township.pull(peach)
    assert peach.people() == ["a"]
    assert peach.person("a").templates == synthetic(0).astype("<f4").tobytes()
    assert peach.person("a").pin is not None
    assert sealed(paired) == [], "nothing changed"
    township.sent = set()
    assert sealed(paired) == ["桃花村"]
    assert township.pull(peach).tombstones == [], "nobody withdrew"
    assert peach.people() == []
    assert paired.ledger.owed() == []
    assert sealed(paired) == []
    # A kiosk that held the face is asked to erase it when they do: it may not have heard yet.
    withdraw_consent(paired, "a")
    sync(paired)
    assert township.pull(peach).tombstones == ["a"]
    assert township.pull(apricot).tombstones == ["a"]


def test_a_guest_stands_behind_the_villages_own_people(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk]
) -> None:
    add(paired, "b", None, "桃花村")
    township.sent = {("a", "桃花村")}
    sync(paired)
    township.pull(villages[1])
    assert villages[1].people() == ["b", "a"], "no lamp changes its place"


def test_who_is_taken_off_a_site_at_the_desk_is_gone_from_it_in_the_same_round(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk]
) -> None:
    add(paired, "a", None, "桃花村")
    assert sealed(paired) == ["杏树村", "桃花村"]
    assert [township.pull(kiosk).people for kiosk in villages] == [1, 1]
    assert [kiosk.people() for kiosk in villages] == [["b"], ["a"]]
    assert sealed(paired) == []


def test_a_server_of_before_changes_nothing(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk]
) -> None:
    kept = paired.store.expected()
    assert kept == {"a": ["杏树村"], "b": ["杏树村"]}
    township.sent = None
    assert sealed(paired) == []
    assert paired.store.expected() == kept
    township.sent = {("a", "桃花村")}
    assert sealed(paired) == ["桃花村"]
    township.sent = None
    assert sealed(paired) == []


def test_a_server_that_never_told_takes_nobody_from_where_the_desk_has_them(
    paired: Desk, township: FakeTownship, synthetic: Synthetic
) -> None:
    township.sent = None
    kiosk = township.add_kiosk("杏树村")
    add(paired, "a", synthetic(1), "杏树村")
    add(paired, "b", synthetic(2))
    assert sealed(paired) == ["杏树村"]
    township.pull(kiosk)
    assert (kiosk.people(), paired.store.expected()) == (["a"], {})


def test_a_server_that_is_busy_ends_the_round_and_what_it_told_stays(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk]
) -> None:
    township.sent = {("a", "桃花村")}
    sync(paired)
    township.answer_503 = True
    client = paired.client()
    with pytest.raises(ServerRefused, match="busy"):
        client.expected()
    client.close()
    with pytest.raises(ServerRefused):
        sync(paired)
    assert paired.store.expected()["a"] == ["杏树村", "桃花村"]


def test_the_stick_has_whom_the_server_expected_when_it_last_told(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk], tmp_path: Path, clock: Clock
) -> None:
    peach = villages[1]
    township.sent = {("b", "桃花村")}
    sync(paired)
    township.down()
    clock.forward(days=2)
    usb = tmp_path / "usb.json"
    export(paired, usb)
    packages = msgspec.json.decode(usb.read_bytes(), type=UsbFile).packages
    peach.open(packages[peach.device], township.desk_key)
    assert peach.people() == ["b"]
    assert peach.person("b").pin is not None


def test_a_lying_server_gets_nobody_sealed_who_is_not_enrolled_nor_to_a_key_that_is_not_pinned(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk], synthetic: Synthetic
) -> None:
    peach = villages[1]
    withdraw_consent(paired, "b")
    add(paired, "c", synthetic(3), "火星")
    # Also one whose row it refused, ids that nobody has, and a site without a kiosk.
    township.sent = {
        (who, site) for who in ("a", "b", "c", "nobody", "") for site in (*township.sites, "月亮")
    }
    spy = DeviceKeys.generate()
    row = township.rows[peach.device]
    township.rows[peach.device] = msgspec.structs.replace(row, box_key=to_text(spy.box_public))
    done = sync(paired)
    assert done.refused == {"c": "unknown_site: 火星"}
    assert len(done.changed) == 1
    assert peach.device not in township.galleries
    township.rows[peach.device] = row
    sync(paired)
    township.pull(peach)
    assert peach.people() == ["a", "b"], "b by PIN"
    assert peach.person("b").templates == b""
    assert peach.person("a").templates != b""


def test_who_leaves_and_another_server_take_what_was_told_along(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk]
) -> None:
    township.sent = {("a", "桃花村")}
    sync(paired)
    withdraw_consent(paired, "a", leaving=True)
    assert paired.store.expected() == {"b": ["杏树村"]}
    paired.store.forget_server()
    assert paired.store.expected() == {}


def test_the_list_says_who_is_known_to_a_village_since_the_server_expects_them(
    paired: Desk, township: FakeTownship, villages: list[FakeKiosk], command
) -> None:
    township.sent = {("a", "桃花村"), ("b", "杏树村"), ("c", "桃花村")}
    add(paired, "c", None, "火星")
    sync(paired)
    for lang, more in (
        ("zh", "，杏树村，服务器排班另有 桃花村"),
        ("en", ", 杏树村, 桃花村 by the server's roster"),
    ):
        done = command("list", "--data", paired.data, lang=lang)
        said = {line.split()[0]: line for line in done.stdout.splitlines()}
        assert said["a"].endswith(more)
        assert said["b"].endswith("杏树村"), "the desk's own row names it"
        assert "桃花村" not in said["c"], "refused by the server: sealed nowhere"
