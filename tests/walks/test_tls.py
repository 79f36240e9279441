"""Off loopback everything runs over TLS, with a certificate of the township's own."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.walks.certificates import in_between, self_signed
from tests.walks.town import BIN, Town


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """What the README's openssl line makes, for 127.0.0.1."""
    return self_signed(tmp_path)


def test_pairing_and_pages_over_tls(
    tmp_path: Path, free_port: int, environ: dict[str, str], certificate: tuple[Path, Path]
) -> None:
    made, key = certificate
    town = Town(tmp_path / "town", free_port, environ)
    town.folder.mkdir()
    town.init()
    url = f"https://127.0.0.1:{free_port}"
    serve = ["run", "--data", town.data("server"), "--port", str(free_port), "--workers", "1"]
    half = town.run("quxiang-server", *serve, "--tls-cert", str(made), code=1)
    assert len(half.stderr.strip().splitlines()) == 1
    wrong = town.run("quxiang-server", *serve, "--tls-cert", str(made), "--tls-key", str(made),
                     code=1)  # fmt: skip
    assert len(wrong.stderr.strip().splitlines()) == 1

    with (town.folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [str(BIN / "quxiang-server"), *serve, "--tls-cert", str(made), "--tls-key", str(key)],
            env=environ, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(400):
            try:
                requests.get(f"{url}/healthz", timeout=2, verify=str(made))
                break
            except (requests.ConnectionError, requests.Timeout):
                assert server.poll() is None, (town.folder / "server.log").read_text()
                time.sleep(0.05)
        code = town.code("--kind", "kiosk", "--site", "东村")
        pair = ["pair", "--data", town.data("kiosk"), "--server", url, "--code", code]
        bad = town.run("quxiang-kiosk", *pair, "--ca", str(key), code=1)
        assert len(bad.stderr.strip().splitlines()) == 1
        assert "certificate" in bad.stderr
        stick = tmp_path / "stick.crt"
        stick.write_bytes(made.read_bytes())
        town.run("quxiang-kiosk", *pair, "--ca", str(stick))
        desk = ["--server", url, "--ca", str(stick), "--code", town.code("--kind", "desk")]
        town.run("quxiang-enroll", "pair", "--data", town.data("enroll"), *desk)
        stick.unlink()  # both keep a copy
        town.run("quxiang-enroll", "sync", "--data", town.data("enroll"))
        town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
        kept = str(tmp_path / "town/kiosk/server.crt")
        login = requests.get(f"{url}/login", timeout=10, verify=kept)
        assert login.status_code == 200
        assert "; secure" in login.headers["Set-Cookie"].lower()
    finally:
        server.terminate()
        assert server.wait(60) == 0


class Secured:
    """`quxiang-server run` over TLS, to be started again with another certificate."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, made: Path, key: Path) -> None:
        self.stop()
        with (self.town.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "quxiang-server"), "run", "--data", self.town.data("server"), "--port",
                 str(self.town.port), "--workers", "1", "--tls-cert", str(made), "--tls-key",
                 str(key)],
                env=self.town.environ, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(400):
            try:
                requests.get(f"{self.url}/healthz", timeout=2, verify=str(made))
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self.process.poll() is None, (self.town.folder / "server.log").read_text()
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(60) == 0
            self.process = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.town.port}"


def kept(file: Path) -> dict[str, str]:
    return json.loads(file.read_text())


def test_the_code_alone_pins_the_certificate_and_somebody_in_between_is_noticed(
    tmp_path: Path, free_port: int, environ: dict[str, str], certificate: tuple[Path, Path]
) -> None:
    town = Town(tmp_path / "town", free_port, environ)
    town.folder.mkdir()
    town.init()
    server = Secured(town)
    server.start(*certificate)
    desk, kiosk = town.folder / "enroll", town.folder / "kiosk"
    try:
        with in_between(tmp_path, free_port) as other:
            codes = {
                "quxiang-enroll": (town.code("--kind", "desk"), desk),
                "quxiang-kiosk": (town.code("--kind", "kiosk", "--site", "东村"), kiosk),
            }
            for name, (code, data) in codes.items():
                pair = ["pair", "--data", str(data), "--code", code, "--server"]
                refused = town.run(name, *pair, other.url, code=1)
                assert "its keys or certificate differ" in refused.stderr
                assert b"GET /api/v1/pair" in other.heard, "he was asked"
                secret = code.replace("-", "")[:8].encode()
                assert secret not in other.heard.replace(b"-", b""), "and told nothing"
                town.run(name, *pair, server.url)
            own = {kiosk / "kiosk.json": "quxiang-kiosk", desk / "desk.json": "quxiang-enroll"}
            for file, name in own.items():
                right = kept(file)
                assert right["ca"] is None
                assert len(right["pin"]) == 64
                file.write_text(json.dumps({**right, "server": other.url}))
                refused = town.run(name, "sync", "--data", str(file.parent), code=1)
                assert "certificate" in refused.stderr
                assert kept(file)["pin"] == right["pin"]
                file.write_text(json.dumps(right))
                town.run(name, "sync", "--data", str(file.parent))
        # The certificate is renewed: our server's own key vouches for the next one.
        before = {file: kept(file)["pin"] for file in own}
        server.start(*self_signed(tmp_path, "renewed"))
        for file, name in own.items():
            town.run(name, "sync", "--data", str(file.parent))
            assert kept(file)["pin"] != before[file]
            town.run(name, "sync", "--data", str(file.parent))
    finally:
        server.stop()


def test_serving_the_network_without_tls_is_warned_of(
    tmp_path: Path, free_port: int, environ: dict[str, str]
) -> None:
    town = Town(tmp_path / "town", free_port, environ)
    town.folder.mkdir()
    town.init()
    command = [str(BIN / "quxiang-server"), "run", "--data", town.data("server"), "--workers", "1"]
    said = {}
    for host in ("0.0.0.0", "127.0.0.1"):
        server = subprocess.Popen(
            [*command, "--host", host, "--port", str(free_port)],
            env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        assert "serving on" in server.stdout.readline()
        server.terminate()
        said[host] = server.communicate(timeout=60)[1]
        assert server.returncode == 0
    assert "without TLS" in said["0.0.0.0"]
    assert said["127.0.0.1"] == ""
