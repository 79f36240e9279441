"""The desk is paired: by a code, with the server that the code vouches for, over TLS."""

from __future__ import annotations

import pytest

from attendance.signing import DeviceKeys
from enroll.desk import Desk
from enroll.errors import EnrollError, PairingRefused, ServerRefused
from enroll.pairing import pair


def test_pairing_pins_the_server_and_keeps_private_files(desk: Desk, township) -> None:
    config, moved = pair(desk.data, township.url, township.make_code().lower())
    assert (config.township, config.server_key, moved) == ("云溪镇", township.key, False)
    assert desk.config() == config
    assert desk.keys().sign_public == township.desk_key
    for name in ("desk.json", "device.key"):
        assert (desk.data / name).stat().st_mode & 0o777 == 0o600


def test_a_wrong_code_an_impostor_and_a_second_pairing_are_refused(desk: Desk, township) -> None:
    township.make_code()
    with pytest.raises(ServerRefused, match="wrong, used or too old"):
        pair(desk.data, township.url, "AAAA-AAAA-" + str(township.code)[10:])
    with pytest.raises(PairingRefused, match="20 letters"):
        pair(desk.data, township.url, "hello")
    code = township.make_code()
    liar = DeviceKeys.generate()
    honest, township.key = township.key, liar.sign_public
    township.signing_seed = liar.sign_seed
    with pytest.raises(PairingRefused, match="not the server"):
        pair(desk.data, township.url, code)
    with pytest.raises(EnrollError, match="not paired"):
        desk.config()
    township.key, township.signing_seed = honest, township.seed
    pair(desk.data, township.url, township.make_code())
    with pytest.raises(PairingRefused, match="already paired"):
        pair(desk.data, township.url, township.make_code())
    pair(desk.data, township.url, township.make_code(), again=True)


@pytest.mark.parametrize(
    "url",
    ["http://192.168.1.5:8000", "ftp://x", "nonsense", "http://", "https://x/?q", "http://[::"],
)
def test_an_address_that_is_none_or_not_encrypted_is_refused(desk: Desk, url: str) -> None:
    with pytest.raises(PairingRefused, match="https://"):
        pair(desk.data, url, "AAAA-AAAA-AAAA-AAAA-AAAA")
