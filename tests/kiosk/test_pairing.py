"""Pairing over real HTTP with a township that remembers, and which addresses are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.pairing import PairingCode
from attendance.signing import DeviceKeys
from attendance.statuses import Kind, Method, Status
from kiosk.aside import MOVING, remains, set_aside
from kiosk.clock import SystemClock
from kiosk.config import load_config, load_keys, run_lock
from kiosk.errors import (
    AlreadyRunning,
    ConfigInvalid,
    NotPaired,
    PairingRefused,
    ServerUnreachable,
)
from kiosk.fakes import FakeTownship
from kiosk.pairing import AddressRefused, check_address, pair
from kiosk.site import Site
from kiosk.store import Draft, Store

DRAFT = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.ON_DUTY, method=Method.PIN)


def test_pairing(tmp_path: Path) -> None:
    township = FakeTownship()
    code = str(township.code)
    with pytest.raises(PairingRefused, match="20 letters"):
        pair(tmp_path / "a", township.url, "abc")
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    with pytest.raises(PairingRefused, match="another server"):
        pair(tmp_path / "a", township.url, wrong)
    spent = ("0" if code[0] != "0" else "1") + code[1:]
    with pytest.raises(PairingRefused, match="spent"):
        pair(tmp_path / "a", township.url, spent)
    keys = load_keys(tmp_path / "a").sign_public
    config = pair(tmp_path / "a", township.url + "/", code.lower().replace("-", " "))
    assert load_config(tmp_path / "a") == config
    assert load_keys(tmp_path / "a").sign_public == keys, "made once"
    for name in ("kiosk.json", "device.key"):
        assert (tmp_path / "a" / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(PairingRefused, match="already"):
        pair(tmp_path / "a", township.url, code)
    township.forger = DeviceKeys.generate().sign_seed  # altered on its way
    with pytest.raises(PairingRefused, match="another server"):
        pair(tmp_path / "b", township.url, code)
    township.forger = None
    township.down()
    with pytest.raises(ServerUnreachable):
        pair(tmp_path / "b", township.url, code)
    township.seed = DeviceKeys.generate().sign_seed
    township.up()
    with pytest.raises(PairingRefused, match="another server"):
        pair(tmp_path / "b", township.url, code)
    township.close()


def test_a_kiosk_that_its_server_lost_stays_who_it_is_and_goes_to_no_other(tmp_path: Path) -> None:
    township, stranger = FakeTownship(), FakeTownship()
    try:
        with pytest.raises(NotPaired):
            pair(tmp_path, township.url, str(township.code), again=True)
        before = pair(tmp_path, township.url, str(township.code))
        (keys,) = township.devices.values()
        with pytest.raises(PairingRefused, match="another server"):
            pair(tmp_path, stranger.url, str(stranger.code), again=True)
        assert stranger.devices == {}, "told nothing"
        with pytest.raises(PairingRefused, match="need not be paired again"):
            pair(tmp_path, township.url, str(township.code), again=True)
        township.devices.clear()  # put back to an older backup, which knows no desk either
        township.desk_key = None
        township.code = PairingCode.make(township.public, None)
        assert pair(tmp_path, township.url, str(township.code), again=True) == before
        assert township.devices == {before.device: keys}
        for name in ("device.key", "device.key.copy"):
            (tmp_path / name).unlink()
        with pytest.raises(NotPaired, match=r"fresh code \(quxiang-kiosk pair\)"):
            pair(tmp_path, township.url, str(township.code), again=True)
    finally:
        township.close()
        stranger.close()


LOST = {
    "configuration empty": (("kiosk.json", "kiosk.json.copy"), b""),
    "configuration gone": (("kiosk.json", "kiosk.json.copy"), None),
    "key empty": (("device.key", "device.key.copy"), b""),
    "key gone": (("device.key", "device.key.copy"), None),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_kiosk_that_lost_who_it_is_is_paired_anew_beside_what_it_was(
    tmp_path: Path, lost: str
) -> None:
    """Never a dead end, and nothing is deleted: what waits for upload can still be uploaded where
    its key is there, and is said where it is not."""
    township, said = FakeTownship(), []
    names, content = LOST[lost]
    folder = tmp_path / "kiosk"
    try:
        before = pair(folder, township.url, str(township.code))
        keys = load_keys(folder)
        with Site(folder) as site:
            for _ in range(3):
                site.store.record(DRAFT, SystemClock().read())
            head = site.store.head()
        (folder / "wiring.toml").write_text("", "utf-8")
        for name in names:
            (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        with pytest.raises((ConfigInvalid, NotPaired), match="quxiang-kiosk pair"):
            Site(folder)
        with pytest.raises((ConfigInvalid, NotPaired), match="quxiang-kiosk pair"):
            pair(folder, township.url, str(township.code), again=True)
        with run_lock(folder), pytest.raises(AlreadyRunning):
            pair(folder, township.url, str(township.code))
        wrong = str(township.code)[:-1] + ("0" if str(township.code)[-1] != "0" else "1")
        with pytest.raises(PairingRefused):
            pair(folder, township.url, wrong)
        assert (folder / "kiosk.db").exists(), "nothing moves before the server has agreed"
        now = pair(folder, township.url, str(township.code), tell=said.append)
        kept = folder / "earlier-1"
        assert now.device != before.device
        assert load_keys(folder) != keys
        assert (folder / "wiring.toml").exists(), "what is not the kiosk's own stays"
        assert not list(folder.glob("device.key.next*"))
        with Site(folder) as site:
            assert site.store.head().seq == 0
            site.client(SystemClock()).exchange()
        with pytest.raises(PairingRefused, match="already"):
            pair(folder, township.url, str(township.code))
        with Store.open(kept / "kiosk.db", before.device) as store:
            assert (store.head(), store.pending()) == (head, 3)
        (sentence,) = said
        assert f"{kept}" in sentence
        assert f"device revoke {before.device}" in sentence
        assert "3" in sentence
        if "configuration" in lost:
            assert f"sync --data {kept}" in sentence
            with Site(kept) as site:
                assert (site.config.device, site.keys) == (before.device, keys)
                assert site.client(SystemClock()).exchange().stored == 3
        else:
            assert "keep that folder" in sentence or "保留该目录" in sentence
    finally:
        township.close()


def test_setting_aside_goes_on_where_a_power_cut_stopped_it(tmp_path: Path) -> None:
    """A database and its log stay together: another's log beside a new file would spoil it."""
    for name in ("kiosk.db", "kiosk.db-wal", "kiosk.json", "device.key"):
        (tmp_path / name).write_text(name)
    (tmp_path / MOVING).mkdir()
    (tmp_path / "kiosk.db").rename(tmp_path / MOVING / "kiosk.db")
    assert remains(tmp_path)
    kept = set_aside(tmp_path)
    assert not remains(tmp_path)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        name: name for name in ("kiosk.db", "kiosk.db-wal", "kiosk.json", "device.key")
    }
    (tmp_path / "kiosk.db").write_text("another")
    assert set_aside(tmp_path).name == "earlier-2"


@pytest.mark.parametrize(
    "text",
    [
        "http://10.0.0.1",
        "http://127.0.0.1.evil.cn",
        "ftp://localhost",
        "nonsense",
        "",
        "http://user@localhost",
        "https://host:port",
        "http://127.evil.cn.com",
    ],
)
def test_an_unsafe_address_is_refused(text: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000",
        "http://[::1]:8",
        "http://127.9.9.9:8",
        "http://localhost:80",
        "https://10.0.0.1:8443/x?y",
    ],
)
def test_a_safe_address_is_taken(text: str) -> None:
    assert check_address(text).startswith(text[:15])
