"""How the server and every kiosk are, as Prometheus reads it. No label ever names a person."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from attendance.days import to_ms
from server.models import Township
from server.services.evidence import checkpoints
from server.services.township import townships
from server.services.township.townships import KioskState

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric

PREFIX = "quxiang_server"
_LABELS = ("township", "site", "device")
#: Of a kiosk: name, what it says.
_OF_KIOSK = {
    "last_contact_timestamp_seconds": "When the kiosk was last heard from",
    "complete_until_timestamp_seconds": "Every record made before has arrived",
    "outbox_records": "Records that wait at the kiosk, as it said last",
    "outbox_oldest_seconds": "Age of the oldest of them then, 0 where none waited",
    "disk_free_bytes": "Free space where the kiosk keeps its records",
    "clock_verified": "1 where the kiosk had a time proof in its boot",
    "camera_ok": "1 where the camera gave pictures",
    "lamps_ok": "1 where every lamp obeyed",
    "gallery_version": "Newest gallery that the kiosk took, 0 for none",
    "gallery_newest_version": "Version that the desk sent last",
    "gallery_expiry_timestamp_seconds": "When the manifest in force runs out",
    "rejected_records": "Records of it that the kiosk saw refused",
    "unreadable_records": "What it sent that is no record",
    "quarantined_records": "What it sent that is kept apart and uncounted",
    "set_apart": "1 for a kiosk that forked or is revoked",
}


def exposition(session: Session, data: Path, now: datetime) -> bytes:
    """Everything, in Prometheus's text format 0.0.4. `data` is the server's folder."""
    from prometheus_client import CollectorRegistry, generate_latest

    found = list(_metrics(session, data, now))

    class Once:
        def collect(self) -> Iterable[Metric]:
            return found

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    answer: bytes = generate_latest(registry)
    return answer


def _metrics(session: Session, data: Path, now: datetime) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    def gauge(name: str, what: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{PREFIX}_{name}", what, labels=list(labels))

    last = checkpoints.last_of(session)
    plain = {
        "time_seconds": ("The server's clock", to_ms(now) / 1000),
        "disk_free_bytes": ("Free space of the server's folder", shutil.disk_usage(data).free),
        "checkpoint_timestamp_seconds": ("When the newest checkpoint was signed",
                                         0 if last is None else last.at_ms / 1000),
        "checkpoint_rows": ("Rows that it covers", 0 if last is None else last.size),
    }  # fmt: skip
    for name, (what, value) in plain.items():
        one = gauge(name, what)
        one.add_metric([], float(value))
        yield one
    gauges = {name: gauge(f"kiosk_{name}", what, _LABELS) for name, what in _OF_KIOSK.items()}
    troubles = gauge("kiosk_trouble", "1 for each part that the kiosk says is wrong",
                     (*_LABELS, "part"))  # fmt: skip
    for township in session.scalars(select(Township).order_by(Township.id)).all():
        for kiosk in townships.kiosks(session, township, now):
            labels = [township.name, kiosk.site, kiosk.device]
            for name, told in _values(kiosk).items():
                if told is not None:
                    gauges[name].add_metric(labels, float(told))
            parts = kiosk.health.get("troubles")
            for part in parts if isinstance(parts, list) else ():
                troubles.add_metric([*labels, str(part)], 1)
    yield from gauges.values()
    yield troubles


def _values(kiosk: KioskState) -> dict[str, float | None]:
    """None: never told."""
    said = kiosk.health

    def seconds(moment: datetime | None) -> float | None:
        return None if moment is None else to_ms(moment) / 1000

    def number(key: str, unit: float = 1) -> float | None:
        value = said.get(key)
        return value * unit if isinstance(value, int) else None

    def is_one(key: str, *bad: str) -> float | None:
        return None if key not in said else said[key] not in (None, *bad)

    heard = kiosk.last_contact is not None
    return {
        "last_contact_timestamp_seconds": seconds(kiosk.last_contact),
        "complete_until_timestamp_seconds": seconds(kiosk.complete_until),
        "outbox_records": kiosk.pending if heard else None,
        "outbox_oldest_seconds": number("oldest_s"),
        "disk_free_bytes": number("disk_free_mb", 1_000_000),
        "clock_verified": None if "clock" not in said else said["clock"] == "verified",
        "camera_ok": None if "camera" not in said else said["camera"] in ("ok", "blank"),
        "lamps_ok": is_one("lamps", "", "unknown"),
        "gallery_version": kiosk.gallery_on_device if heard else None,
        "gallery_newest_version": kiosk.gallery_version,
        "gallery_expiry_timestamp_seconds": number("gallery_expires_ms", 0.001),
        "rejected_records": number("rejected"),
        "unreadable_records": kiosk.rejected,
        "quarantined_records": kiosk.quarantined,
        "set_apart": kiosk.state != "ok",
    }
