"""The kiosk's clocks, its configuration and the lock of its folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from attendance.statuses import SiteKind
from kiosk.clock import FrameClock, SystemClock
from kiosk.config import (
    KioskConfig,
    is_paired,
    is_running,
    keep_copies,
    keys_of,
    load_config,
    load_keys,
    run_lock,
    save_config,
)
from kiosk.errors import AlreadyRunning, ConfigInvalid, NotPaired
from kiosk.fakes import FakeClock

CONFIG = KioskConfig(
    server="https://x",
    device="kiosk001",
    township="青山镇",
    site="石桥村",
    site_kind=SiteKind.OFFICE,
    server_key="A" * 43 + "=",
)


def test_the_machine_has_a_boot() -> None:
    first, second = SystemClock().read(), SystemClock().read()
    assert first.boot_id == second.boot_id
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first.boot_id)
    assert 0 < first.boottime_ns <= second.boottime_ns


def test_a_file_has_its_own_wall_and_the_machines_boot() -> None:
    base = FakeClock(wall_ms=1000)
    clock = FrameClock(base)
    clock.at(2.5)
    base.advance(60)
    assert clock.read().wall_ms == 3500
    assert clock.read().boottime_ns == base.boottime_ns


def test_configuration_and_keys_come_back(tmp_path: Path) -> None:
    with pytest.raises(NotPaired):
        load_config(tmp_path)
    save_config(tmp_path, CONFIG)
    assert load_config(tmp_path) == CONFIG
    keys = keys_of(tmp_path)
    assert keys_of(tmp_path) == load_keys(tmp_path) == keys
    names = [f"{name}{end}" for name in ("device.key", "kiosk.json") for end in ("", ".copy")]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    for name in ("device.key", "device.key.copy"):
        (tmp_path / name).write_text('{"sign": "secret", "box": "x"}')
    with pytest.raises(ConfigInvalid) as caught:
        load_keys(tmp_path)
    assert "secret" not in str(caught.value)
    for text in ("", "{}", "[]", (tmp_path / "kiosk.json").read_text().replace("A", "?")):
        for name in ("kiosk.json", "kiosk.json.copy"):
            (tmp_path / name).write_text(text)
        with pytest.raises(ConfigInvalid) as caught:
            load_config(tmp_path)
        assert "quxiang-kiosk pair" in caught.value.words("zh"), "what to do"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_file_that_a_card_lost_is_read_from_its_copy_and_put_right(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    save_config(tmp_path, CONFIG)
    keys = keys_of(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in whole:
        spoil(tmp_path / name)
        assert is_paired(tmp_path)
        assert (load_config(tmp_path), load_keys(tmp_path)) == (CONFIG, keys)
        keep_copies(tmp_path, CONFIG, keys)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    learned = msgspec.structs.replace(CONFIG, pin="ab")
    save_config(tmp_path, learned)
    spoil(tmp_path / "kiosk.json")
    assert load_config(tmp_path) == learned, "the copy is as new"


def test_one_kiosk_runs_a_folder(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with run_lock(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(AlreadyRunning), run_lock(tmp_path):
            pass
    assert not is_running(tmp_path)
