"""A server that lies, key and all: kiosk and desk notice, say so, and give nothing away."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from attendance import signing, wire
from attendance.errors import SignatureInvalid
from attendance.receipts import receipt_detail
from attendance.signing import DeviceKeys, fingerprint, from_text, to_text
from attendance.statuses import Kind, Method, SiteKind, Status
from enroll.errors import KioskKeyChanged, ReceiptForged
from enroll.withdraw import withdraw_consent
from kiosk.condition import expiring, unreadable
from kiosk.errors import PairingRefused, ServerRefused
from kiosk.exchange import last_snapshot
from kiosk.pairing import pair as pair_kiosk
from kiosk.site import Site
from kiosk.store import Draft
from kiosk.vault import gallery_taken
from server.services.paired.devices import settle
from tests.attacks.town import CLOCK, Lie, Town, exchange


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    made = Town(tmp_path_factory.mktemp("lies"))
    yield made
    made.close()


@pytest.fixture
def town(opened: Town) -> Iterator[Town]:
    """The one township of this file, honest again after each test."""
    seed = opened.liar.seed
    yield opened
    opened.liar.lies.clear()
    opened.liar.seed = seed


def faces(site: Site) -> list[str]:
    contents = site.vault.contents()
    return [p.official for p in contents.people if p.templates] if contents else []


def both(error: Any) -> tuple[str, str]:
    """What is said, in Chinese and English; each is one line and not the other."""
    zh, en = error.words("zh"), error.words("en")
    assert zh != en
    assert "\n" not in zh + en
    return zh, en


def rows_with(device: str, **changes: str) -> Lie:
    def lie(body: bytes) -> bytes:
        rows = msgspec.json.decode(body, type=list[wire.KioskRow])
        changed = [
            msgspec.structs.replace(row, **changes) if row.device == device else row
            for row in rows
        ]  # fmt: skip
        return wire.encode(changed)

    return lie


def cursor_with(**changes: Any) -> Lie:
    def lie(body: bytes) -> bytes:
        reply = wire.decode(body, wire.CursorReply)
        return wire.encode(msgspec.structs.replace(reply, **changes))

    return lie


@pytest.mark.parametrize("which", ["box_key", "sign_key"])
def test_a_swapped_kiosk_key_is_noticed_and_nothing_is_sealed_to_it(town: Town, which: str) -> None:
    site = town.kiosk(f"杏树村{which}")
    town.enrol(f"a-{which[:3]}", f"杏树村{which}")
    town.sync()
    before, spy = town.held(site), DeviceKeys.generate()
    swapped = to_text(spy.box_public if which == "box_key" else spy.sign_public)
    town.liar.lies[wire.DESK_KIOSKS] = rows_with(site.config.device, **{which: swapped})
    town.desk.store.set_pin(f"a-{which[:3]}", "739104")  # so that a new gallery is due
    done = town.sync()
    (changed,) = done.changed
    assert isinstance(changed, KioskKeyChanged)
    zh, en = both(changed)
    assert site.config.device in zh
    assert "was tampered with" in en
    assert site.config.device not in {s.kiosk.device for s in done.sealed}
    assert town.held(site) == before, "the server got nothing for the swapped key"
    town.liar.lies.clear()
    town.sync()
    assert exchange(site).gallery_installed
    assert faces(site) == [f"a-{which[:3]}"]


def test_a_key_swapped_from_the_first_shows_another_fingerprint_than_the_kiosks_screen(
    town: Town,
) -> None:
    site, spy = town.kiosk("柳树村"), DeviceKeys.generate()
    town.enrol("first", "柳树村")
    device = site.config.device
    town.liar.lies[wire.DESK_KIOSKS] = rows_with(device, box_key=to_text(spy.box_public))
    done = town.sync()
    told = next(k.fingerprint for k in done.pinned if k.device == device)
    assert told == fingerprint(spy.box_public) != fingerprint(site.keys.box_public)
    fault = exchange(site).gallery_fault
    assert fault is not None, "what was sealed for another key is told at the kiosk"
    assert "not sealed for this device" in both(fault)[1]
    assert site.vault.contents() is None


def test_a_swapped_desk_key_is_noticed_at_pairing_and_ever_after(
    town: Town, tmp_path: Path
) -> None:
    liar_desk = DeviceKeys.generate()
    other = to_text(liar_desk.sign_public)

    def hint(body: bytes) -> bytes | None:
        if b'"desk_keys"' not in body:
            return None
        found = wire.decode(body, wire.PairHint)
        return wire.encode(msgspec.structs.replace(found, desk_keys=[other]))

    def reply(body: bytes) -> bytes | None:
        if b'"device"' not in body:
            return None
        found = wire.decode(body, wire.PairReply)
        return wire.encode(msgspec.structs.replace(found, desk_key=other))

    code = town.code("kiosk", "桃村", "village")
    for lie in (hint, reply):
        town.liar.lies[wire.PAIR] = lie
        with pytest.raises(PairingRefused, match="another server") as caught:
            pair_kiosk(tmp_path / "k", town.url, code)
        both(caught.value)
        assert not (tmp_path / "k" / "kiosk.json").exists()
    town.liar.lies.clear()

    site = town.kiosk("枣村")
    town.enrol("date", "枣村")
    town.sync()
    device, pinned = site.config.device, site.config.desk_key
    town.liar.lies[wire.CURSOR] = cursor_with(desk_key=other, gallery=99)
    contents = wire.GalleryContents(
        device=device, version=99, model="m", dimension=4, pin_key=b"k" * 32, people=[]
    )
    town.liar.lies[wire.GALLERY] = lambda _: _sealed(liar_desk, site.keys.box_public, contents)
    report = exchange(site)
    assert report.desk_changed, "the screen and `sync` say so: another desk is not taken"
    assert report.gallery_fault is not None
    assert "not from our enrolment desk" in both(report.gallery_fault)[1]
    with Site(site.folder) as again:
        assert again.config.desk_key == pinned
        assert again.vault.contents() is None


def _sealed(desk: DeviceKeys, box_public: bytes, contents: wire.GalleryContents) -> bytes:
    sealed = signing.seal(box_public, wire.encode_contents(contents))
    manifest = wire.encode(
        wire.Manifest(
            device=contents.device, version=contents.version, made_ms=0, expires_ms=2**50,
            model=contents.model, people=len(contents.people),
            sealed_sha256=hashlib.sha256(sealed).hexdigest(), tombstones=[],
        )
    )  # fmt: skip
    return wire.encode(
        wire.GalleryPackage(
            manifest=msgspec.Raw(manifest),
            signature=to_text(desk.sign(wire.MANIFEST_DOMAIN, manifest)),
            sealed=to_text(sealed),
        )
    )


def test_an_older_gallery_or_a_tombstone_left_out_never_comes_into_force(town: Town) -> None:
    site = town.kiosk("梨村")
    town.enrol("pear", "梨村")
    town.sync()
    assert exchange(site).gallery_installed
    first, at_first = town.held(site), site.vault.version
    withdraw_consent(town.desk, "pear")
    town.sync()
    device = site.config.device

    # Withheld: the old version stays, the desk goes on asking, and the kiosk's alarm comes.
    town.liar.lies[wire.CURSOR] = cursor_with(gallery=at_first)
    report = exchange(site)
    assert (report.gallery_version, report.gallery_fault) == (at_first, None)
    assert [o.official for o in town.sync().owed if o.device == device] == ["pear"]
    manifest = site.vault.manifest()
    assert manifest is not None
    told = expiring(manifest.expires_ms, manifest.expires_ms - 1)
    assert told is not None, "at the latest by then somebody is sent"

    # The version before, served as if it were new.
    town.liar.lies = {wire.CURSOR: cursor_with(gallery=at_first + 6), wire.GALLERY: lambda _: first}
    fault = exchange(site).gallery_fault
    assert fault is not None
    assert "not newer" in both(fault)[1]

    # The true one, without its tombstone, or with its version raised.
    def edited(**changes: Any) -> Lie:
        def lie(body: bytes) -> bytes:
            package = wire.decode(body, wire.GalleryPackage, wire.MAX_GALLERY)
            held = wire.decode(bytes(package.manifest), wire.Manifest)
            raw = msgspec.Raw(wire.encode(msgspec.structs.replace(held, **changes)))
            return wire.encode(msgspec.structs.replace(package, manifest=raw))

        return lie

    for lie in (edited(tombstones=[]), edited(version=at_first + 9)):
        town.liar.lies = {wire.GALLERY: lie}
        fault = exchange(site).gallery_fault
        assert fault is not None
        assert "not from our enrolment desk" in both(fault)[1]
    assert faces(site) == ["pear"], "nothing of the lies was taken"
    town.liar.lies.clear()
    now = exchange(site).gallery_version
    assert now > at_first
    assert faces(site) == []
    town.sync()
    assert [r.version for r in town.desk.ledger.receipts() if r.device == device] == [now]


def test_an_older_gallery_does_not_come_back_by_a_vault_that_cannot_be_read(town: Town) -> None:
    site = town.kiosk("梅村")
    town.enrol("mume", "梅村")
    town.sync()
    assert exchange(site).gallery_installed
    first = town.held(site)
    withdraw_consent(town.desk, "mume")
    town.sync()
    newest = exchange(site).gallery_version
    town.sync()
    assert [o for o in town.desk.ledger.owed() if o.device == site.config.device] == []
    (box,) = (site.folder / "vault").glob("*.box")
    data = bytearray(box.read_bytes())
    data[50] ^= 1  # a card that dies, or a hand
    box.write_bytes(bytes(data))
    with Site(site.folder) as again:
        assert again.vault.version == 0
        assert unreadable(again.vault.version, gallery_taken(again.store)) is not None
        town.liar.lies = {wire.CURSOR: cursor_with(gallery=1), wire.GALLERY: lambda _: first}
        fault = exchange(again).gallery_fault
        assert fault is not None
        assert f"is older than {newest}, which this kiosk had already" in both(fault)[1]
        assert again.vault.contents() is None, "nobody who withdrew is known again"
        town.liar.lies.clear()
        assert exchange(again).gallery_version == newest, "the one that it had comes anew"
        assert faces(again) == []


def test_who_withdrew_is_erased_at_a_kiosk_that_was_set_apart(town: Town) -> None:
    site = town.kiosk("榆村")
    town.enrol("elm", "榆村")
    town.sync()
    assert exchange(site).gallery_installed
    device, before = site.config.device, site.vault.version
    came = Draft(kind=Kind.CHECKIN, official="elm", status=Status.IN_VILLAGE, method=Method.FACE)
    for _ in range(3):
        site.store.record(came, CLOCK.read())
    exchange(site)
    with site.store.transaction() as db:  # a card that was put back to an earlier day
        db.execute("DELETE FROM records WHERE seq > 1")
    for _ in range(3):
        site.store.record(came, CLOCK.read())
    withdraw_consent(town.desk, "elm")
    town.sync()
    for _ in range(2):  # the second one hands the receipt over, to be set aside
        with pytest.raises(ServerRefused) as caught:
            exchange(site)
        assert caught.value.word == "fork"
        assert (faces(site), site.vault.version > before) == ([], True)
    assert [o.official for o in town.sync().owed if o.device == device] == ["elm"]
    with town.context.database.transaction() as session:
        settle(session, device, datetime.now(UTC))
    assert exchange(site).pending == 0
    assert len(site.store.rejected()) == 4, "three check-ins and the first receipt"
    assert [r.official for r in town.sync().receipts if r.device == device] == ["elm"]
    assert [o for o in town.desk.ledger.owed() if o.device == device] == []
    assert (exchange(site).sent, site.store.verify() > 0) == (0, True)


def test_a_forged_receipt_of_erasure_settles_nothing(town: Town) -> None:
    site, other = town.kiosk("李村"), town.kiosk("镇政府", SiteKind.OFFICE)
    town.enrol("plum", "李村")
    town.sync()
    exchange(site)
    withdraw_consent(town.desk, "plum")
    town.sync()
    device, forger = site.config.device, DeviceKeys.generate()
    kiosk = town.desk.ledger.kiosk(device)
    assert kiosk is not None
    asked = kiosk.put_version
    claim = wire.ErasureRow(
        device=device, site="李村", official="plum",
        record_id="0b1f6d0e-0000-4000-8000-000000000000", epoch=1, seq=1, head="0" * 64,
        received_ms=1, version=asked, signature=None,
    )  # fmt: skip
    genuine = {row.record_id for row in _erasures(town)}

    def says(row: wire.ErasureRow) -> Lie:
        def lie(body: bytes) -> bytes:
            return wire.encode([*msgspec.json.decode(body, type=list[wire.ErasureRow]), row])

        return lie

    def signed(keys: DeviceKeys, of: str, version: int) -> str:
        return receipt_detail(keys, of, "plum", version).rsplit(" ", 1)[1]

    for signature in (
        None,
        "x" * 88,
        signed(forger, device, asked),
        signed(other.keys, device, asked),  # another kiosk's key
        signed(site.keys, device, site.vault.version),  # the kiosk's own, of an earlier manifest
    ):
        row = msgspec.structs.replace(claim, signature=signature)
        town.liar.lies[wire.DESK_ERASURES] = says(row)
        done = town.sync()
        (problem,) = done.problems
        assert isinstance(problem, ReceiptForged)
        assert "did not sign" in both(problem)[1]
        assert ("plum", device) in {(o.official, o.device) for o in done.owed}
    town.liar.lies.clear()
    assert exchange(site).gallery_installed
    done = town.sync()
    assert [(r.device, r.version) for r in done.receipts] == [(device, asked)]
    assert {r.record_id for r in done.receipts}.isdisjoint(genuine)


def _erasures(town: Town) -> list[wire.ErasureRow]:
    client = town.desk.client()
    try:
        return client.erasures()
    finally:
        client.close()


def test_another_kiosks_gallery_is_refused_unopened(town: Town) -> None:
    site, neighbour = town.kiosk("石村"), town.kiosk("沙村")
    town.enrol("stone", "石村")
    town.enrol("sand", "沙村")
    town.sync()
    theirs = town.held(neighbour)
    town.liar.lies[wire.GALLERY] = lambda _: theirs
    report = exchange(site)
    assert report.gallery_fault is not None
    zh, en = both(report.gallery_fault)
    assert f"another kiosk ({neighbour.config.device})" in en
    assert "另一台终端" in zh
    assert site.vault.contents() is None
    package = wire.decode(theirs, wire.GalleryPackage, wire.MAX_GALLERY)
    with pytest.raises(SignatureInvalid):
        site.keys.open(from_text(package.sealed))
    town.liar.lies.clear()
    exchange(site)
    assert faces(site) == ["stone"]


def test_altered_or_stale_whereabouts_are_not_shown(town: Town) -> None:
    site = town.kiosk("塘村")
    town.enrol("pond", "塘村")
    town.sync()
    exchange(site)
    honest = last_snapshot(site.store)
    assert honest is not None
    seed = town.liar.seed

    def moved(body: bytes) -> bytes:
        snapshot = wire.decode(body, wire.Snapshot)
        rows = [msgspec.structs.replace(row, status=Status.ON_LEAVE) for row in snapshot.rows]
        assert rows
        return wire.encode(msgspec.structs.replace(snapshot, rows=rows))

    town.liar.seed = None  # somebody in between, who cannot sign
    town.liar.lies[wire.WHEREABOUTS] = moved
    with pytest.raises(ServerRefused) as caught:
        exchange(site)
    assert caught.value.word == "signature"
    both(caught.value)
    assert last_snapshot(site.store) == honest

    town.liar.seed = seed
    old = msgspec.structs.replace(honest, as_of_ms=honest.as_of_ms - 180_000)
    town.liar.lies[wire.WHEREABOUTS] = lambda _: wire.encode(old)
    with pytest.raises(ServerRefused) as caught:
        exchange(site)
    assert caught.value.word == "stale"
    both(caught.value)
    kept = last_snapshot(site.store)
    assert kept is not None
    assert kept.as_of_ms == honest.as_of_ms
