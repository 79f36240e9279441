"""Portraits on the kiosk: over real HTTP from a township that remembers, kept for bad days."""

from __future__ import annotations

from pathlib import Path

import pytest

from attendance.statuses import Status
from attendance.wire import MAX_PORTRAIT, WhereaboutsRow
from kiosk.config import load_keys
from kiosk.errors import ServerUnreachable
from kiosk.fakes import FakeClock, FakeTownship
from kiosk.pairing import pair
from kiosk.portraits import PER_EXCHANGE, Portraits
from kiosk.store import Store
from kiosk.sync import SyncClient
from kiosk.vault import Vault

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 100


def token(number: int) -> str:
    return f"{number:032x}"


def row(number: int, portrait: str | None) -> WhereaboutsRow:
    return WhereaboutsRow(
        official=f"XC-{number}", name="王芳", title="", status=Status.ON_DUTY, portrait=portrait
    )


def test_pictures_come_with_the_board_outlive_an_outage_and_go_with_the_consent(
    tmp_path: Path,
) -> None:
    township = FakeTownship()
    config = pair(tmp_path, township.url, str(township.code))
    township.rows = [row(n, token(n)) for n in range(PER_EXCHANGE + 3)] + [row(99, None)]
    township.portraits = {token(n): JPEG + bytes([n]) for n in range(PER_EXCHANGE + 3)}
    folder = tmp_path / "portraits"
    kept = Portraits(folder)
    with Store.open(tmp_path / "kiosk.db", config.device) as store:
        client = SyncClient(
            config,
            load_keys(tmp_path),
            store,
            Vault(tmp_path / "vault"),
            FakeClock(),
            portraits=kept,
        )
        client.exchange()
        assert len(list(folder.iterdir())) == PER_EXCHANGE  # a bad line is not filled by pictures
        client.exchange()
        client.exchange()
        assert len(list(folder.iterdir())) == PER_EXCHANGE + 3
        asked = [target for method, target in township.requests if "/portraits/" in target]
        assert len(asked) == len(set(asked)) == PER_EXCHANGE + 3  # each once
        township.down()
        with pytest.raises(ServerUnreachable):
            client.exchange()
        path = kept.path(token(1))
        assert path is not None
        assert path.read_bytes() == JPEG + b"\x01"
        township.up()
        township.rows = [row(1, token(1))]
        client.exchange()
        assert [each.name for each in folder.iterdir()] == [f"{token(1)}.jpg"]
        client.close()
    township.close()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\x89PNG....", JPEG[:3], b"\xff\xd8\xff" + b"x" * MAX_PORTRAIT]
)
def test_what_is_no_small_jpeg_is_not_kept(tmp_path: Path, body: bytes) -> None:
    kept = Portraits(tmp_path / "portraits")
    kept.follow([row(1, token(1))], lambda _: body)
    assert kept.path(token(1)) is None


@pytest.mark.parametrize("name", ["../kiosk", "x" * 32, "", "A" * 32, token(1) + "/.."])
def test_only_names_of_ours_are_asked_for_and_served(tmp_path: Path, name: str) -> None:
    (tmp_path / "kiosk.jpg").write_bytes(JPEG)
    kept = Portraits(tmp_path / "portraits")
    asked: list[str] = []

    def fetch(wanted: str) -> bytes:
        asked.append(wanted)
        return JPEG

    kept.follow([row(1, name)], fetch)
    assert asked == []
    assert kept.path(name) is None


def test_a_picture_that_fails_costs_nothing_but_itself(tmp_path: Path) -> None:
    def fetch(wanted: str) -> bytes:
        raise ServerUnreachable("断", "gone")

    assert Portraits(tmp_path / "portraits").follow([row(1, token(1))], fetch) == 0
