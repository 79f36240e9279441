"""The kiosk's clocks, its configuration and the lock of its folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from attendance.statuses import SiteKind
from kiosk.clock import FrameClock, SystemClock
from kiosk.config import (
    KioskConfig,
    is_running,
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["device.key", "kiosk.json"]
    (tmp_path / "device.key").write_text('{"sign": "secret", "box": "x"}')
    with pytest.raises(ConfigInvalid) as caught:
        load_keys(tmp_path)
    assert "secret" not in str(caught.value)
    for text in ("", "{}", "[]", (tmp_path / "kiosk.json").read_text().replace("A", "?")):
        (tmp_path / "kiosk.json").write_text(text)
        with pytest.raises(ConfigInvalid):
            load_config(tmp_path)


def test_one_kiosk_runs_a_folder(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with run_lock(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(AlreadyRunning), run_lock(tmp_path):
            pass
    assert not is_running(tmp_path)
