"""The kiosk itself: frames and touches in; records, then lamps, then greetings out.

Green means recorded: nothing confirms before the store has returned. The frame loop never waits
for the network or for a browser; what the sync thread brings lies in a mailbox until the next turn.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from attendance.statuses import Method, Status
from hardware.frames import Frame
from kiosk.beside import Around, Offered, Poked, Proposing
from kiosk.checkin import Accepted, Again, CheckinService, Refused
from kiosk.clock import Clock, FrameClock
from kiosk.condition import Condition
from kiosk.display import Display
from kiosk.errors import StoreUnusable
from kiosk.events import EventLog
from kiosk.facelock import FaceLock
from kiosk.screen.app import Answer
from kiosk.screen.feed import ScreenFeed
from kiosk.store import Store
from kiosk.troubles import Troubles
from kiosk.upkeep import Mail, Upkeep
from kiosk.vault import Vault
from recognition.decision import Decision, Match, NotLive, Wait
from recognition.recogniser import Observation, Recogniser

APPROACHING = 0.08
"""Height of a face, as a share of the picture's, from which it wakes the screen: some three metres
before the usual 60 degree camera, well before it is near enough to be compared."""

TICKET_S = 60.0
"""How long after a card or badge the PIN may follow."""

KEPT_ARRIVALS = 4000
"""Frames whose arrival is remembered for `latency_ms`: two minutes at 30 a second."""


class Kiosk:
    """One run of a kiosk. `process` belongs to one thread; `pin` and `choose` to any.

    `sync` is poked when a record waits; `beat` is called once each turn of the loop; `around` is
    what surrounds the screen; `greeted` the last greeting with its time on the monotonic clock.
    """

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
        troubles: Troubles | None = None,
        mono: Callable[[], float] = time.monotonic,
        card: Callable[[], StoreUnusable | None] | None = None,
        survey: Callable[[], Condition] | None = None,
    ) -> None:
        self._upkeep = Upkeep(
            store=store,
            vault=vault,
            service=service,
            gallery=recogniser.gallery,
            display=display,
            events=events,
            feed=feed,
            troubles=troubles or Troubles(feed, events),
            clock=clock,
            live=live,
            mono=mono,
            card=card,
            survey=survey,
        )
        self._health = self._upkeep.health
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
        self.beat: Callable[[], None] | None = None
        self.around: Around | None = None
        self.proposer: Proposing | None = None
        self.greeted: tuple[dict[str, Any], float] | None = None
        self._guard = threading.RLock()
        self._greetings: dict[str, dict[str, Any]] = {}
        self._settled: int | None = None
        self._told_locked: int | None = None
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=KEPT_ARRIVALS)
        self._busy = 0.0
        self._began = 0.0
        self._decided_ms = 0.0
        self._tickets: dict[str, tuple[str, float]] = {}
        self.badges: Offered | None = None
        self._upkeep.turn()

    # -- frames -----------------------------------------------------------------------------

    def process(self, frame: Frame) -> Observation | None:
        """Look at one frame and do what follows from it; None where no faces are compared."""
        self._began = self._mono()
        if isinstance(self._clock, FrameClock):
            self._clock.at(frame.t)
        self.idle()
        self._arrivals.append((frame.index, frame.arrived if self._live else self._busy))
        self._feed.show(frame.image)
        if self.badges is not None:
            self.badges.offer(frame.image)
        observation = None
        if self._upkeep.sighted:
            observation = self._recogniser.observe(frame.image, frame.t, frame.index)
            self._decided_ms = time.time() * 1000
            tallest = max((face.box[3] for face in observation.faces), default=0.0)
            self._feed.update(near=bool(tallest >= APPROACHING * frame.image.shape[0]))
            if self.around is not None:
                wanted = self._recogniser.wanted_light
                self.around.seen(frame.image, observation.subject, frame.t, wanted)
            if self.proposer is not None:
                self.proposer.seen(frame.image, observation, self._recogniser.track)
            with self._guard:
                self._follow(observation)
        self._busy += self._mono() - self._began
        return observation

    def idle(self) -> None:
        """Do what is due between frames, or while none comes."""
        with self._guard:
            self._upkeep.turn()
        if self.around is not None:
            self.around.turn()
        if self.beat is not None:
            self.beat()

    def report(self, mail: Mail) -> None:
        """Take what the sync thread brings; called in that thread, looked at in the loop."""
        self._upkeep.report(mail)

    def ended(self, index: int) -> None:
        """The footage is over; `index` is its last frame."""
        if self._upkeep.sighted:
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
        if self._health.resting:
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
            self._lock.passed(match.official)
        except StoreUnusable as error:
            self._health.failed(error)
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
            # Recognised, and yet not told apart from the other one by the face alone.
            self._events.refused("ambiguous", seen.index)
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
                locked = self._lock.not_live(decision.official)
            except StoreUnusable as error:
                self._health.failed(error)
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

    def pin(self, official: str, pin: str, ticket: str | None = None) -> Answer:
        """As `kiosk.screen.app.Actions.pin`."""
        began = self._mono()
        who, since = self._tickets.get(ticket or "", ("", 0.0))
        method = Method.CARD if who == official and began - since < TICKET_S else Method.PIN
        try:
            outcome = self._service.by_pin(official, pin, method=method)
            latency_ms = (self._mono() - began) * 1000
        except StoreUnusable as error:
            return self._cannot(error)
        with self._guard:
            if isinstance(outcome, Accepted):
                self._tickets.pop(ticket or "", None)
                plain = method is Method.PIN
                confirmed = self._confirm(outcome, latency_ms, None, None, by_pin=plain)
                return self._answer(confirmed)
            if isinstance(outcome, Again):
                self._events.again(outcome.official, None)
                return self._answer(self._greet_again(outcome.official))
            if outcome.reason == "locked":
                self._events.refused("locked", None)
            wait_s = outcome.wait_s if outcome.reason == "wait" else 0
            return Answer(False, outcome.words("zh"), outcome.words("en"), wait_s=wait_s)

    def card(self, number: str) -> Answer:
        """As `kiosk.screen.app.Actions.card`."""
        began = self._mono()
        try:
            outcome = self._service.by_card(number)
            latency_ms = (self._mono() - began) * 1000
        except StoreUnusable as error:
            return self._cannot(error)
        with self._guard:
            if isinstance(outcome, Accepted):
                return self._answer(self._confirm(outcome, latency_ms, None, None))
            if isinstance(outcome, Again):
                self._events.again(outcome.official, None)
                return self._answer(self._greet_again(outcome.official))
            return self._ask_or_refuse(outcome)

    def badge(self, text: str) -> None:
        """A badge was held before the camera; told to every page. Called in any thread."""
        outcome = self._service.by_badge(text)
        with self._guard:
            answer = self._ask_or_refuse(outcome)
            told = answer.ask or {"type": "told", "zh": answer.zh, "en": answer.en}
            self._feed.tell(told)

    def _ask_or_refuse(self, outcome: Refused) -> Answer:
        if outcome.reason != "card_second_factor":
            event = "locked" if outcome.reason == "card_wait" else "unknown"
            self._events.refused(event, None)
            return Answer(False, outcome.words("zh"), outcome.words("en"))
        official = outcome.official or ""
        person = self._service.people.get(official)
        ticket = secrets.token_urlsafe(16)
        now = self._mono()
        kept = {k: v for k, v in self._tickets.items() if now - v[1] < TICKET_S}
        self._tickets = {**kept, ticket: (official, now)}
        ask = {
            "type": "ask_pin",
            "official": official,
            "name": person.name if person else official,
            "why": "after_card",
            "ticket": ticket,
        }
        return Answer(False, outcome.words("zh"), outcome.words("en"), ask=ask)

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

    def cannot_record(self, error: StoreUnusable) -> None:
        """Say so until a write works again."""
        with self._guard:
            self._health.failed(error)

    def _cannot(self, error: StoreUnusable) -> Answer:
        self.cannot_record(error)
        return Answer(False, error.words("zh"), error.words("en"))

    # -- confirming -------------------------------------------------------------------------

    def _confirm(
        self,
        outcome: Accepted,
        latency_ms: float | None,
        index: int | None,
        match: Match | None,
        *,
        by_pin: bool = False,
    ) -> dict[str, Any]:
        """The record is durable: tell the log, set the lamp, greet, and have it sent."""
        decided_ms = self._decided_ms if match else time.time() * 1000
        record = outcome.record
        method = str(record.method or Method.MANUAL)
        person = outcome.person
        greeting = {
            "type": "greeting",
            "id": record.record_id,
            "official": record.official,
            "name": person.name if person else record.official,
            "title": person.title if person else "",
            "status": str(outcome.status),
            "at_ms": self._display.now_ms(),
            # The machine's own clock, which the browser beside it shares: for measuring the way
            # from the decision to the screen.
            "decided_ms": decided_ms,
            "method": method,
            "verified": outcome.verified,
            "reason": record.reason,
            "until_ms": record.until_ms,
            "choices": outcome.verified,
            "proposed": False,
        }
        # Before the log hears of it: the voice, in the loop's thread, asks who was verified.
        self.greeted = greeting, self._mono()
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
        self._health.works()
        self._upkeep.refresh()
        if self.proposer is not None and match is not None:
            greeting["proposed"] = self.proposer.by_face(match)
        elif self.proposer is not None and by_pin and outcome.verified:
            greeting["proposed"] = self.proposer.by_pin(record.official or "")
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
        self.greeted = shown, self._mono()
        self._feed.tell(shown)
        return shown
