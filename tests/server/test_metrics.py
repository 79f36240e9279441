"""What Prometheus reads of the server and its kiosks, and who may."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from attendance import wire
from server.services.paired import devices
from tests.server.conftest import MORNING, Kiosk, Machine, Office, ms
from tests.server.web_seed import sign_in

HEALTH = wire.Health(
    camera="fault", lamps="rgb", clock="doubtful", disk_free_mb=250, oldest_s=7200, rejected=2,
    gallery_expires_ms=ms(MORNING + timedelta(days=9)), troubles=["camera", "disk"],
)  # fmt: skip


def read(office: Office, **headers: str) -> dict[tuple[str, str], float]:
    """Samples by name and device (with the part of a trouble)."""
    answer = office.client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name.removeprefix("quxiang_server_"),
         sample.labels.get("device", "") + sample.labels.get("part", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }  # fmt: skip


def test_all_that_a_caretaker_watches(office: Office, desk: Machine, village: Kiosk) -> None:
    office.user("shen", "inspector")
    village.record()
    village.sync()
    village.record()
    village.cursor(pending=3, gallery=4, health=HEALTH)
    me = village.device
    found = read(office)
    wanted = {
        "kiosk_last_contact_timestamp_seconds": ms(MORNING) / 1000,
        "kiosk_outbox_records": 3,
        "kiosk_outbox_oldest_seconds": 7200,
        "kiosk_disk_free_bytes": 250e6,
        "kiosk_clock_verified": 0,
        "kiosk_camera_ok": 0,
        "kiosk_lamps_ok": 1,
        "kiosk_gallery_version": 4,
        "kiosk_gallery_newest_version": 0,
        "kiosk_gallery_expiry_timestamp_seconds": ms(MORNING + timedelta(days=9)) / 1000,
        "kiosk_rejected_records": 2,
        "kiosk_quarantined_records": 0,
        "kiosk_set_apart": 0,
    }
    assert {name: found[name, me] for name in wanted} == wanted
    assert found["kiosk_trouble", me + "camera"] == found["kiosk_trouble", me + "disk"] == 1
    assert found["disk_free_bytes", ""] > 0
    assert found["checkpoint_rows", ""] > 0
    assert "zhang-3" not in office.client().get("/metrics").text, "nobody is named"

    # The same on the page, in words.
    browser = office.client()
    sign_in(browser, "shen")
    pages = {}
    for lang in ("zh", "en"):
        browser.set_cookie("quxiang_lang", lang)
        pages[lang] = re.sub(r"\s+", " ", browser.get("/sites").text)
    for said in ("摄像头：故障", "时钟：存疑", "（MB）：250", "2 小时", "2026-03-27"):
        assert said in pages["zh"], said
    for said in (
        "camera: at fault", "clock: doubtful", "free disk (MB): 250",
        "lamps: three pins a lamp (rgb)", "oldest record waits 2 h",
        "not accepted: 2", "gallery until 2026-03-27", "needs attention: camera / storage",
    ):  # fmt: skip
        assert said in pages["en"], said

    with office.context.database.transaction() as session:
        devices.revoke(session, me, office.clock())
    village.upload(2)
    found = read(office)
    assert (found["kiosk_quarantined_records", me], found["kiosk_set_apart", me]) == (1, 1)
    assert "1 in quarantine" in browser.get("/sites").text


def test_a_kiosk_that_never_spoke_says_nothing(office: Office, village: Kiosk) -> None:
    found = read(office)
    assert ("kiosk_camera_ok", village.device) not in found
    assert ("kiosk_outbox_records", village.device) not in found
    assert found["kiosk_quarantined_records", village.device] == 0


TOKEN = "a-token-of-some-length-7"


@pytest.mark.parametrize(
    ("remote", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.168.1.7", {}, 404),
        ("192.168.1.7", {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("192.168.1.7", {"Authorization": f"Bearer {TOKEN}x"}, 404),
        ("192.168.1.7", {"Authorization": "Bearer "}, 404),
        ("192.168.1.7", {"Authorization": "Bearer 令牌"}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_only_this_machine_or_the_token(
    metrics_office: Office, remote: str, headers: dict[str, str], status: int
) -> None:
    client = metrics_office.client()
    where = {"REMOTE_ADDR": remote}
    assert client.get("/metrics", headers=headers, environ_overrides=where).status_code == status
    metrics_office.config.metrics_token.write_text("short\n")
    if remote == "192.168.1.7":
        sent = {"Authorization": "Bearer short"}
        answer = client.get("/metrics", headers=sent, environ_overrides=where)
        assert answer.status_code == 404, "too short to be one"


@pytest.fixture
def metrics_office(office: Office) -> Office:
    """One whose administrator made a token."""
    office.config.metrics_token.write_text(TOKEN + "\n")
    return office
