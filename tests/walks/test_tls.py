"""Off loopback everything runs over TLS, with a certificate of the township's own."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.walks.town import BIN, Town


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """What the README's openssl line makes, for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    made, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=quxiang.township",
         "-addext", "subjectAltName=DNS:quxiang.township,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


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
            except requests.ConnectionError:
                assert server.poll() is None, (town.folder / "server.log").read_text()
                time.sleep(0.05)
        code = town.code("--kind", "kiosk", "--site", "东村")
        pair = ["pair", "--data", town.data("kiosk"), "--server", url, "--code", code]
        refused = town.run("quxiang-kiosk", *pair, code=1)
        assert len(refused.stderr.strip().splitlines()) == 1, "a certificate nobody vouches for"
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
        assert server.wait(20) == 0


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
        said[host] = server.communicate(timeout=20)[1]
        assert server.returncode == 0
    assert "without TLS" in said["0.0.0.0"]
    assert said["127.0.0.1"] == ""
