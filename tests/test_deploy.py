"""The installers and units, as far as they can be checked without a machine to install."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import server.web  # noqa: F401 (its views say what they take)
from attendance import wire
from attendance.release import parse_head
from kiosk.release_file import ReleaseRefused, read_head
from kiosk.releases import App
from scripts.make_release import make_key, pack, read_key, write_release
from server.web.security import UPLOADS

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
SCRIPTS = [*DEPLOY.glob("*.sh"), *(DEPLOY / "bin").iterdir()]
UNITS = sorted((DEPLOY / "systemd").iterdir())
SESSION = {"cage", "libpam-systemd", "chromium", "chromium-sandbox", "xwayland"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_parse_and_may_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111, "executable"
    shell = script.read_text("utf-8").splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_units_name_files_that_are_installed(unit: Path) -> None:
    """Every program of ours that a unit starts is put there by an installer."""
    text = unit.read_text("utf-8")
    for name in re.findall(r"/var/lib/quxiang/app/bin/(\S+)", text):
        assert (DEPLOY / "bin" / name).is_file()
    if "ExecStart" in text and unit.name not in ("quxiang-screen.service", "quxiang-usb@.service"):
        assert "NoNewPrivileges=yes" in text
        assert "ProtectSystem=strict" in text


def test_the_kiosk_unit_is_watched_and_gives_a_release_a_minute() -> None:
    text = (DEPLOY / "systemd" / "quxiang-kiosk.service").read_text("utf-8")
    for line in ("Type=notify", "WatchdogSec=30", "Restart=always", "TimeoutStartSec=60"):
        assert f"\n{line}\n" in text
    assert "RuntimeWatchdogSec=14s" in (DEPLOY / "config" / "system.conf").read_text("utf-8")


def test_the_keeper_of_releases_needs_the_standard_library_alone() -> None:
    for name in ("releases.py", "release_file.py"):
        for node in ast.walk(ast.parse((ROOT / "kiosk" / name).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert (
                    module == "kiosk.release_file"
                    or module.split(".")[0] in sys.stdlib_module_names
                )
            elif isinstance(node, ast.Import):
                assert all(
                    alias.name.split(".")[0] in sys.stdlib_module_names for alias in node.names
                )


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A signed file with one small model in it."""
    make_key(tmp_path / "key")
    (tmp_path / "in" / "models").mkdir(parents=True)
    (tmp_path / "in" / "models" / "m").write_bytes(b"m" * 100)
    return write_release(
        tmp_path, read_key(tmp_path / "key"), pack(tmp_path / "in"), number=3, version="0.3",
        machine="x86_64", pythons=["3.11"],
    )  # fmt: skip


def test_both_readers_of_a_head_agree(release: Path) -> None:
    head = parse_head(release.read_bytes())
    with release.open("rb") as file:
        manifest, line, signature = read_head(file)
        assert file.tell() == len(head.text)
    assert (line, signature, manifest["number"]) == (head.line, head.signature, 3)
    assert head.size == release.stat().st_size


def refused(app: App, file: Path) -> str:
    with pytest.raises(ReleaseRefused) as caught:
        app.install(file)
    assert caught.value.zh != str(caught.value)
    assert app.current() is None
    return str(caught.value)


def test_what_is_not_signed_whole_and_newer_is_refused(tmp_path: Path, release: Path) -> None:
    app = App(tmp_path / "app")
    app.folder.mkdir()
    assert "no release.key" in refused(app, release)
    shutil.copy(tmp_path / "key.pub", app.folder / "release.key")
    data = release.read_bytes()
    for change, why in (
        (data.replace(b'"number":3', b'"number":4'), "not signed"),
        (data[:-1] + b"x", "damaged"),
        (data[:-1], "cut short"),
        (data + b"x", "damaged"),
        (b"a picture", "no release"),
        (data.replace(b"QUXIANG", b"quxiang"), "no release"),
    ):
        release.write_bytes(change)
        assert why in refused(app, release)
    make_key(tmp_path / "other")
    release.write_bytes(data)
    shutil.copy(tmp_path / "other.pub", app.folder / "release.key")
    assert "not signed" in refused(app, release)
    shutil.copy(tmp_path / "key.pub", app.folder / "release.key")
    app.confirm()
    app.note("x")
    state = app.state()
    state.highest = 3
    app._save(state)
    machine = refused(app, release)
    assert "not newer" in machine or "this machine is" in machine
    link = tmp_path / "link.qxr"
    link.symlink_to(release)
    with pytest.raises(OSError, match="symbolic"):
        app.install(link)


def test_nginx_passes_on_what_the_server_takes() -> None:
    """The limits of the proxy are above the server's own, so that a user reads our sentence."""
    text = (DEPLOY / "nginx" / "quxiang.conf").read_text("utf-8")
    usual, desk = (int(n) << 20 for n in re.findall(r"client_max_body_size (\d+)m;", text))
    assert usual > max(UPLOADS.values(), default=0)
    assert usual > wire.MAX_COMPRESSED
    assert desk > wire.MAX_GALLERY
    for name in ("X-Forwarded-For $remote_addr", "X-Forwarded-Proto $scheme", 'Forwarded ""'):
        assert f"proxy_set_header {name};" in text


@pytest.mark.parametrize(
    ("suite", "screen", "lacking"),
    [("bookworm", "yes", set()), ("trixie", "yes", {"xwayland"}), ("bookworm", "no", SESSION)],
)
def test_the_screens_session_has_all_that_it_needs_to_start(
    suite: str, screen: str, lacking: set[str]
) -> None:
    """bookworm's cage ends where there is no Xwayland, which no package of its own asks for."""
    text = (DEPLOY / "install-kiosk.sh").read_text("utf-8")
    listed = text[text.index("\nwanted=(") : text.index("\nmissing=()")]
    setting = f"screen={screen} machine=x86_64 VERSION_CODENAME={suite} readonly=no partition=\n"
    done = subprocess.run(
        ["bash", "-euc", f"apt-cache() {{ :; }}\n{setting}{listed}\necho ${{wanted[@]}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) & SESSION == SESSION - lacking
