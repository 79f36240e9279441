"""How this kiosk is: one reading for the server, for Prometheus, and for what must be told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attendance.clock import ClockClass
from attendance.days import MAX_MS, MIN_MS
from attendance.wire import Health
from hardware.inputs import WayIn
from kiosk.card import free_mb
from kiosk.clock import Clock
from kiosk.display import Display
from kiosk.errors import StoreUnusable
from kiosk.refusals import refusals
from kiosk.store import Store
from kiosk.troubles import Trouble
from kiosk.vault import Vault

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LOW_MB = 300
"""Less free space than this is told: a year of 200 records a day takes about 100 MB."""
FULL_MB = 2
"""Less than this is full for whatever else wants room; the database keeps a reserve of its own."""
WAITING_S = 3 * 86_400
"""A record that waits this long for the server is told; villages lose their line for days."""
EXPIRING_MS = 14 * 86_400_000
"""A gallery's manifest that runs out this soon is told, in time for a walk with a USB stick."""

RENEWED_MS = 30 * 86_400_000
"""A database that was damaged is told so long after it was begun anew."""


@dataclass(frozen=True)
class Condition:
    """Everything a caretaker would ask. None: not known, or the store cannot be read now.

    `oldest_s` is the age of the oldest record that waits for an ack, 0 where none waits; `heard_ms`
    and `expires_ms` are Unix milliseconds; `now_ms` the true time as well as the kiosk knows it.
    """

    now_ms: int
    pending: int | None = None
    oldest_s: int | None = None
    rejected: int | None = None
    records: int | None = None
    free_mb: int | None = None
    clock: ClockClass = ClockClass.C
    wall_off_ms: int | None = None
    camera: str = ""
    lamps: str = ""
    gallery: int = 0
    expires_ms: int | None = None
    heard_ms: int | None = None
    way: WayIn = WayIn.UNKNOWN
    troubles: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)

    def health(self) -> Health:
        """As the server is told."""
        return Health(
            camera=self.camera or "starting",
            lamps=self.lamps or "unknown",
            clock="doubtful" if self.clock is ClockClass.C else "verified",
            disk_free_mb=self.free_mb,
            refused=dict(self.refused),
            oldest_s=self.oldest_s,
            rejected=self.rejected,
            gallery_expires_ms=None
            if self.expires_ms is None
            else min(max(self.expires_ms, MIN_MS), MAX_MS),
            troubles=[part[:64] for part in self.troubles[:20]],
        )

    def warnings(self) -> dict[str, Trouble | None]:
        """What time alone brings about: each by its key, None where it is well."""
        return {
            "disk": _low(self.free_mb),
            "outbox": _waiting(self.oldest_s),
            "touch": NO_WAY_IN if self.way is WayIn.NONE else None,
        }

    def shown(self) -> dict[str, int | str | None]:
        """As the page shows it, coarse enough that it is seldom sent anew."""
        return {
            "clock": self.clock.value,
            "camera": self.camera,
            "lamps": self.lamps,
            "free_mb": None if self.free_mb is None else self.free_mb // 10 * 10,
            "oldest_s": None if self.oldest_s is None else self.oldest_s // 60 * 60,
            "rejected": self.rejected,
            "expires_ms": self.expires_ms,
        }


NO_WAY_IN = Trouble(
    "touch",
    ("触摸屏没有反应", "The touch screen is missing"),
    (
        "人脸和刷卡照常；请检查触摸屏的排线，或插上 USB 键盘",
        "faces and cards go on; check the screen's ribbon, or plug in a USB keyboard",
    ),
)


def _low(mb: int | None) -> Trouble | None:
    if mb is None or mb >= LOW_MB:
        return None
    full = mb < FULL_MB
    return Trouble(
        "disk",
        ("存储已满", "Storage is full") if full else ("存储空间不足", "Storage is nearly full"),
        ("请联系技术人员清理或更换存储卡", "have a technician free space or put in a larger card"),
    )


def _waiting(oldest_s: int | None) -> Trouble | None:
    if oldest_s is None or oldest_s < WAITING_S:
        return None
    return Trouble(
        "outbox",
        ("记录多日未上传", "Records have waited for days"),
        (
            "登记照常；请检查网络，并把今日链头码抄入纸质台账",
            "recording goes on; check the network, and write today's head code into the paper log",
        ),
    )


def expiring(expires_ms: int | None, now_ms: int) -> Trouble | None:
    """A manifest that ran out, or soon will; both Unix milliseconds."""
    if expires_ms is None or now_ms < expires_ms - EXPIRING_MS:
        return None
    if now_ms >= expires_ms:
        what = ("人脸库清单已过期", "The gallery's manifest has expired")
    else:
        what = ("人脸库清单即将过期", "The gallery's manifest expires soon")
    return Trouble(
        "gallery",
        what,
        (
            "登记照常；请在登记台运行 quxiang-enroll sync，或用 U 盘导入",
            "recording goes on; run quxiang-enroll sync at the desk, or bring a USB file",
        ),
    )


def unreadable(version: int, taken: int) -> Trouble | None:
    """A gallery that the kiosk took and cannot read any more: `version` is in force, `taken` the
    highest that it had."""
    if version >= taken:
        return None
    return Trouble(
        "gallery",
        ("人脸库读不出", "The gallery cannot be read"),
        (
            "认不出的可输入编号和密码签到；联网后自动重新取用，或用 U 盘导入；再次出现请更换存储卡",
            "who is not recognised checks in by id and PIN; it is fetched again with the next "
            "contact, or bring a USB file; put in another card if this comes back",
        ),
    )


def renewed(mended_ms: int | None, now_ms: int) -> Trouble | None:
    """A card that spoilt the database not long ago; both Unix milliseconds."""
    if mended_ms is None or now_ms - mended_ms > RENEWED_MS:
        return None
    return Trouble(
        "disk",
        ("存储卡损坏过数据库", "The card has damaged the database"),
        (
            "已重新开始记录，旧文件保留在本机；请更换存储卡",
            "recording was begun anew, the old file is kept; have the card replaced",
        ),
    )


class Survey:
    """Looks at the parts of a running kiosk. `look` may be called from any thread."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        display: Display,
        clock: Clock,
        *,
        camera: Callable[[], str],
        lamps: Callable[[], str],
        troubles: Callable[[], Iterable[str]],
        way: Callable[[], WayIn],
        room: Callable[[Path], int | None] = free_mb,
    ) -> None:
        self._store = store
        self._vault = vault
        self._display = display
        self._clock = clock
        self._camera = camera
        self._lamps = lamps
        self._troubles = troubles
        self._way = way
        self._room = room

    def look(self) -> Condition:
        """The kiosk now."""
        manifest = self._vault.manifest()
        now_ms = self._display.now_ms()
        pending = oldest = rejected = records = None
        refused: Mapping[str, int] = {}
        with contextlib.suppress(StoreUnusable):
            pending = self._store.pending()
            oldest = self._store.oldest_waiting_s(self._clock.read(), now_ms)
            rejected = self._store.rejected_count()
            records = self._store.head().seq
            refused = refusals(self._store)
        return Condition(
            now_ms=now_ms,
            pending=pending,
            oldest_s=oldest,
            rejected=rejected,
            records=records,
            free_mb=self._room(self._store.path.parent),
            clock=ClockClass.A if self._display.sure else ClockClass.C,
            wall_off_ms=self._display.wall_off_ms(),
            camera=self._camera(),
            lamps=self._lamps(),
            way=self._way(),
            gallery=self._vault.version,
            expires_ms=None if manifest is None else manifest.expires_ms,
            heard_ms=self._display.heard_at_ms(),
            troubles=tuple(dict.fromkeys(self._troubles())),
            refused=refused,
        )

    def metrics(self) -> bytes:
        """As Prometheus reads it, text format 0.0.4."""
        return exposition(self.look())


def exposition(now: Condition) -> bytes:
    """A reading in Prometheus's text format 0.0.4. No label ever names a person."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Once:
        def collect(self) -> Iterable[Metric]:
            return _metrics(now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry)


def _metrics(now: Condition) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    def seconds(ms: int | None) -> float | None:
        return None if ms is None else ms / 1000

    gauges: tuple[tuple[str, str, float | None], ...] = (
        ("outbox_records", "Records that no ack has answered yet", now.pending),
        ("outbox_oldest_seconds", "Age of the oldest of them, 0 where there is none", now.oldest_s),
        ("rejected_records", "Records that the server could not use", now.rejected),
        ("last_record_number", "Number of the newest record of this epoch", now.records),
        (
            "disk_free_bytes",
            "Free space where the records are kept",
            None if now.free_mb is None else now.free_mb * 1_000_000,
        ),
        ("clock_verified", "1 after a time proof in this boot", now.clock is not ClockClass.C),
        (
            "wall_clock_ahead_seconds",
            "How far the wall clock is off, 0 within two minutes",
            seconds(now.wall_off_ms),
        ),
        ("last_contact_timestamp_seconds", "When the server last answered", seconds(now.heard_ms)),
        ("gallery_version", "Version of the gallery in force, 0 for none", now.gallery),
        (
            "gallery_expiry_timestamp_seconds",
            "When the gallery's manifest runs out",
            seconds(now.expires_ms),
        ),
        ("camera_ok", "1 while the camera gives pictures", now.camera in ("ok", "blank")),
        ("lamps_ok", "1 while every lamp obeys", now.lamps not in ("", "unknown")),
    )
    for name, what, value in gauges:
        if value is not None:
            yield GaugeMetricFamily(f"quxiang_kiosk_{name}", what, float(value))
    trouble = GaugeMetricFamily(
        "quxiang_kiosk_trouble", "1 for each part that something is wrong with", labels=["part"]
    )
    for part in now.troubles:
        trouble.add_metric([part], 1)
    yield trouble
    refused = GaugeMetricFamily(
        "quxiang_kiosk_refusals",
        "How often nobody was recorded since the kiosk was made",
        labels=["reason"],
    )
    for reason, count in now.refused.items():
        refused.add_metric([reason], count)
    yield refused
