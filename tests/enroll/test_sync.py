"""Between desk, server and kiosks: sealed, signed, pinned, withdrawn, confirmed."""

from __future__ import annotations

import hashlib
import hmac
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from attendance import wire
from attendance.errors import SignatureInvalid
from attendance.reenrol import Reenrolment
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import SiteKind
from enroll.desk import Desk
from enroll.enrol import grant_consent
from enroll.errors import (
    EnrollError,
    KioskOdd,
    ReceiptForged,
    ServerForeign,
    ServerRefused,
    ServerUnreachable,
)
from enroll.export import UsbFile, export
from enroll.reenrol import Reenrolments
from enroll.report import list_lines
from enroll.sync import SyncOutcome, sync_once
from enroll.watch import LONGEST_S, pause_s, watch
from enroll.withdraw import withdraw_consent

Synthetic = Callable[[int], np.ndarray]


def add(desk: Desk, official: str, templates: np.ndarray | None, *sites: str) -> None:
    desk.store.put_official(
        wire.RosterRow(
            official=official,
            name=f"姓名{official}",
            title="干部",
            phone="",
            work_group="一组",
            sites=list(sites),
        )
    )
    desk.store.set_pin(official, "482913")
    if templates is not None:
        grant_consent(desk.store, official, date(2026, 11, 21), desk.now_ms(), renewed=True)
        with desk.store.transaction():
            desk.store.set_face(official, templates, "sface-1")
        for key, value in (("model", "sface-1"), ("engine", "sface"), ("dimension", "128")):
            desk.store.set_meta(key, value)


def sync(desk: Desk, accept: frozenset[str] = frozenset()) -> SyncOutcome:
    client = desk.client()
    try:
        return sync_once(desk, client, accept=accept)
    finally:
        client.close()


# -- sealing ----------------------------------------------------------------------------------


def test_each_kiosk_gets_whom_it_expects_and_nobody_else_can_read_it(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    village, office = township.add_kiosk("杏树村"), township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1), "杏树村")
    add(paired, "b", synthetic(2), "镇政府")
    add(paired, "c", None)
    done = sync(paired)
    assert [kiosk.device for kiosk in done.pinned] == [village.device, office.device]
    assert sorted(township.roster) == ["a", "b", "c"]
    village.open(township.galleries[village.device], township.desk_key)
    office.open(township.galleries[office.device], township.desk_key)
    assert (village.people(), office.people()) == (["a"], ["a", "b", "c"])
    person = village.person("a")
    assert person.templates == synthetic(1).astype("<f4").tobytes()
    assert village.contents.dimension == 128
    assert village.contents.model == "sface-1"
    assert office.person("c").templates == b""
    with pytest.raises(SignatureInvalid):
        office.keys.open(village_bytes(township, village))
    for body in township.bodies:
        assert synthetic(1)[0].tobytes() not in body
        assert b"482913" not in body


def village_bytes(township, kiosk) -> bytes:
    from attendance.signing import from_text

    return from_text(township.galleries[kiosk.device].sealed)


def test_the_pin_is_hashed_for_each_kiosk_apart(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosks = [township.add_kiosk("杏树村"), township.add_kiosk("镇政府")]
    add(paired, "a", synthetic(1), "杏树村")
    sync(paired)
    seen = []
    for kiosk in kiosks:
        township.pull(kiosk)
        phc, key = kiosk.person("a").pin, kiosk.contents.pin_key
        assert phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert len(key) == 32
        PasswordHasher().verify(phc, hmac.digest(key, b"482913", hashlib.sha256))
        with pytest.raises(VerifyMismatchError):
            PasswordHasher().verify(phc, hmac.digest(key, b"482914", hashlib.sha256))
        seen.append((phc, key))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_only_what_changed_is_sealed_again(
    paired: Desk, township, clock, synthetic: Synthetic
) -> None:
    village, office = township.add_kiosk("杏树村"), township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1), "杏树村")
    add(paired, "b", synthetic(2))
    sync(paired)
    township.pull(village)
    first = village.person("a").pin
    assert sync(paired).sealed == []
    clock.forward(days=29)
    paired.store.set_pin("b", "739104")
    assert [s.kiosk.device for s in sync(paired).sealed] == [office.device]
    clock.forward(days=2)
    assert [s.kiosk.device for s in sync(paired).sealed] == [village.device], "30 days are over"
    manifest = township.pull(village)
    assert manifest.expires_ms - paired.now_ms() == 90 * 86_400_000
    assert village.person("a").pin == first, "hashes are kept, not computed anew"


def test_a_server_restored_from_a_backup_and_a_desk_restored_go_on_rising(
    paired: Desk, township, clock, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("杏树村")
    add(paired, "a", synthetic(1), "杏树村")
    sync(paired)
    township.pull(kiosk)
    device = kiosk.device
    township.rows[device] = msgspec.structs.replace(township.rows[device], gallery=0)
    first = kiosk.version
    assert 0 <= (paired.now_ms() - 1_577_836_800_000) / 1000 - first < 1, "seconds since 2020"
    sync(paired)
    assert township.pull(kiosk).version == first + 1
    clock.forward(seconds=-3600)
    ahead = first + 40
    township.rows[device] = msgspec.structs.replace(township.rows[device], gallery=ahead)
    sync(paired)
    assert township.pull(kiosk).version == ahead + 1
    clock.forward(days=40)
    sync(paired)
    assert township.pull(kiosk).version > first + 39 * 86_400


def test_people_of_an_older_model_are_sealed_without_their_face(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    paired.store.set_face("b", synthetic(2), "sface-2")
    add(paired, "b", None)
    done = sync(paired)
    assert done.outdated == ["b"]
    township.pull(kiosk)
    assert kiosk.person("b").templates == b""
    assert kiosk.person("b").pin is not None


def test_an_unknown_site_is_told_and_its_official_not_sealed(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1), "火星")
    add(paired, "b", synthetic(2), "杏树村")
    done = sync(paired)
    assert done.refused == {"a": "unknown_site: 火星"}
    township.pull(kiosk)
    assert kiosk.people() == ["b"]
    township.sites["火星"] = township.sites["杏树村"]
    assert sync(paired).refused == {}
    township.pull(kiosk)
    assert kiosk.people() == ["a", "b"]


def test_alike_people_need_a_second_factor(paired: Desk, township, synthetic: Synthetic) -> None:
    kiosk = township.add_kiosk("镇政府")
    for n, who in enumerate("abc"):
        add(paired, who, synthetic(n))
    paired.store.mark_alike("a", "b", 0.61)
    sync(paired)
    township.pull(kiosk)
    assert [kiosk.person(who).second_factor for who in "abc"] == [True, True, False]
    withdraw_consent(paired, "a")
    sync(paired)
    township.pull(kiosk)
    assert not kiosk.person("b").second_factor


# -- lies and failures ------------------------------------------------------------------------


def test_a_server_that_swaps_a_kiosks_key_is_noticed(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk, other = township.add_kiosk("镇政府"), township.add_kiosk("杏树村")
    add(paired, "a", synthetic(1), "杏树村")
    sync(paired)
    old = township.galleries[kiosk.device]
    spy = DeviceKeys.generate()
    row = township.rows[kiosk.device]
    township.rows[kiosk.device] = msgspec.structs.replace(row, box_key=to_text(spy.box_public))
    paired.store.set_pin("a", "739104")
    done = sync(paired)
    (refused,) = done.changed
    assert "--accept-key" in refused.words("en")
    assert "--accept-key" in refused.words("zh")
    assert "\n" not in str(refused)
    assert township.galleries[kiosk.device] is old, "nothing was sealed for the swapped key"
    assert [s.kiosk.device for s in done.sealed] == [other.device], "the others are served"
    from attendance.signing import fingerprint

    kiosk.keys = spy
    done = sync(paired, frozenset({fingerprint(spy.box_public)}))
    assert done.changed == []
    township.pull(kiosk)
    assert kiosk.people() == ["a"]


def test_a_server_that_turns_a_village_kiosk_into_the_offices_is_noticed(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("杏树村")
    add(paired, "a", synthetic(1))
    sync(paired)
    row = township.rows[kiosk.device]
    township.rows[kiosk.device] = msgspec.structs.replace(row, site_kind=township.sites["镇政府"])
    assert len(sync(paired).changed) == 1
    township.pull(kiosk)
    assert kiosk.people() == []


def test_an_answer_that_the_pinned_key_did_not_sign_is_refused(paired: Desk, township) -> None:
    township.signing_seed = DeviceKeys.generate().sign_seed
    with pytest.raises(ServerForeign, match="signature"):
        sync(paired)


def test_a_number_that_no_desk_gave_is_told_and_stops_nobody(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    liar, other = township.add_kiosk("杏树村"), township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1), "杏树村")
    sync(paired)
    given = township.rows[liar.device]
    for absurd in (2**63 - 1, 2**70, -1, (1 << 40) + 1):
        township.rows[liar.device] = msgspec.structs.replace(given, gallery=absurd)
        paired.store.set_pin("a", f"7391{absurd % 89 + 10}")
        done = sync(paired)
        (told,) = (p for p in done.problems if isinstance(p, KioskOdd))
        assert liar.device in told.words("zh")
        assert f"gallery version {absurd}" in told.words("en")
        assert other.device in [s.kiosk.device for s in done.sealed]
        assert [r.kiosk for r in sync(paired).sealed if r.kiosk.device == other.device] == []
    township.rows[liar.device] = given
    assert sync(paired).problems == []
    township.pull(liar)
    assert liar.version < 1 << 30, "nothing of that was believed"


def test_what_is_wrong_with_one_kiosk_keeps_no_gallery_from_the_next(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    odd, spoilt, cut, good = (township.add_kiosk("镇政府") for _ in range(4))
    nothing = to_text(bytes(32))  # a key for which no secret is to be had
    row = township.rows[odd.device]
    township.rows[odd.device] = msgspec.structs.replace(row, box_key=nothing)
    township.gallery_refusals = {spoilt.device: "fault", cut.device: None}
    add(paired, "a", synthetic(1))
    with pytest.raises(ServerUnreachable):
        sync(paired)
    township.pull(good)
    assert good.people() == ["a"]
    del township.gallery_refusals[cut.device]
    done = sync(paired)
    assert [s.kiosk.device for s in done.sealed] == [cut.device]
    sealing, refusal = done.problems
    assert odd.device in sealing.words("zh")
    assert f"{odd.device} (镇政府)" in sealing.words("en")
    assert isinstance(refusal, ServerRefused)
    township.gallery_refusals = {kiosk.device: None for kiosk in (spoilt, cut, good)}
    paired.store.set_pin("a", "739104")
    asked = len(township.history)
    with pytest.raises(ServerUnreachable):
        sync(paired)
    tries = [line for line in township.history[asked:] if line.startswith("PUT /desk/galleries")]
    assert len(tries) == 2, "a server that fails twice is left alone until the next round"
    township.gallery_refusals = {kiosk.device: "busy" for kiosk in (spoilt, cut, good)}
    asked = len(township.history)
    with pytest.raises(ServerRefused):
        sync(paired)
    tries = [line for line in township.history[asked:] if line.startswith("PUT /desk/galleries")]
    assert len(tries) == 1


def test_a_receipt_for_a_number_that_no_database_holds_is_not_taken(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    sync(paired)
    withdraw_consent(paired, "a")
    township.confirm(kiosk, "a", 2**63)
    done = sync(paired)
    assert [type(problem) for problem in done.problems] == [ReceiptForged]
    assert [s.kiosk.device for s in done.sealed] == [kiosk.device]


def test_a_watching_desk_goes_on_after_a_fault_that_nobody_foresaw(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = []

    def one_round() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OverflowError("too large")
        signal.raise_signal(signal.SIGTERM)

    assert watch(one_round, interval_s=0) == 0
    assert rounds == [0, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert "OverflowError: too large" in line


def test_a_server_that_is_down_loses_nothing(paired: Desk, township, synthetic: Synthetic) -> None:
    kiosk = township.add_kiosk("镇政府")
    township.down()
    add(paired, "a", synthetic(1))
    paired.store.set_portrait("a", b"\xff\xd8jpeg")
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        sync(paired)
    township.up()
    township.answer_503 = True
    with pytest.raises(ServerRefused) as caught:
        sync(paired)
    assert (caught.value.word, caught.value.retry_s) == ("busy", 7.0)
    township.answer_503 = False
    done = sync(paired)
    assert (done.roster, done.portraits) == (["a"], ["a"])
    assert township.portraits == {"a": b"\xff\xd8jpeg"}
    assert paired.store.portrait("a") is None
    township.pull(kiosk)
    assert kiosk.people() == ["a"]
    assert sync(paired).portraits == []


def test_waits_grow_with_jitter_and_obey_the_server() -> None:
    assert pause_s(0, 30, None, 0.9) == 30
    assert [pause_s(n, 30, None, 1.0) for n in (1, 2, 3)] == [60, 120, 240]
    assert pause_s(50, 30, None, 1.0) == LONGEST_S
    assert pause_s(1, 30, 100.0, 0.0) == 100
    assert pause_s(1, 30, 1e9, 0.0) == LONGEST_S


# -- withdrawal -------------------------------------------------------------------------------


def test_a_withdrawal_reaches_the_kiosk_and_its_receipt_returns(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    village, office = township.add_kiosk("杏树村"), township.add_kiosk("镇政府")
    for n, who in enumerate("ab"):
        add(paired, who, synthetic(n), "杏树村")
    paired.store.set_portrait("a", b"\xff\xd8jpeg")
    sync(paired)
    for kiosk in (village, office):
        assert township.pull(kiosk).tombstones == []
    township.down()
    done = withdraw_consent(paired, "a")
    assert {owed.site for owed in done.owed} == {"杏树村", "镇政府"}
    assert done.portrait
    with pytest.raises(ServerUnreachable):
        sync(paired)
    township.up()
    outcome = sync(paired)
    assert outcome.withdrawals == ["a"]
    assert township.withdrawals == ["a"]
    assert township.portraits == {}
    assert len(outcome.sealed) == 2
    assert len(outcome.owed) == 2
    assert township.pull(village).tombstones == ["a"]
    assert village.person("a").templates == b""
    assert village.person("a").pin is not None, "PIN check-in goes on"
    assert village.person("b").templates != b""
    outcome = sync(paired)
    assert [r.device for r in outcome.receipts] == [village.device]
    assert [o.device for o in outcome.owed] == [office.device]
    township.pull(office)
    outcome = sync(paired)
    assert outcome.owed == []
    assert outcome.sealed == [], "a receipt alone seals nothing anew"
    assert sync(paired).withdrawals == []


def test_who_consents_again_waits_for_the_first_receipt_and_the_second_erasure_has_its_own(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    sync(paired)
    township.pull(kiosk)
    withdraw_consent(paired, "a")
    add(paired, "a", synthetic(2))
    sync(paired)
    township.pull(kiosk)
    assert kiosk.person("a").templates == b""
    sync(paired)
    assert township.pull(kiosk).tombstones == []
    assert kiosk.person("a").templates == synthetic(2).astype("<f4").tobytes()
    withdraw_consent(paired, "a")
    outcome = sync(paired)
    assert outcome.receipts == []
    assert len(outcome.owed) == 1, "the receipt of the first withdrawal does not settle this one"
    assert sync(paired).receipts == []
    township.pull(kiosk)
    assert len(sync(paired).receipts) == 1
    assert paired.ledger.owed() == []


def test_a_revoked_kiosk_is_sealed_nothing_and_still_owes(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    sync(paired)
    township.rows[kiosk.device] = msgspec.structs.replace(township.rows[kiosk.device], revoked=True)
    withdraw_consent(paired, "a")
    outcome = sync(paired)
    assert outcome.sealed == []
    assert [owed.revoked for owed in outcome.owed] == [True]


def test_a_withdrawal_that_the_server_forgot_is_told_again(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    for n, who in enumerate("ab"):
        add(paired, who, synthetic(n))
        paired.store.set_portrait(who, b"\xff\xd8jpeg")
    sync(paired)
    for who in "ab":
        withdraw_consent(paired, who)
    assert sync(paired).withdrawals == ["a", "b"]
    # b consents to everything anew; a to nothing. Then the server is put back to an older backup.
    add(paired, "b", synthetic(2))
    for what in ("face", "portrait"):
        paired.store.add_consent("b", what, date(2026, 11, 29), paired.now_ms())
    paired.store.set_portrait("b", b"\xff\xd8new")
    sync(paired)
    told = list(township.withdrawn)
    township.portraits["a"] = b"\xff\xd8jpeg"
    township.withdrawn = None
    assert sync(paired).withdrawals == [], "a server that does not say what it knows"
    township.withdrawn = []
    outcome = sync(paired)
    assert outcome.withdrawals == ["a"]
    assert township.withdrawn == told[:1], "as it was told the first time"
    assert township.portraits == {"b": b"\xff\xd8new"}
    assert [s.kiosk.device for s in outcome.sealed] == [kiosk.device]
    assert sync(paired).withdrawals == []


def test_a_withdrawal_of_somebody_whom_the_server_never_heard_of_is_settled(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    add(paired, "a", synthetic(1), "无此村")
    withdraw_consent(paired, "a")
    for _ in range(2):
        outcome = sync(paired)
        assert (list(outcome.refused), outcome.withdrawals) == (["a"], [])
    assert township.withdrawals == []
    township.sites["无此村"] = SiteKind.VILLAGE
    assert sync(paired).withdrawals == ["a"], "it knows them now"
    assert sync(paired).withdrawals == []


def test_galleries_that_the_server_dropped_with_a_withdrawal_are_sealed_again(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", None)
    paired.store.add_consent("a", "portrait", date(2026, 11, 1), paired.now_ms())
    sync(paired)
    withdraw_consent(paired, "a")
    sync(paired)
    township.pull(kiosk)
    assert kiosk.people() == ["a"]


@pytest.mark.parametrize("way", ["sync", "export"])
def test_who_withdraws_while_pins_are_hashed_is_erased_in_that_very_gallery(
    paired: Desk, township, clock, tmp_path: Path, synthetic: Synthetic, way: str
) -> None:
    kiosk = township.add_kiosk("镇政府")
    for n, who in enumerate("abcd"):
        add(paired, who, synthetic(n))
    paired.store.add_consent("a", "proposals", date(2026, 11, 21), paired.now_ms())
    sync(paired)
    township.pull(kiosk)
    assert kiosk.person("a").propose
    paired.store.set_pin("c", "739104")  # so that something is to be hashed

    def meanwhile(done: int, total: int) -> None:
        with Desk(paired.data, clock) as other:  # in another terminal
            withdraw_consent(other, "a")
            add(other, "b", synthetic(9))
            withdraw_consent(other, "d", leaving=True)

    if way == "sync":
        client = paired.client()
        sync_once(paired, client, on_hash=meanwhile)
        client.close()
        made = township.galleries[kiosk.device]
    else:
        export(paired, tmp_path / "usb.json", on_hash=meanwhile)
        file = msgspec.json.decode((tmp_path / "usb.json").read_bytes(), type=UsbFile)
        made = file.packages[kiosk.device]
    manifest = kiosk.open(made, township.desk_key)
    assert manifest.tombstones == ["a", "d"]
    assert kiosk.people() == ["a", "b", "c"]
    assert (kiosk.person("a").templates, kiosk.person("a").propose) == (b"", False)
    assert kiosk.person("b").templates == synthetic(9).astype("<f4").tobytes(), "the new one"
    assert kiosk.person("c").templates == synthetic(2).astype("<f4").tobytes()
    for who in "ad":
        township.confirm(kiosk, who, manifest.version)
    assert len(sync(paired).receipts) == 2
    assert paired.ledger.owed() == []


def test_who_withdraws_and_consents_anew_is_asked_for_no_picture_before_the_receipt(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("镇政府")

    def consent() -> None:
        add(paired, "a", synthetic(1))
        paired.store.add_consent("a", "proposals", date(2026, 11, 21), paired.now_ms())

    consent()
    sync(paired)
    township.pull(kiosk)
    assert kiosk.person("a").propose
    withdraw_consent(paired, "a")
    consent()
    sync(paired)
    assert township.pull(kiosk).tombstones == ["a"]
    assert not kiosk.person("a").propose, "pictures from before are to go with the face"
    sync(paired)
    township.pull(kiosk)
    assert kiosk.person("a").propose


# -- the USB stick ----------------------------------------------------------------------------


def test_the_usb_file_serves_a_kiosk_without_network(
    paired: Desk, township, tmp_path: Path, synthetic: Synthetic
) -> None:
    with pytest.raises(EnrollError, match="no kiosk"):
        export(paired, tmp_path / "usb.json")
    kiosk = township.add_kiosk("镇政府")
    add(paired, "a", synthetic(1))
    sync(paired)
    township.down()
    withdraw_consent(paired, "a")
    add(paired, "b", synthetic(2))
    usb = tmp_path / "usb.json"
    export(paired, usb)
    body = usb.read_bytes()
    assert synthetic(2)[0].tobytes() not in body
    packages = msgspec.json.decode(body, type=UsbFile).packages
    manifest = kiosk.open(packages[kiosk.device], township.desk_key)
    assert manifest.tombstones == ["a"]
    assert kiosk.person("b").templates != b""
    township.up()
    assert len(sync(paired).sealed) == 1, "the stick may be lost: the server gets it too"
    assert township.pull(kiosk).version == manifest.version + 1


# -- enrolled again ---------------------------------------------------------------------------


def test_who_is_to_be_enrolled_again_is_listed_until_new_pictures_are_there(
    paired: Desk, township, synthetic: Synthetic
) -> None:
    kiosk = township.add_kiosk("杏树村")
    add(paired, "A1", synthetic(1), kiosk.site)
    add(paired, "A2", None, kiosk.site)
    ask = [
        Reenrolment(finding=7, official=who, day="2026-11-20", asked_ms=1)
        for who in ("A1", "A2", "B9")
    ]
    township.reenrolments = ask
    done = sync(paired)
    assert (done.reenrol, done.reenrolled) == (3, 1)
    assert [(t.official, t.face) for t in township.reenrolled] == [("A2", False)]
    said = "\n".join(list_lines(paired))
    assert "A1 姓名A1" in said
    assert "2026-11-20" in said
    assert "B9" in said, "another desk may have them: it stays until somebody answers"
    assert (sync(paired).reenrol, sync(paired).reenrolled) == (0, 0)

    add(paired, "A1", synthetic(2), kiosk.site)
    done = sync(paired)
    assert (done.reenrol, done.reenrolled) == (0, 1)
    assert (township.reenrolled[-1].official, township.reenrolled[-1].face) == ("A1", True)
    assert "须重新登记 A1" not in "\n".join(list_lines(paired))

    township.reenrolments = []
    sync(paired)
    assert Reenrolments(paired.store).waiting() == [], "closed at the server"
    township.reenrolments = None
    assert (sync(paired).reenrol, sync(paired).reenrolled) == (0, 0)
