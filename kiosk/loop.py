"""The kiosk itself: frames and touches in; records, then lamps, then greetings out.

Green means recorded: nothing confirms before the store has returned. The frame loop never waits
for the network or for a browser; what the sync thread brings lies in a mailbox until the next turn.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attendance.errors import QuxiangError
from attendance.statuses import Kind, Method, Status
from hardware.frames import Frame
from kiosk.checkin import Accepted, Again, CheckinService, Refused
from kiosk.clock import Clock, FrameClock
from kiosk.display import Display
from kiosk.errors import ServerUnreachable, StoreUnusable
from kiosk.events import EventLog
from kiosk.exchange import SyncReport
from kiosk.facelock import FaceLock
from kiosk.people import People
from kiosk.screen.app import Answer
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Draft, Store
from kiosk.vault import Vault
from recognition.decision import Decision, Match, NotLive, Wait
from recognition.errors import RecognitionError
from recognition.recogniser import Observation, Recogniser

LOOK_S = 1.0
"""How often the kiosk looks whether another process recorded or imported something."""
REFRESH_S = 10.0
"""How often the board is computed anew although nothing happened: leave ends, days change."""
RETRY_S = 1.0
"""Between two tries to record somebody who stands there while the store fails."""
CLOCK_STEP_MS = 120_000
"""A wall clock whose error changed by this much is written into the chain again (evidence.md)."""
KEPT_ARRIVALS = 4000
"""Frames whose arrival is remembered for `latency_ms`: two minutes at 30 a second."""


class Poked(Protocol):
    """What is told that a record waits: the sync loop."""

    def poke(self) -> None:
        """There is something to send."""
        ...


class Kiosk:
    """One run of a kiosk. `process` belongs to one thread; `pin` and `choose` to any."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        service: CheckinService,
        recogniser: Recogniser,
        display: Display,
        lock: FaceLock,
        events: EventLog,
        feed: ScreenFeed,
        clock: Clock,
        live: bool,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._vault = vault
        self._service = service
        self._recogniser = recogniser
        self._display = display
        self._lock = lock
        self._events = events
        self._feed = feed
        self._clock = clock
        self._live = live
        self._mono = mono
        self.sync: Poked | None = None
        self._guard = threading.RLock()
        self._mail: queue.SimpleQueue[SyncReport | QuxiangError] = queue.SimpleQueue()
        self._greetings: dict[str, dict[str, Any]] = {}
        self._gallery_version = -1
        self._sighted = False
        self._settled: int | None = None
        self._told_locked: int | None = None
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=KEPT_ARRIVALS)
        self._busy = 0.0
        self._began = 0.0
        self._store_fault: str | None = None
        self._retry_at = 0.0
        self._sync_fault: str | None = None
        self._alarms: set[str] = set()
        self._wall_off: int | None = None
        self._generation: object = None
        self._look_at = self._refresh_at = 0.0
        self.frames = 0
        self._turn()

    # -- frames -----------------------------------------------------------------------------

    def process(self, frame: Frame) -> Observation | None:
        """Look at one frame and do what follows from it; None where no faces are compared."""
        self._began = self._mono()
        self.frames += 1
        if isinstance(self._clock, FrameClock):
            self._clock.at(frame.t)
        self._turn()
        self._arrivals.append((frame.index, frame.arrived if self._live else self._busy))
        self._feed.show(frame.image)
        observation = None
        if self._sighted:
            observation = self._recogniser.observe(frame.image, frame.t, frame.index)
            with self._guard:
                self._follow(observation)
        self._busy += self._mono() - self._began
        return observation

    def idle(self) -> None:
        """Do what is due while no frame comes."""
        self._turn()

    def ended(self, index: int) -> None:
        """The footage is over; `index` is its last frame."""
        if self._sighted:
            with self._guard:
                for decision in self._recogniser.finish():
                    self._refuse(decision, index, None)
        self._feed.update(guidance=None)

    def _follow(self, seen: Observation) -> None:
        for decision in self._recogniser.ended:
            self._refuse(decision, seen.index, None)
        decision = seen.decision
        if isinstance(decision, Match):
            if seen.track_id != self._settled:
                self._matched(decision, seen)
        elif seen.fresh and not isinstance(decision, Wait):
            self._refuse(decision, seen.index, seen.track_id)
        self._feed.update(guidance=self._guidance(decision), locked=self._lock.left_s() > 0)

    def _matched(self, match: Match, seen: Observation) -> None:
        """Somebody was recognised. Stays open, and is tried again, until it is settled."""
        if self._lock.left_s() > 0:
            self._locked(seen.index, seen.track_id)
            return
        if self._store_fault is not None and self._mono() < self._retry_at:
            return
        try:
            outcome = self._service.by_face(
                match.official,
                match.score,
                match.margin,
                match.liveness.name,
                self._recogniser.engine.model_id,
                self._service.people.version,
                # A live camera's time begins anew whenever it is opened again.
                at=None if self._live else seen.t,
            )
            latency_ms = self._latency_ms(seen)
            self._lock.passed()
        except StoreUnusable as error:
            self._store_failed(error)
            return
        self._settled = seen.track_id
        if isinstance(outcome, Accepted):
            self._confirm(outcome, latency_ms, seen.index, match)
        elif isinstance(outcome, Again):
            self._events.again(outcome.official, seen.index)
            self._greet_again(outcome.official)
        elif outcome.reason == "second_factor":
            person = self._service.people.get(match.official)
            name = person.name if person else match.official
            self._feed.tell({"type": "ask_pin", "official": match.official, "name": name})
        else:
            self._events.refused("unknown", seen.index)

    def _refuse(self, decision: Decision, index: int, track_id: int | None) -> None:
        if decision.reason is None:
            return
        if self._lock.left_s() > 0:
            self._locked(index, track_id)
            return
        self._events.refused(decision.reason, index)
        if isinstance(decision, NotLive):
            try:
                locked = self._lock.not_live()
            except StoreUnusable as error:
                self._store_failed(error)
                locked = self._lock.left_s() > 0
            self._feed.update(locked=locked)

    def _locked(self, index: int, track_id: int | None) -> None:
        if track_id is None or track_id != self._told_locked:
            self._told_locked = track_id
            self._events.refused("locked", index)

    def _guidance(self, decision: Decision) -> dict[str, str] | None:
        if isinstance(decision, Wait):
            said = decision.guidance
            return {"zh": said.words("zh"), "en": said.words("en")} if said else None
        if decision.reason is None:
            return None
        refused = Refused(decision.reason)
        return {"zh": refused.words("zh"), "en": refused.words("en")}

    def _latency_ms(self, seen: Observation) -> float | None:
        """From the arrival of the face's first usable frame until now; for footage the time spent
        processing since."""
        for index, arrived in reversed(self._arrivals):
            if index == seen.first_usable_index:
                now = self._mono()
                passed = now - arrived if self._live else self._busy + now - self._began - arrived
                return passed * 1000
        return None

    # -- touches ----------------------------------------------------------------------------

    def pin(self, official: str, pin: str) -> Answer:
        """As `kiosk.screen.app.Actions.pin`."""
        began = self._mono()
        try:
            outcome = self._service.by_pin(official, pin)
            latency_ms = (self._mono() - began) * 1000
        except StoreUnusable as error:
            return self._cannot(error)
        with self._guard:
            if isinstance(outcome, Accepted):
                return self._answer(self._confirm(outcome, latency_ms, None, None))
            if isinstance(outcome, Again):
                self._events.again(outcome.official, None)
                return self._answer(self._greet_again(outcome.official))
            if outcome.reason == "locked":
                self._events.refused("locked", None)
            return Answer(False, outcome.words("zh"), outcome.words("en"))

    def choose(
        self, record_id: str, status: str, reason: str | None, until_ms: int | None
    ) -> Answer:
        """As `kiosk.screen.app.Actions.choose`."""
        began = self._mono()
        try:
            outcome = self._service.choose(record_id, Status(status), reason, until_ms)
            latency_ms = (self._mono() - began) * 1000
        except StoreUnusable as error:
            return self._cannot(error)
        if isinstance(outcome, Refused):
            return Answer(False, outcome.words("zh"), outcome.words("en"))
        with self._guard:
            return self._answer(self._confirm(outcome, latency_ms, None, None))

    def _answer(self, greeting: dict[str, Any] | None) -> Answer:
        return Answer(True, "已记录", "Recorded", greeting)

    def _cannot(self, error: StoreUnusable) -> Answer:
        with self._guard:
            self._store_failed(error)
        return Answer(False, error.words("zh"), error.words("en"))

    # -- confirming -------------------------------------------------------------------------

    def _confirm(
        self, outcome: Accepted, latency_ms: float | None, index: int | None, match: Match | None
    ) -> dict[str, Any]:
        """The record is durable: tell the log, set the lamp, greet, and have it sent."""
        record = outcome.record
        method = str(record.method or Method.MANUAL)
        self._events.checkin(
            record.official or "",
            outcome.status,
            method,
            score=match.score if match else None,
            margin=match.margin if match else None,
            liveness=record.liveness,
            frame=index,
            latency_ms=latency_ms,
            seq=record.seq,
        )
        self._store_works()
        self._refresh()
        person = outcome.person
        greeting = {
            "type": "greeting",
            "id": record.record_id,
            "official": record.official,
            "name": person.name if person else record.official,
            "title": person.title if person else "",
            "status": str(outcome.status),
            "at_ms": self._display.now_ms(),
            "method": method,
            "verified": outcome.verified,
            "reason": record.reason,
            "until_ms": record.until_ms,
            "choices": outcome.verified,
        }
        self._greetings[record.official or ""] = greeting
        self._feed.tell(greeting)
        if self.sync is not None:
            self.sync.poke()
        return greeting

    def _greet_again(self, official: str) -> dict[str, Any] | None:
        known = self._greetings.get(official)
        if known is None:
            return None
        # Another id each time, so that the page shows it anew; the choice is made for the record.
        shown = {**known, "again": True, "nonce": time.monotonic_ns()}
        self._feed.tell(shown)
        return shown

    # -- turns ------------------------------------------------------------------------------

    def report(self, report: SyncReport | QuxiangError) -> None:
        """Take what the sync thread brings; called in that thread, looked at in the loop."""
        self._mail.put(report)

    def _turn(self) -> None:
        """Mail, other processes' doings, and what time alone changes."""
        now = self._mono()
        changed = False
        with self._guard:
            while not self._mail.empty():
                self._read_mail(self._mail.get())
                changed = True
            if not changed and now < self._look_at:
                return
            self._look_at = now + LOOK_S
            try:
                if self._store_fault is not None:
                    # Only a write that works shows that recording works again.
                    self._store.set_meta(store_probe=str(now))
                    self._store_works()
                generation = self._store.generation()
                fresh_gallery = self._vault.version != self._gallery_version
                if fresh_gallery or changed:
                    self._load_people()
                if fresh_gallery or changed or generation != self._generation:
                    self._display.load_anchor()
                elif now < self._refresh_at:
                    self._display.tick()
                    return
                self._check_clock()
                late = self._vault.expired(self._display.now_ms())
                self._alarm(
                    "expired", "its manifest has expired: renew it at the desk" if late else None
                )
            except StoreUnusable as error:
                self._store_failed(error)
            self._refresh()

    def _refresh(self) -> None:
        self._refresh_at = self._mono() + REFRESH_S
        try:
            self._display.refresh(self._service.people)
            self._generation = self._store.generation()
        except StoreUnusable as error:
            self._store_failed(error)

    def _read_mail(self, mail: SyncReport | QuxiangError) -> None:
        if isinstance(mail, SyncReport):
            self._sync_fault = None
            self._events.sync(mail.sent, mail.stored, mail.duplicate, mail.rejected, mail.pending)
            refused = str(mail.gallery_fault) if mail.gallery_fault else None
            self._alarm("refused", refused)
            changed = "the server names another enrolment desk, which is not taken"
            self._alarm("desk", changed if mail.desk_changed else None)
            try:
                self._display.heard(mail)
            except StoreUnusable as error:
                self._store_failed(error)
            return
        self._display.unheard()
        # Told once until it changes: a village may be offline for a week.
        word = "unreachable" if isinstance(mail, ServerUnreachable) else str(mail)
        if word != self._sync_fault:
            self._sync_fault = word
            self._events.fault("sync", str(mail))

    def _load_people(self) -> None:
        """Take the gallery in force and the last snapshot; compare with them from now on."""
        contents = self._vault.contents()
        people = People(contents, self._display.snapshot)
        self._service.use(people)
        if people.version == self._gallery_version:
            return
        self._gallery_version = people.version
        gallery = self._recogniser.gallery
        try:
            entries = people.gallery_entries()
            gallery.replace(entries, people.model if entries else None)
            self._sighted = contents is not None
            self._feed.fault("recognition", None)
        except RecognitionError as error:
            gallery.replace([])
            self._sighted = False
            self._feed.fault("recognition", {"zh": str(error), "en": str(error)})
            self._events.fault("recognition", str(error))
        self._feed.update(waiting=contents is None)

    def _alarm(self, key: str, what: str | None) -> None:
        """Tell something about the gallery once, until it is well (None)."""
        if what is None:
            self._alarms.discard(key)
        elif key not in self._alarms:
            self._alarms.add(key)
            self._events.fault("gallery", what)

    def _check_clock(self) -> None:
        """Write into the chain that the wall clock is wrong, once for each change."""
        if not self._live:
            return
        off = self._display.wall_off_ms()
        if off is None or (self._wall_off is None and off == 0):
            return
        if self._wall_off is not None and abs(off - self._wall_off) <= CLOCK_STEP_MS:
            return
        self._wall_off = off if off else None
        said = f"{off / 1000:+.0f} s from" if off else "right again by"
        self._store.record(
            Draft(kind=Kind.CLOCK, detail=f"the wall clock is {said} the server's time"),
            self._clock.read(),
        )

    # -- the store's faults -----------------------------------------------------------------

    def _store_failed(self, error: StoreUnusable) -> None:
        self._retry_at = self._mono() + RETRY_S
        if self._store_fault is None:
            self._events.fault("store", str(error))
        self._store_fault = str(error)
        self._feed.fault("store", {"zh": error.words("zh"), "en": error.words("en")})

    def _store_works(self) -> None:
        if self._store_fault is not None:
            self._store_fault = None
            self._feed.fault("store", None)
