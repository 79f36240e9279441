"""The commands as a technician types them, each in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from attendance import wire
from attendance.statuses import Kind
from kiosk.clock import SystemClock
from kiosk.config import load_config, load_keys, run_lock
from kiosk.fakes import FakeTownship, package
from kiosk.pairing import pair
from kiosk.pins import hash_pin
from kiosk.site import Site
from kiosk.store import Draft

PIN_KEY = b"k" * 32


class Shell:
    """Runs `quxiang-kiosk` with a folder of its own."""

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self.data = data
        self.environ = environ

    def __call__(self, *words: str, given: str = "", **more: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "kiosk.cli", *words, "--data", str(self.data)],
            input=given,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    opened = FakeTownship()
    opened.now_ms = time.time_ns() // 1_000_000
    yield opened
    opened.close()


@pytest.fixture
def shell(tmp_path: Path, environ: dict[str, str]) -> Shell:
    return Shell(tmp_path / "kiosk", environ)


@pytest.fixture
def paired(shell: Shell, township: FakeTownship) -> Shell:
    pair(shell.data, township.url, str(township.code))
    return shell


def test_pairing_by_command(shell: Shell, township: FakeTownship) -> None:
    code, out, _ = shell("pair", "--server", township.url, "--code", str(township.code))
    assert code == 0
    assert "石桥村" in out
    assert "waiting for the enrolment desk" in out
    assert load_config(shell.data).site == "石桥村"


def test_pairing_again_by_command(paired: Shell, township: FakeTownship) -> None:
    line = ("pair", "--server", township.url, "--code", str(township.code))
    device = load_config(paired.data).device
    assert "paired already" in paired(*line)[2]
    township.devices.clear()
    code, out, _ = paired(*line, "--again")
    assert (code, device in out) == (0, True)
    assert list(township.devices) == [device]


def gallery(shell: Shell, township: FakeTownship, version: int = 1) -> wire.GalleryPackage:
    template = np.eye(1, 4, dtype="<f4").tobytes()
    person = wire.Person(
        official="A-1", name="李强", title="", templates=template, pin=hash_pin(PIN_KEY, "135790")
    )
    contents = wire.GalleryContents(
        device=load_config(shell.data).device,
        version=version,
        model="m",
        dimension=4,
        pin_key=PIN_KEY,
        people=[person],
    )
    return package(township.desk, load_keys(shell.data).box_public, contents)


def test_a_day_by_command(paired: Shell, township: FakeTownship) -> None:
    device = load_config(paired.data).device
    township.galleries[device] = gallery(paired, township)
    code, out, _ = paired("sync")
    assert (code, "gallery version 1" in out) == (0, True)
    code, out, err = paired("checkin", "--official", "A-1", "--pin-stdin", given="135790\n")
    assert (code, err) == (0, "")
    assert "李强, In the village" in out
    code, out, err = paired(
        "checkin", "--official", "A-1", "--pin-stdin", "--status", "on_leave", "--reason", "sick",
        given="135790",
    )  # fmt: skip
    assert code == 0
    code, _, err = paired("checkin", "--official", "A-1", "--pin-stdin", given="一二三\n")
    assert (code, "six digits" in err) == (1, True)
    code, _, err = paired("checkin", "--official", "A-1", "--pin-stdin", given="111111\n")
    assert (code, err) == (1, "quxiang-kiosk: Wrong PIN: try again.\n")
    code, out, _ = paired(
        "checkin", "--official", "Z-9", "--pin-stdin", "--reason", "\udcff", given="111111\n"
    )
    assert (code, "marked for review" in out) == (0, True)
    state = json.loads(paired("status", "--json")[1])
    assert {
        "pending",
        "last_contact",
        "head",
        "gallery_version",
        "clock",
        "camera",
        "lamps",
    } <= set(state)
    assert (state["pending"], state["gallery_version"], state["head"]["seq"]) == (3, 1, 3)
    assert (state["camera"], state["running"], state["clock"]["class"]) == (None, False, "A")
    township.down()
    code, _, err = paired("sync")
    assert (code, "was not reached" in err) == (1, True)
    township.up()
    assert paired("sync")[0] == 0
    assert [str(r.status) for r in township.stored(device)] == [
        "in_village",
        "on_leave",
        "in_village",
    ]
    code, out, _ = paired("verify")
    assert (code, out.startswith("3 records are sound")) == (0, True)
    assert json.loads(paired("status", "--json")[1])["pending"] == 0


def test_commands_work_while_the_kiosk_runs(paired: Shell, township: FakeTownship) -> None:
    with run_lock(paired.data):
        assert paired("checkin", "--official", "Z-1", "--pin-stdin", given="123456")[0] == 0
        assert json.loads(paired("status", "--json")[1])["running"] is True
        assert paired("sync")[0] == 0


def test_a_gallery_by_stick(paired: Shell, township: FakeTownship, tmp_path: Path) -> None:
    device = load_config(paired.data).device
    stick = tmp_path / "stick.json"
    stick.write_bytes(
        msgspec.json.encode({"v": 1, "packages": {device: gallery(paired, township)}})
    )
    code, out, _ = paired("import", str(stick))
    assert (code, "version 1 is in force, 1 people" in out) == (0, True)
    code, _, err = paired("import", str(stick))
    assert (code, "not newer" in err) == (1, True)
    for text, words in (
        (b"", "not a file of the enrolment desk"),
        (b'{"v":1,"packages":{}}', "no gallery for this kiosk"),
        (stick.read_bytes()[:-40], "not a file"),
    ):
        stick.write_bytes(text)
        code, _, err = paired("import", str(stick))
        assert (code, words in err) == (1, True), err
    code, _, err = paired("import", str(tmp_path / "nowhere"))
    assert (code, "nowhere" in err) == (1, True)


def test_lamps_are_walked_and_named(paired: Shell, township: FakeTownship) -> None:
    code, _, err = paired("lamps", "test")
    assert (code, "nobody is known" in err) == (1, True)
    township.galleries[load_config(paired.data).device] = gallery(paired, township)
    paired("sync")
    code, out, _ = paired("lamps", "test", "--json", "--lamps", "rgb")
    assert code == 0
    report = json.loads(out)
    (row,) = report["lamps"]
    assert (report["driver"], row["official"], row["name"], row["driver"], row["ok"]) == (
        "rgb", "A-1", "李强", "rgb", True,
    )  # fmt: skip
    assert list(row["latched"].values()) == ["green", "blue", "yellow", "red", "off"]
    for driver in ("shift", "apa102"):
        code, out, _ = paired("lamps", "test", "--json", "--lamps", driver)
        report = json.loads(out)
        (row,) = report["lamps"]
        assert (code, report["driver"], row["name"], row["driver"]) == (0, driver, "李强", driver)
        assert list(row["latched"].values()) == ["green", "blue", "yellow", "red", "off"]
    (paired.data / "wiring.toml").write_text(
        "driver = 'apa102'\n[lamps.A-1]\nplace = 2\n[lamps.GONE]\nplace = 1\n"
    )
    code, out, _ = paired("lamps", "test")  # the driver is the one that the file names
    assert (code, "李强 [apa102]" in out) == (0, True)
    assert "GONE (not on the list) [apa102]" in out
    code, out, _ = paired("lamps", "test", QUXIANG_LANG="zh")
    assert "A-1 李强 [apa102] 绿=绿 蓝=蓝 黄=黄 红=红 灭=灭 正常" in out.splitlines()
    (paired.data / "wiring.toml").unlink()
    code, out, _ = paired("lamps", "test")
    assert (code, "李强 [screen] green=green blue=blue" in out) == (0, True)
    (paired.data / "wiring.toml").write_text("driver = 1")
    assert paired("lamps", "test")[0] == 1


def test_doctor(paired: Shell, township: FakeTownship, tmp_path: Path) -> None:
    code, out, _ = paired("doctor", "--json", "--camera", str(tmp_path / "none.avi"))
    rows = {row["name"]: row for row in json.loads(out)["checks"]}
    assert code == 1
    assert all(set(row) == {"name", "ok", "advice"} for row in rows.values())
    good = {name for name, row in rows.items() if row["ok"]}
    assert {"folder", "disk", "paired", "records", "server", "rejected", "clock", "lamps"} <= good
    assert not rows["gallery"]["ok"]
    assert not rows["camera"]["ok"]
    township.down()
    code, out, err = paired("doctor", QUXIANG_LANG="zh")
    assert "问题 server" in out
    assert "需要处理" in err


@pytest.mark.parametrize("command", ["checkin", "sync", "status", "verify", "import", "lamps"])
def test_an_unpaired_folder_is_one_line(shell: Shell, command: str) -> None:
    extra = {
        "checkin": ["--official", "A", "--pin-stdin"],
        "import": ["x.json"],
        "lamps": ["test"],
    }.get(command, [])
    code, _, err = shell(command, *extra, given="123456", QUXIANG_LANG="zh")
    assert (code, "还没有配对" in err) == (1, True)


def test_wrong_usage_exits_2(shell: Shell) -> None:
    for words in (
        ["checkin", "--official", "A"],
        ["run"],
        ["run", "--camera", "0", "--screen", "x"],
        ["nothing"],
        ["checkin", "--official", "A", "--pin-stdin", "--status", "stale"],
    ):
        assert shell(*words)[0] == 2


def test_a_mistyped_code_or_address(shell: Shell, township: FakeTownship) -> None:
    code, _, err = shell("pair", "--server", township.url, "--code", "1234")
    assert (code, "20 letters" in err) == (1, True)
    code, _, err = shell("pair", "--server", "http://10.1.2.3", "--code", str(township.code))
    assert (code, "https" in err) == (1, True)


def test_databases_that_cannot_be_used(paired: Shell) -> None:
    path = paired.data / "kiosk.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    code, _, err = paired("status")
    assert (code, "newer version" in err) == (1, True)
    for leftover in paired.data.glob("kiosk.db-*"):
        leftover.unlink()
    path.write_bytes(os.urandom(8192))
    code, _, err = paired("status")
    assert (code, "is damaged" in err) == (1, True)


@pytest.mark.parametrize("left", ["x", "", "[", "1e9", "-1", "9" * 30])
def test_what_a_damaged_card_left_beside_the_records_stops_nothing(
    paired: Shell, township: FakeTownship, left: str
) -> None:
    township.galleries[load_config(paired.data).device] = gallery(paired, township)
    paired("sync")
    with sqlite3.connect(paired.data / "kiosk.db") as db:
        db.execute(
            "UPDATE meta SET value = ? WHERE key NOT IN ('device', 'oldest_reader')", (left,)
        )
        for key in ("troubles", "refusals", "gallery_taken", "last_contact_ms", "snapshot"):
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, left))
    with run_lock(paired.data):
        code, out, err = paired("status", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["troubles"] == []
    assert paired("sync")[0] == 0
    code, out, _ = paired("status", "--json")
    assert json.loads(out)["last_contact"] is not None


def test_nobody_else_may_read_what_a_kiosk_keeps(paired: Shell, township: FakeTownship) -> None:
    township.galleries[load_config(paired.data).device] = gallery(paired, township)
    paired("sync")
    for path in (paired.data, *paired.data.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_verify_names_the_first_bad_record(paired: Shell) -> None:
    with Site(paired.data) as site:
        for official in ("Z-1", "Z-2", "Z-3"):
            draft = Draft(kind=Kind.FAULT, official=official, detail="x")
            site.store.record(draft, SystemClock().read())
    with sqlite3.connect(paired.data / "kiosk.db") as db:
        changed = "replace(CAST(payload AS TEXT), 'Z-2', 'Z-7')"
        db.execute(f"UPDATE records SET payload = CAST({changed} AS BLOB) WHERE seq = 2")  # noqa: S608
    code, _, err = paired("verify")
    assert (code, "record 2 was changed" in err) == (1, True)
