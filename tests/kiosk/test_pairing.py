"""Pairing over real HTTP with a township that remembers, and which addresses are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.pairing import PairingCode
from attendance.signing import DeviceKeys
from kiosk.config import load_config, load_keys
from kiosk.errors import NotPaired, PairingRefused, ServerUnreachable
from kiosk.fakes import FakeTownship
from kiosk.pairing import AddressRefused, check_address, pair


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
        (tmp_path / "device.key").unlink()
        with pytest.raises(NotPaired):
            pair(tmp_path, township.url, str(township.code), again=True)
    finally:
        township.close()
        stranger.close()


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
