"""What a kiosk does between frames: mail of the sync thread, galleries, clocks, the board."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable

from attendance.errors import QuxiangError
from attendance.statuses import Kind
from kiosk.checkin import CheckinService
from kiosk.clock import Clock
from kiosk.condition import Condition, expiring, renewed, unreadable
from kiosk.display import Display
from kiosk.errors import ServerUnreachable, StoreUnusable
from kiosk.events import EventLog
from kiosk.exchange import SyncReport
from kiosk.people import People
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Draft, Store
from kiosk.troubles import Trouble, Troubles
from kiosk.vault import Vault, gallery_taken
from recognition.errors import RecognitionError
from recognition.gallery import Gallery

LOOK_S = 1.0
"""How often the kiosk looks whether another process recorded or imported something."""
WARN_S = 4.0
"""How often space, what waits and what runs out are looked at."""
REFRESH_S = 10.0
"""How often the board is computed anew although nothing happened: leave ends, days change."""
RETRY_S = 1.0
"""Between two tries to record somebody who stands there while the store fails."""
CLOCK_STEP_MS = 120_000
"""A wall clock whose error changed by this much is written into the chain again (evidence.md)."""

STORE = ("暂时无法记录", "Nothing can be recorded")
LAMPS = ("灯板故障", "The lamp board has a fault")
REFUSED = ("新人脸库未采用", "A new gallery was not taken")
OTHER_DESK = Trouble(
    "gallery",
    ("服务器给出了另一个登记台", "The server names another enrolment desk"),
    (
        "未采用；确已更换登记台的，在本机运行 quxiang-kiosk desk 指纹（指纹以登记台屏幕为准）",
        "it is not taken; if the desk was replaced, run quxiang-kiosk desk FINGERPRINT here, with "
        "the one that the desk's own screen shows",
    ),
)
BLIND = ("人脸识别不可用", "Face recognition is not available")

Mail = SyncReport | QuxiangError


class StoreHealth:
    """Tells that the store failed once, shows it while it lasts, and finds out when it is over."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        feed: ScreenFeed,
        troubles: Troubles,
        mono: Callable[[], float],
    ) -> None:
        self._store = store
        self._events = events
        self._feed = feed
        self._troubles = troubles
        self._mono = mono
        self._bad = False
        self._retry_at = 0.0

    @property
    def resting(self) -> bool:
        """It failed a moment ago: do not try again with every frame."""
        return self._bad and self._mono() < self._retry_at

    def failed(self, error: StoreUnusable) -> None:
        """Nothing can be recorded."""
        self._retry_at = self._mono() + RETRY_S
        if not self._bad:
            self._bad = True
            self._events.fault("store", str(error))
        words = error.words("zh"), error.words("en")
        self._feed.fault("store", {"zh": words[0], "en": words[1]})
        self._troubles.set("store", Trouble("store", STORE, words), tell=False)

    def works(self) -> None:
        """Something was recorded."""
        if self._bad:
            self._bad = False
            self._feed.fault("store", None)
            self._troubles.set("store", None)

    def probe(self) -> None:
        """Only a write that works shows that recording works again. Raises StoreUnusable."""
        if self._bad:
            self._store.set_meta(store_probe=str(self._mono()))
            self.works()


class Upkeep:
    """Belongs to whoever holds the kiosk's lock; `report` may be called from anywhere.

    sighted: whether there is a gallery that faces can be compared with.
    """

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        service: CheckinService,
        gallery: Gallery,
        display: Display,
        events: EventLog,
        feed: ScreenFeed,
        troubles: Troubles,
        clock: Clock,
        live: bool,
        mono: Callable[[], float] = time.monotonic,
        card: Callable[[], StoreUnusable | None] | None = None,
        survey: Callable[[], Condition] | None = None,
    ) -> None:
        self.health = StoreHealth(store, events, feed, troubles, mono)
        self._card = card
        self._survey = survey
        self.sighted = False
        self._store = store
        self._vault = vault
        self._service = service
        self._gallery = gallery
        self._display = display
        self._events = events
        self._feed = feed
        self._troubles = troubles
        self._clock = clock
        self._live = live
        self._mono = mono
        self._mail: queue.SimpleQueue[Mail] = queue.SimpleQueue()
        self._gallery_version = -1
        self._generation: object = None
        self._look_at = self._refresh_at = self._warn_at = 0.0
        self._sync_fault: str | None = None
        self._wall_off: int | None = None

    def report(self, mail: Mail) -> None:
        """Take what an exchange brought, or why there was none; looked at in the next turn."""
        self._mail.put(mail)

    def turn(self) -> None:
        """Mail, other processes' doings, and what time alone changes. Cheap when nothing is due."""
        now = self._mono()
        self._display.tick_lamps()
        changed = False
        while not self._mail.empty():
            self._read(self._mail.get())
            changed = True
        if not changed and now < self._look_at:
            return
        self._look_at = now + LOOK_S
        if now >= self._warn_at:
            self._warn_at = now + WARN_S
            self._warn()
        try:
            fault = self._card() if self._card else None
            if fault is not None:
                raise fault
            self.health.probe()
        except StoreUnusable as error:
            self.health.failed(error)
        try:
            generation = self._store.generation()
            fresh = self._vault.version != self._gallery_version
            if fresh or changed:
                self._load_people()
            if fresh or changed or generation != self._generation:
                self._display.load_anchor()
            elif now < self._refresh_at and not self._display.lamps_due:
                self._display.tick()
                return
            self._check_clock()
        except StoreUnusable as error:
            self.health.failed(error)
        self.refresh()

    def _warn(self) -> None:
        """What time alone brings about, before it stops anything."""
        manifest = self._vault.manifest()
        ends = None if manifest is None else manifest.expires_ms
        self._troubles.set("expiring", expiring(ends, self._display.now_ms()))
        with contextlib.suppress(StoreUnusable):
            taken = gallery_taken(self._store)
            self._troubles.set("vault", unreadable(self._vault.version, taken))
            mended = self._store.number("mended_ms")
            self._troubles.set("card", renewed(mended, self._display.now_ms()))
        if self._survey is not None:
            now = self._survey()
            self._feed.update(condition=now.shown())
            for key, trouble in now.warnings().items():
                self._troubles.set(key, trouble)

    def refresh(self) -> None:
        """The board as it is now, on the lamps and then on the page."""
        self._refresh_at = self._mono() + REFRESH_S
        try:
            self._display.refresh(self._service.people)
            self._generation = self._store.generation()
        except StoreUnusable as error:
            self.health.failed(error)
        failure = self._display.lamp_failure
        words = (failure.words("zh"), failure.words("en")) if failure else None
        self._troubles.set("lamps", words and Trouble("lamps", LAMPS, words), tell=False)

    def _read(self, mail: Mail) -> None:
        if not isinstance(mail, SyncReport):
            self._display.unheard()
            # Told once until it changes: a village may be offline for a week.
            word = "unreachable" if isinstance(mail, ServerUnreachable) else str(mail)
            if word != self._sync_fault:
                self._sync_fault = word
                self._events.fault("sync", str(mail))
            return
        self._sync_fault = None
        self._events.sync(mail.sent, mail.stored, mail.duplicate, mail.rejected, mail.pending)
        bad = mail.gallery_fault
        refused = None
        if bad is not None:
            refused = Trouble("gallery", REFUSED, (bad.words("zh"), bad.words("en")))
        self._troubles.set("refused", refused)
        self._troubles.set("desk", OTHER_DESK if mail.desk_changed else None)
        try:
            self._display.heard(mail)
        except StoreUnusable as error:
            self.health.failed(error)

    def _load_people(self) -> None:
        """Take the gallery in force and the last snapshot; compare with them from now on."""
        contents = self._vault.contents()
        people = People(contents, self._display.snapshot)
        self._service.use(people)
        if people.version == self._gallery_version:
            return
        self._gallery_version = people.version
        entries = people.gallery_entries()
        try:
            self._gallery.replace(entries, people.model if entries else None)
            self.sighted = contents is not None
            self._feed.fault("recognition", None)
            self._troubles.set("recognition", None)
        except RecognitionError as error:
            self._gallery.replace([])
            self.sighted = False
            words = error.words("zh"), error.words("en")
            self._feed.fault("recognition", {"zh": words[0], "en": words[1]})
            self._troubles.set("recognition", Trouble("recognition", BLIND, words), tell=False)
            self._events.fault("recognition", str(error))
        self._feed.update(waiting=contents is None)

    def _check_clock(self) -> None:
        """Write into the chain that the wall clock is wrong, once for each change."""
        off = self._display.wall_off_ms() if self._live else None
        if off is None or (self._wall_off is None and off == 0):
            return
        if self._wall_off is not None and abs(off - self._wall_off) <= CLOCK_STEP_MS:
            return
        said = f"{off / 1000:+.0f} s from" if off else "right again by"
        self._store.record(
            Draft(kind=Kind.CLOCK, detail=f"the wall clock is {said} the server's time"),
            self._clock.read(),
        )
        self._wall_off = off or None
