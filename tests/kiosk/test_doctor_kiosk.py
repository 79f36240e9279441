"""What `doctor` says of the recognition and of the paired kiosk itself, and the whole command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attendance import wire
from attendance.statuses import Kind
from hardware.fakes import FakeCamera
from kiosk.checks import devices, recognition, records
from kiosk.checks.machine import State
from kiosk.clock import SystemClock
from kiosk.condition import EXPIRING_MS, WAITING_S
from kiosk.config import load_config, save_config
from kiosk.doctor import checks
from kiosk.fakes import FakeTownship, package
from kiosk.pairing import pair
from kiosk.people import People
from kiosk.site import Site
from kiosk.store import Draft
from tests.kiosk.doctored import LOOKS, MOUNTS, TOUCH, WELL, Tree, not_opened, pictures


@pytest.fixture
def pi(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


# -- recognition ----------------------------------------------------------------------------


class SlowEngine:
    """Takes as long as it is told, by a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self.takes = list(seconds)

    def detect(self, frame: Any) -> list[Any]:
        assert frame.shape == (480, 640, 3)
        self.now += self.takes.pop(0)
        return []

    def embed(self, frame: Any, face: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("takes", "running", "state"),
    [
        ((9.0, 0.3, 0.2, 0.4), False, State.OK),
        ((0.1, 0.3, 0.26, 0.4), False, State.FAIL),
        ((0.1, 0.3, 0.26, 0.4), True, State.WARN),
    ],
)
def test_speed_is_that_of_the_best_frame_after_the_first(
    tmp_path: Path, takes: tuple[float, ...], running: bool, state: State
) -> None:
    engine = SlowEngine(*takes)
    found = recognition.speed(
        tmp_path,
        running=running,
        load=lambda name, data: engine,
        mono=lambda: engine.now,  # type: ignore[arg-type, return-value]
    )
    assert (found.name, found.state) == ("speed", state)
    assert f"{min(takes[1:]) * 1000:.0f} ms" in found.words("en")


# -- the paired kiosk -----------------------------------------------------------------------


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    opened = FakeTownship()
    opened.now_ms = SystemClock().read().wall_ms
    yield opened
    opened.close()


@pytest.fixture
def site(township: FakeTownship, tmp_path: Path) -> Iterator[Site]:
    pair(tmp_path / "kiosk", township.url, str(township.code))
    with Site(tmp_path / "kiosk") as opened:
        yield opened


def test_records_that_wait_for_days(site: Site) -> None:
    assert records.outbox(site).state is State.OK
    now = SystemClock().read()
    old = replace(
        now, wall_ms=now.wall_ms - WAITING_S * 1000 - 5000, boot_id="0" * 8 + now.boot_id[8:]
    )
    site.store.record(Draft(kind=Kind.CLOCK, detail="x"), old)
    found = records.outbox(site)
    assert (found.state, "3 d 0 h" in found.words("en")) == (State.FAIL, True)


def test_a_manifest_before_and_after_its_end(site: Site, township: FakeTownship) -> None:
    client = site.client(SystemClock())
    client.exchange()
    client.close()
    assert records.gallery(site).state is State.FAIL
    now_ms = SystemClock().read().wall_ms
    for version, lasts, state in (
        (1, EXPIRING_MS + 86_400_000, State.OK),
        (2, EXPIRING_MS - 60_000, State.WARN),
        (3, -1, State.FAIL),
    ):
        contents = _gallery(site.config.device, version)
        made = package(
            township.desk, site.keys.box_public, contents, made_ms=now_ms + lasts, days=0
        )
        site.vault.install(made, load_config(site.folder), site.keys, now_ms, site.store)
        assert records.gallery(site).state is state, version
    (box,) = (site.folder / "vault").glob("*.box")
    box.write_bytes(b"of a card that dies")
    with Site(site.folder) as again:
        found = records.gallery(again)
    assert (found.state, "cannot be read" in found.words("en")) == (State.FAIL, True)


def test_the_certificate_is_the_pinned_one(site: Site, pi: Tree) -> None:
    assert records.certificate(site, pi.machine).state is State.ABSENT  # http on loopback
    remote = {"server": "https://10.0.0.1:8443"}
    save_config(site.folder, _with(site, **remote, pin="ab" * 32))
    assert records.certificate(site, pi.machine, lambda url: b"\xab" * 32).state is State.OK
    other = records.certificate(site, pi.machine, lambda url: b"\xac" * 32)
    assert (other.state, "somebody may stand between" in other.words("en")) == (State.FAIL, True)
    save_config(site.folder, _with(site, **remote, ca="/x.crt"))
    asked = "openssl x509 -noout -enddate -in /x.crt"
    for printed, state in (
        ("notAfter=Jun 30 00:00:00 2036 GMT", State.OK),
        ("notAfter=Jun 10 00:00:00 2026 GMT", State.WARN),
        ("notAfter=Jun 10 00:00:00 2025 GMT", State.FAIL),
        ("", State.FAIL),
    ):
        pi.printed[asked] = printed
        assert records.certificate(site, pi.machine).state is state, printed


def _with(site: Site, **more: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(site.config, **more)


def _gallery(device: str, version: int = 1, *people: wire.Person) -> wire.GalleryContents:
    return wire.GalleryContents(
        device=device, version=version, model="m", dimension=4, pin_key=b"k" * 32, people=[*people]
    )


def test_people_without_a_pin_and_cards_without_a_reader(pi: Tree) -> None:
    assert records.pins(People()).state is State.ABSENT
    both = wire.Person(official="A-1", name="李强", title="", pin="hash", card=b"c" * 32)
    faceless = wire.Person(official="A-2", name="王芳", title="")
    people = People(_gallery("kkkkkkkk", 1, both))
    assert records.pins(people).state is State.OK
    assert records.pins(people).words("en") == "everybody has a PIN (1)"
    some = records.pins(People(_gallery("kkkkkkkk", 1, both, faceless)))
    assert (some.state, "王芳" in some.words("zh")) == (State.WARN, True)
    crowd = [wire.Person(official=f"B-{n}", name=f"王{n}", title="") for n in range(7)]
    many = records.pins(People(_gallery("kkkkkkkk", 1, both, *crowd)))
    assert many.words("en").startswith(
        "no PIN, and so no second way in: 王0, 王1, 王2, 王3, 王4 and 2"
    )
    assert "王4 等 7 人" in many.words("zh")
    assert devices.reader(pi.machine, people).state is State.OK
    pi.put("/proc/bus/input/devices", TOUCH)
    assert devices.reader(pi.machine, people).state is State.WARN
    pi.put("/dev/input/quxiang-card", "")
    assert devices.reader(pi.machine, people).state is State.OK


def test_everything_in_turn_on_a_pi(
    site: Site, pi: Tree, township: FakeTownship, root: Path
) -> None:
    """The whole command: a fresh kiosk on a healthy Pi lacks its gallery and was not started."""
    pi.put(MOUNTS, WELL[MOUNTS] + f"/dev/sda1 {site.folder} ext4 rw 0 0\n")
    images = pictures(*[90] * 9, half=40)
    found = {check.name: check for check in checks(
        site.folder, machine=pi.machine, opener=lambda source: FakeCamera(images, live=True)
    )}  # fmt: skip
    assert [name for name, check in found.items() if not check.ok] == ["kiosk", "gallery"]
    assert set(LOOKS) <= set(found)
    page = (root / "docs" / "deploy.md").read_text("utf-8").split("\n## 6. ")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z_, ]+) \|", page, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == set(found)
    township.down()
    (site.folder / "kiosk.toml").write_text("[voice]\nloud = 1\n", "utf-8")
    (site.folder / "wiring.toml").write_text("driver = 'none'\n", "utf-8")
    found = {
        check.name: check for check in checks(site.folder, machine=pi.machine, opener=not_opened)
    }
    bad = {name for name, check in found.items() if not check.ok}
    assert {"server", "settings", "wiring", "camera"} <= bad
    assert "internal fault" in found["camera"].words("en"), "one check's fault hides no other"
