"""Galleries at rest: what is taken, what is refused, what is left of the old one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from attendance import wire
from attendance.signing import DeviceKeys, from_text, to_text
from attendance.statuses import SiteKind, Status
from kiosk.config import KioskConfig
from kiosk.errors import GalleryRefused, StoreUnusable
from kiosk.fakes import FakeClock, package
from kiosk.people import People
from kiosk.pins import hash_pin
from kiosk.store import Store
from kiosk.vault import Installed, Vault, gallery_taken, note_gallery, settle_erasures

NOW = 1_780_000_000_000
DESK = DeviceKeys.generate()
OWN = DeviceKeys.generate()
CONFIG = KioskConfig(
    server="http://127.0.0.1:1",
    device="kiosk001",
    township="t",
    site="s",
    site_kind=SiteKind.VILLAGE,
    server_key=to_text(DESK.sign_public),
    desk_key=to_text(DESK.sign_public),
)
FACES = np.eye(2, 4, dtype="<f4").tobytes()
PIN = hash_pin(b"k" * 32, "123456")


def contents(version: int = 1, **changes: object) -> wire.GalleryContents:
    people = [
        wire.Person(official="A-1", name="李强", title="镇长", templates=FACES, pin=PIN),
        wire.Person(official="A-2", name="王芳", title="", second_factor=True),
    ]
    made = wire.GalleryContents(
        device="kiosk001",
        version=version,
        model="m",
        dimension=4,
        pin_key=b"k" * 32,
        people=people,
    )
    return msgspec.structs.replace(made, **changes)


def sealed(version: int = 1, **changes: object) -> wire.GalleryPackage:
    return package(DESK, OWN.box_public, contents(version, **changes), made_ms=NOW)


class Kept(Vault):
    """A vault and, beside it, the store that remembers what it took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "vault", lambda: gallery_taken(self.store))
        self.store = Store.open(folder / "kiosk.db", "kiosk001")

    def take(
        self, gallery: wire.GalleryPackage, config: KioskConfig = CONFIG, now_ms: int = NOW
    ) -> Installed:
        return self.install(gallery, config, OWN, now_ms, self.store)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Kept]:
    opened = Kept(tmp_path)
    yield opened
    opened.store.close()


def test_what_comes_in_is_there_after_a_restart_and_unreadable_on_disk(
    vault: Kept, tmp_path: Path
) -> None:
    assert (vault.version, vault.contents()) == (0, None)
    installed = vault.take(sealed())
    assert (installed.version, installed.people, installed.expired) == (1, 2, False)
    assert Vault(tmp_path / "vault").contents() == contents()
    for path in (tmp_path / "vault").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        data = path.read_bytes()
        assert FACES not in data
        assert "李强".encode() not in data
        assert b"argon2" not in data


def test_a_newer_one_replaces_it_and_leaves_nothing(vault: Kept, tmp_path: Path) -> None:
    vault.take(sealed(1))
    other = Vault(tmp_path / "vault")  # a running kiosk beside the command that imports
    assert other.version == 1
    vault.take(sealed(2))
    names = sorted(path.name for path in (tmp_path / "vault").iterdir())
    assert names == ["0000000002.box", "0000000002.key", "lock"]
    assert (vault.version, other.version) == (2, 2)


def refused(vault: Kept, gallery: wire.GalleryPackage, config: KioskConfig = CONFIG) -> str:
    with pytest.raises(GalleryRefused) as caught:
        vault.take(gallery, config)
    assert caught.value.words("zh") != caught.value.words("en")
    return str(caught.value)


def test_what_is_not_ours_is_refused(vault: Kept) -> None:
    vault.take(sealed(3))
    assert "not newer" in refused(vault, sealed(3))
    assert "not newer" in refused(vault, sealed(2))
    stranger = package(DeviceKeys.generate(), OWN.box_public, contents(4))
    assert "not from our enrolment desk" in refused(vault, stranger)
    elsewhere = package(DESK, DeviceKeys.generate().box_public, contents(4))
    assert "not sealed for this device" in refused(vault, elsewhere)
    assert "another kiosk" in refused(vault, sealed(4, device="kiosk002"))
    good = sealed(4)
    swapped = msgspec.structs.replace(good, sealed=sealed(4).sealed)
    assert "damaged" in refused(vault, swapped)
    garbled = msgspec.structs.replace(
        good, manifest=msgspec.Raw(bytes(good.manifest).replace(b'"m"', b'"n"'))
    )
    assert "not from our enrolment desk" in refused(vault, garbled)
    unpaired = msgspec.structs.replace(CONFIG, desk_key=None)
    assert "not known yet" in refused(vault, good, unpaired)
    assert vault.version == 3


def person(**changes: object) -> dict[str, object]:
    fields = {"official": "A-1", "name": "a", "title": "", "templates": FACES, **changes}
    return {"people": [wire.Person(**fields)]}


NAN = np.array([[np.nan, 0, 0, 0]], "<f4").tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        person(templates=FACES[:-1]),
        person(templates=NAN),
        person(templates=np.full((1, 4), 0.6, "<f4").tobytes()),
        person(templates=np.full((1, 4), np.inf, "<f4").tobytes()),
        person(official="no id"),
        person(name=""),
        person(pin="123456"),
        person(pin=PIN.replace("m=19456", "m=9999999")),
        {"people": person()["people"] * 2},  # type: ignore[operator]
        {"dimension": 0},
        {"pin_key": b"short"},
    ],
)
def test_damaged_contents_are_refused(vault: Kept, changes: dict[str, object]) -> None:
    refused(vault, sealed(1, **changes))
    assert vault.contents() is None


def test_a_gallery_that_keeps_a_face_which_it_asks_to_erase_is_refused(vault: Kept) -> None:
    both = package(DESK, OWN.box_public, contents(2), tombstones=["A-9", "A-1"], made_ms=NOW)
    vault.take(sealed(1))
    told = refused(vault, both)
    assert "asks to erase A-1" in told
    assert "quxiang-enroll sync" in told
    assert (vault.version, gallery_taken(vault.store)) == (1, 1)
    only = package(DESK, OWN.box_public, contents(2), tombstones=["A-9", "A-2"], made_ms=NOW)
    assert vault.take(only).tombstones == ("A-9", "A-2"), "nobody of them has a face in it"


def test_a_face_to_be_erased_that_an_earlier_release_took_is_in_force_no_more(
    vault: Kept, tmp_path: Path
) -> None:
    asked, other = contents().people
    made = contents(2, people=[msgspec.structs.replace(asked, propose=True), other])
    taken = package(DESK, OWN.box_public, made, tombstones=["A-1"], made_ms=NOW)
    vault.take(sealed(1))
    vault._write(2, bytes(taken.manifest), OWN.open(from_text(taken.sealed)))
    held = Vault(tmp_path / "vault").contents()
    assert held is not None
    assert [(p.official, p.templates, p.propose, p.pin) for p in held.people] == [
        ("A-1", b"", False, PIN), ("A-2", b"", False, None)
    ]  # fmt: skip


def test_an_expired_manifest_works_and_says_so(vault: Kept) -> None:
    later = NOW + 91 * 86_400_000
    assert vault.take(sealed(), now_ms=later).expired
    assert vault.expired(later)
    assert not vault.expired(NOW)
    assert vault.contents() is not None


def test_a_cut_before_the_new_key_is_there_leaves_the_old_one_in_force(
    vault: Kept, tmp_path: Path
) -> None:
    folder = tmp_path / "vault"
    vault.take(sealed(1))
    (folder / "0000000002.box").write_bytes(b"whole, and its key was still to come")
    (folder / ".0000000002.key.k3w9").write_bytes(b"on its way")
    vault.store.close()
    again = Kept(tmp_path)
    assert settle_erasures(again, again.store, OWN, FakeClock().read()) == []
    assert again.version == 1
    assert [path.name for path in folder.glob(".*")] == []
    again.take(sealed(2))
    assert again.version == 2
    assert sorted(path.stem for path in folder.glob("*.*")) == ["0000000002"] * 2
    again.store.close()


def test_what_a_cut_left_of_the_old_gallery_goes_before_the_receipt_is_signed(
    vault: Kept, tmp_path: Path
) -> None:
    folder = tmp_path / "vault"
    vault.take(sealed(1))
    old = {path: path.read_bytes() for path in folder.glob("*1.*")}
    after = contents(2, people=[wire.Person(official="A-2", name="王芳", title="")])
    vault.take(package(DESK, OWN.box_public, after, tombstones=["A-1"], made_ms=NOW))
    for path, data in old.items():
        path.write_bytes(data)  # the power went before they were erased
    vault.store.close()
    again = Kept(tmp_path)
    held = folder / "lock"
    held.unlink()
    held.mkdir()  # the folder's lock cannot be had, so nothing can be erased
    assert settle_erasures(again, again.store, OWN, FakeClock().read()) == [], "nothing is signed"
    held.rmdir()
    (receipt,) = settle_erasures(again, again.store, OWN, FakeClock().read())
    assert receipt.record.official == "A-1"
    assert sorted(p.name for p in folder.glob("*.*")) == ["0000000002.box", "0000000002.key"]
    again.store.close()


@pytest.mark.parametrize("gone", ["box", "key"])
def test_a_gallery_from_before_a_withdrawal_never_comes_back_by_itself(
    vault: Kept, tmp_path: Path, gone: str
) -> None:
    folder = tmp_path / "vault"
    vault.take(sealed(1))
    old = {path: path.read_bytes() for path in folder.glob("*1.*")}
    vault.take(sealed(2))
    for path, data in old.items():
        path.write_bytes(data)
    rotten = folder / f"0000000002.{gone}"
    rotten.write_bytes(rotten.read_bytes()[:20])
    vault.store.close()
    again = Kept(tmp_path)
    assert (again.version, again.contents()) == (0, None)
    rotten.unlink()
    assert Vault(folder, lambda: gallery_taken(again.store)).version == 0
    settle_erasures(again, again.store, OWN, FakeClock().read())
    assert not any(path.exists() for path in old)
    assert again.take(sealed(2)).version == 2, "the very one that it had, fetched anew"
    again.store.close()


def test_where_the_store_cannot_be_asked_no_older_gallery_is_guessed(
    vault: Kept, tmp_path: Path
) -> None:
    folder = tmp_path / "vault"
    vault.take(sealed(1))
    old = {path: path.read_bytes() for path in folder.glob("*1.*")}
    vault.take(sealed(2))
    for path, data in old.items():
        path.write_bytes(data)

    def broken() -> int:
        raise StoreUnusable("io", "", "")

    assert Vault(folder, broken).version == 2, "the newest one is none of those"
    (folder / "0000000002.box").write_bytes(b"rot")
    assert Vault(folder, broken).version == 0


def test_what_was_once_taken_bounds_what_comes_after_also_where_it_cannot_be_read(
    vault: Kept, tmp_path: Path
) -> None:
    old, newest = sealed(2), sealed(5)
    vault.take(old)
    vault.take(newest)
    box = tmp_path / "vault" / "0000000005.box"
    box.write_bytes(box.read_bytes()[:-1])
    vault.store.close()
    again = Kept(tmp_path)  # the card died in part, the kiosk started anew
    assert (again.version, gallery_taken(again.store)) == (0, 5)
    told = refused(again, old)
    assert "version 2 is older than 5" in told
    assert "run quxiang-enroll sync at the desk" in told
    assert again.version == 0
    assert again.take(newest).version == 5, "the very one that it had, fetched anew"
    assert again.take(sealed(6)).version == 6
    note_gallery(again.store, 4)
    assert gallery_taken(again.store) == 6
    again.store.close()


def test_a_gallery_that_an_earlier_release_took_is_noted(vault: Kept) -> None:
    vault.take(sealed(3))
    vault.store.set_meta(gallery_taken=None)  # a release that did not know of it
    assert settle_erasures(vault, vault.store, OWN, FakeClock().read()) == []
    assert gallery_taken(vault.store) == 3


def test_a_number_that_no_desk_gave_bars_no_gallery(vault: Kept) -> None:
    vault.take(sealed(3))
    vault.store.set_meta(gallery_taken=str(2**63 - 1))  # a card that rots, or a hand
    assert gallery_taken(vault.store) == 0
    assert vault.take(sealed(4)).version == 4
    assert gallery_taken(vault.store) == 4
    note_gallery(vault.store, 2)
    assert gallery_taken(vault.store) == 4


def test_what_is_not_newer_is_told_with_what_to_do_at_the_desk(vault: Kept) -> None:
    vault.take(sealed(7))
    with pytest.raises(GalleryRefused) as caught:
        vault.take(sealed(5))
    for lang in ("zh", "en"):
        assert "quxiang-enroll export FILE --above 7" in caught.value.words(lang)


def test_what_cannot_be_noted_is_not_taken(vault: Kept) -> None:
    vault.take(sealed(1))
    with vault.store.transaction() as db:
        db.execute("PRAGMA query_only=ON")
    with pytest.raises(OSError, match="nothing can be recorded"):
        vault.take(sealed(2))
    assert vault.version == 1


def test_people_are_found_by_id_and_by_name() -> None:
    row = wire.WhereaboutsRow(official="C-3", name="王芳", title="", status=Status.ON_DUTY)
    snapshot = wire.Snapshot(version="1", as_of_ms=NOW, rows=[row])
    people = People(contents(), snapshot)
    assert [p.official for p in people.all] == ["A-1", "A-2", "C-3"]
    li = people.find("  Ａ-1 ")
    assert li is people.find("李强") is people.find("a-1") is people.get("A-1")
    assert li is not None
    assert (li.has_face, li.has_pin, li.expected) == (True, True, True)
    assert people.find("王芳") is None, "two people have that name"
    assert people.get("C-3") is not None
    assert not people.get("C-3").expected  # type: ignore[union-attr]
    ((official, templates),) = people.gallery_entries()
    assert (official, templates.shape, templates.dtype) == ("A-1", (2, 4), np.float32)
    assert (people.model, people.version, People().gallery_entries()) == ("m", 1, [])
    assert dataclasses.is_dataclass(li)
