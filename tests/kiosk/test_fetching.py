"""Updates from the township's server: real files, real signatures, real HTTP, cut anywhere."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from attendance.days import SHANGHAI
from attendance.release import make_head
from kiosk.cli import main
from kiosk.errands import line_of
from kiosk.errors import KioskError, ServerUnreachable
from kiosk.fetching import Fetcher, Nightly, UpdateRefused, is_night
from kiosk.pairing import pair
from kiosk.releases import App
from kiosk.site import Site
from kiosk.sticks import StickReleases
from scripts.make_release import make_key, read_key
from server.app import create_app
from server.cli import main as server_main
from server.config import ServerConfig
from tests.faults.releases import make_release


class Publisher:
    """The publisher's key, two releases, and a township's server that offers none yet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "server"
        make_key(folder / "key")
        seed = read_key(folder / "key")
        self.files = {n: make_release(_made(folder / "out"), seed, n) for n in (1, 2)}
        make_key(folder / "other")
        self.foreign = make_release(_made(folder / "foreign"), read_key(folder / "other"), 3)
        assert self.server("init") == 0
        self.http = make_server("127.0.0.1", 0, create_app(ServerConfig(self.data)), threaded=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def server(self, *words: str) -> int:
        return server_main([*words, "--data", str(self.data)])

    def offer(self, number: int) -> None:
        """Put a release on the server, whether or not it knows the key yet."""
        key = str(self.folder / "key.pub")
        assert self.server("release", "add", str(self.files[number]), "--key", key) == 0


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    made = Publisher(tmp_path_factory.mktemp("publisher"))
    yield made
    made.http.shutdown()


@pytest.fixture
def site(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Site]:
    """A kiosk set up with release 1."""
    capsys.readouterr()
    publisher.server("code", "--kind", "kiosk", "--site", "石桥村", "--site-kind", "village")
    pair(tmp_path / "kiosk", publisher.url, capsys.readouterr().out.strip())
    app = tmp_path / "app"
    app.mkdir()
    shutil.copy(publisher.folder / "key.pub", app / "release.key")
    (app / "releases" / "1").mkdir(parents=True)
    (app / "releases" / "1" / "complete").touch()
    (app / "current").symlink_to("releases/1")
    App(app).confirm()
    with Site(tmp_path / "kiosk") as opened:
        yield opened


def fetcher(site: Site) -> Fetcher:
    made = Fetcher(site.folder, App(site.folder.parent / "app"), line_of(site))
    made._piece = 1 << 16  # the stand-ins are small
    return made


def fetched(site: Site) -> int:
    """Steps until nothing is left; how many there were."""
    one, steps = fetcher(site), 0
    while one.step() is not None:
        steps += 1
    return steps


def test_only_what_is_signed_is_offered(
    publisher: Publisher, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, key = str(publisher.files[1]), str(publisher.folder / "key.pub")
    assert publisher.server("release", "add", one) == 1
    assert "--key" in capsys.readouterr().err
    assert publisher.server("release", "add", one, "--key", key) == 0
    assert publisher.server("release", "add", str(publisher.foreign)) == 1
    assert "not signed" in capsys.readouterr().err
    assert publisher.server(
        "release", "add", one, "--key", str(publisher.folder / "other.pub")) == 1  # fmt: skip
    cut = tmp_path / "cut.qxr"
    cut.write_bytes(publisher.files[2].read_bytes()[:-1])
    assert publisher.server("release", "add", str(cut)) == 1
    (tmp_path / "x.qxr").write_bytes(b"x" * 1000)
    assert publisher.server("release", "add", str(tmp_path / "x.qxr")) == 1
    capsys.readouterr()
    assert publisher.server("release", "list") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["1"]
    assert not [path for path in (publisher.data / "releases").iterdir() if path.name[0] == "."]


def test_a_release_comes_through_kills_and_cuts_and_is_installed(
    publisher: Publisher, site: Site
) -> None:
    assert fetched(site) == 0  # release 1 runs already
    publisher.offer(2)
    inbox = site.folder / "update"
    for number in range(1, 6):  # killed after each piece, as with the power
        pid = os.fork()
        if pid == 0:
            try:
                if fetcher(site).step() is not None:
                    os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        whole, part = publisher.files[2].read_bytes(), (inbox / ".2.part").read_bytes()
        assert whole.startswith(part)
        assert len(part) == len(_head(whole)) + (number << 16)
    publisher.http.shutdown()
    publisher.http.server_close()
    with pytest.raises(ServerUnreachable):
        fetched(site)
    port = publisher.http.server_port
    publisher.http = make_server("127.0.0.1", port, create_app(ServerConfig(publisher.data)),
                                 threaded=True)  # fmt: skip
    threading.Thread(target=publisher.http.serve_forever, daemon=True).start()
    assert fetched(site) > 1
    assert (inbox / "2.qxr").read_bytes() == publisher.files[2].read_bytes()
    app = App(site.folder.parent / "app")
    assert app.current() == 1
    assert app.install(inbox / "2.qxr", python=sys.executable) == 2
    (inbox / "2.qxr").unlink()
    assert (app.current(), app.state().trial, app.releases()) == (2, 2, [1, 2])
    assert app.stopped("timeout")
    assert app.current() == 1
    (inbox / ".2.handed").unlink()
    assert fetched(site) == 0  # what failed here is not fetched again, by its number alone


def _head(data: bytes) -> bytes:
    return b"\n".join(data.split(b"\n", 3)[:3]) + b"\n"


def test_what_came_damaged_is_fetched_anew(publisher: Publisher, site: Site) -> None:
    publisher.offer(2)
    one = fetcher(site)
    one.step()
    part = site.folder / "update" / ".2.part"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(UpdateRefused):
        fetched(site)
    assert fetched(site) > 1
    assert (site.folder / "update" / "2.qxr").exists()
    assert fetched(site) == 0
    (site.folder / "update" / "2.qxr").unlink()
    assert fetched(site) == 0  # the installer took it and did not like it: not every night anew


def test_another_publishers_release_costs_no_line(publisher: Publisher, site: Site) -> None:
    publisher.offer(1)
    (publisher.data / "releases" / f"9-{os.uname().machine}.qxr").write_bytes(
        publisher.foreign.read_bytes().replace(b'"number":3', b'"number":9')
    )
    try:
        with pytest.raises(UpdateRefused):
            fetcher(site).step()
        assert (
            not list((site.folder / "update").glob("*"))
            if (site.folder / "update").exists()
            else True
        )
    finally:
        publisher.server("release", "remove", "9")


def test_the_command_and_the_stick(
    publisher: Publisher,
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher.offer(2)
    data = ["--data", str(site.folder)]
    assert main(["update", *data]) == 1  # not set up by the installer
    monkeypatch.setenv("QUXIANG_APP", str(site.folder.parent / "app"))
    assert main(["update", *data]) == 0
    assert (site.folder / "update" / "2.qxr").exists()
    assert main(["update", *data]) == 0  # nothing newer waits
    assert main(["update", str(publisher.files[1]), *data]) == 1
    (site.folder / "update" / "2.qxr").unlink()
    assert main(["update", str(publisher.files[2]), *data]) == 0
    assert (site.folder / "update" / "2.qxr").read_bytes() == publisher.files[2].read_bytes()


def test_a_stick_put_into_a_running_kiosk(
    publisher: Publisher, site: Site, tmp_path: Path
) -> None:
    stick, machine = tmp_path / "media" / "STICK", os.uname().machine
    look = StickReleases(site.folder, fetcher(site), (str(tmp_path / "media" / "*"),))
    handed = site.folder / "update" / "2.qxr"
    assert look.turn() is False
    stick.mkdir(parents=True)
    (stick / "quxiang-9-other.qxr").write_bytes(b"of another machine")
    shutil.copy(publisher.files[1], stick / f"quxiang-1-{machine}.qxr")
    look.turn()
    assert not handed.parent.exists(), "nothing newer lies there"
    shutil.copy(publisher.files[2], stick / f"quxiang-2-{machine}.qxr")
    look.turn()
    assert handed.read_bytes() == publisher.files[2].read_bytes()
    handed.unlink()
    look.turn()
    assert not handed.exists(), "taken once"
    (stick / f"quxiang-3-{machine}.qxr").write_bytes(b"torn")
    with pytest.raises(UpdateRefused, match="damaged"):
        look.turn()
    look.turn()  # told once
    shutil.move(stick, tmp_path / "out")
    look.turn()
    (tmp_path / "out" / f"quxiang-3-{machine}.qxr").unlink()
    shutil.move(tmp_path / "out", stick)
    look.turn()
    assert handed.exists(), "taken out and put in again is another try"


def at(hour: int) -> int:
    return int(datetime(2026, 11, 25, hour, 30, tzinfo=SHANGHAI).timestamp() * 1000)


def test_nobody_fetches_in_the_busy_hours() -> None:
    assert [hour for hour in range(24) if is_night(at(hour))] == [0, 1, 2, 3, 4, 22, 23]


def test_by_day_nothing_is_asked_and_at_night_the_line_is_left_half_free(
    publisher: Publisher, site: Site
) -> None:
    publisher.offer(2)
    hour, rests = [9], []
    nightly = Nightly(fetcher(site), lambda: at(hour[0]), rests.append)
    assert nightly.turn() is False
    assert not (site.folder / "update").exists()
    hour[0] = 23
    turns = 0
    while nightly.turn():
        turns += 1
    assert turns > 1
    assert len(rests) == turns + 1
    assert (site.folder / "update" / "2.qxr").exists()


def test_a_full_card_refuses_before_anything_is_fetched(publisher: Publisher, site: Site) -> None:
    publisher.offer(1)
    huge = make_head(read_key(publisher.folder / "key"), _manifest(publisher, 1 << 50))
    place = publisher.data / "releases" / f"7-{os.uname().machine}.qxr"
    place.write_bytes(huge.text)
    try:
        with pytest.raises(KioskError, match="no room"):
            fetcher(site).step()
    finally:
        place.unlink()


def _manifest(publisher: Publisher, room: int):  # type: ignore[no-untyped-def]
    import msgspec

    from attendance.release import parse_head

    head = parse_head(publisher.files[2].read_bytes())
    return msgspec.structs.replace(head.manifest, number=7, room=room)
