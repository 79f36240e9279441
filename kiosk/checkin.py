"""The rules of a check-in: one interface for face, PIN and command, online and offline.

Expected outcomes are values. Only a fault of the store is an exception (`StoreUnusable`), and then
nobody confirms anything: green means recorded.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from attendance.errors import TokenInvalid
from attendance.i18n import Language, say
from attendance.records import Record
from attendance.statuses import (
    CHOOSABLE,
    Kind,
    Method,
    SiteKind,
    Status,
    kind_of_choice,
    presence_at,
)
from attendance.tokens import card_number
from kiosk.clock import Clock
from kiosk.limits import (
    TAPS_BURST,
    TAPS_EVERY_S,
    UNVERIFIED_BURST,
    UNVERIFIED_EVERY_S,
    Rate,
)
from kiosk.people import People, Person
from kiosk.pins import Pins, Verdict
from kiosk.store import Draft, Store

#: The same person again within this long makes no further record (commands.md, `again`).
AGAIN_S = 60.0
#: A change of mind within this long amends the record itself (product.md, `amend`).
AMEND_S = 10.0
#: How long an identification stands for choosing a status without showing face or PIN again.
FRESH_S = 30.0
REASON_LENGTH = 40

_PIN = re.compile(r"[0-9]{6}")
_OFFICIAL = re.compile(r"[A-Za-z0-9-]{1,32}")

_REFUSALS = {
    "unknown": (
        "没有认出您，请靠近一点或改用密码。",
        "Not recognised: come closer or use your PIN.",
    ),
    "ambiguous": ("无法确定是哪一位，请输入密码。", "Not sure which of two people: use your PIN."),
    "not_live": (
        "请真人面对摄像头，或改用密码。",
        "Stand before the camera yourself, or use your PIN.",
    ),
    "quality": ("看不清楚，请正对摄像头。", "Not clear enough: face the camera."),
    "locked": ("尝试次数过多，请 {minutes} 分钟后再试。", "Too many tries: wait {minutes} min."),
    "wrong_pin": ("密码不对，请再试一次。", "Wrong PIN: try again."),
    "bad_pin": ("密码是六位数字。", "A PIN has six digits."),
    "second_factor": ("请再输入密码确认。", "Please confirm with your PIN."),
    "card_second_factor": ("请再输入密码。", "Please give your PIN too."),
    "wait": (
        "按编号登记的人较多：请稍候，会自动登记。",
        "Many check-ins by id: yours is recorded in a moment, by itself.",
    ),
    "card_wait": (
        "刷卡暂停：请稍候，或用人脸、密码签到。",
        "Cards pause: wait a moment, or use your face or PIN.",
    ),
    "unknown_card": (
        "这张卡没有登记，或已作废：请用密码签到。",
        "This card is not enrolled, or void: please use your PIN.",
    ),
    "unknown_badge": (
        "这个工牌没有登记，或已作废：请用密码签到。",
        "This badge is not enrolled, or void: please use your PIN.",
    ),
    "bad_id": (
        "编号只能是字母、数字和短横线。",
        "An official's id has letters, digits and dashes.",
    ),
    "bad_choice": ("这个状态不能选择。", "This status cannot be chosen."),
    "identify_again": ("请重新识别后再选择。", "Identify yourself again, then choose."),
}


@dataclass(frozen=True)
class Accepted:
    """Recorded, durably. `person` is None for an id that this kiosk does not know.

    `verified` is False where nobody could check who it is: flagged, and the lamp stays alone.
    """

    record: Record
    person: Person | None
    status: Status
    kind: Kind
    fresh: bool = True

    @property
    def verified(self) -> bool:
        """Whether the kiosk knows that it was this person."""
        return self.record.verified


@dataclass(frozen=True)
class Again:
    """The same person with the same status moments ago: record `seq` stands, none was added."""

    official: str
    seq: int


@dataclass(frozen=True)
class Refused:
    """Not recorded. `reason` is a key: unknown, ambiguous, not_live, quality, locked, wrong_pin,
    second_factor, card_second_factor, unknown_card, unknown_badge, card_wait, wait, bad_id,
    bad_pin, bad_choice, identify_again. `wait_s` goes with locked, card_wait and wait; after the
    wait of `wait` the same check-in is taken."""

    reason: str
    official: str | None = None
    wait_s: int = 0

    def words(self, lang: Language | None = None) -> str:
        """What to do, in one sentence."""
        minutes = -(-self.wait_s // 60)
        return say(*_REFUSALS[self.reason], lang).format(minutes=minutes)


Outcome = Accepted | Again | Refused


@dataclass
class _Identified:
    """Somebody who showed face or PIN a moment ago, and what was recorded since."""

    draft: Draft
    since_ns: int
    boot_id: str
    record: Record
    recorded_ns: int
    ids: set[str]


@dataclass(frozen=True)
class _Seen:
    record: Record
    boottime_ns: int
    at_s: float | None


class CheckinService:
    """One run of a kiosk: what it remembers of people ends with it. Thread-safe."""

    def __init__(
        self,
        store: Store,
        people: People,
        pins: Pins,
        clock: Clock,
        site_kind: SiteKind,
        *,
        card_needs_pin: bool = False,
    ) -> None:
        self._card_needs_pin = card_needs_pin
        self._taps = Rate(store, clock, "taps", TAPS_BURST, TAPS_EVERY_S)
        self._unverified = Rate(store, clock, "unverified", UNVERIFIED_BURST, UNVERIFIED_EVERY_S)
        self._store = store
        self._people = people
        self._pins = pins
        self._clock = clock
        self._site = site_kind
        self._guard = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._last: dict[str, _Identified] = {}

    @property
    def people(self) -> People:
        """Whom the kiosk knows now."""
        return self._people

    def use(self, people: People) -> None:
        """Another gallery or snapshot came."""
        self._people = people
        self._pins.use(people)

    def by_face(
        self,
        official: str,
        score: float,
        margin: float,
        liveness: str,
        model: str,
        gallery_version: int,
        *,
        at: float | None = None,
    ) -> Outcome:
        """A recognised face. `liveness` is the verdict in a word, `off` where it was switched off.

        `at` is the frame's time in seconds; "again" is then judged by frames, so that a file gives
        the same on every machine. Raises StoreUnusable.
        """
        person = self._people.get(official)
        if person is None:
            return Refused("unknown")
        if person.second_factor:
            return Refused("second_factor", official)
        draft = Draft(
            kind=Kind.CHECKIN,
            official=official,
            status=presence_at(self._site),
            method=Method.FACE,
            score=_ratio(score),
            margin=_ratio(margin),
            liveness=liveness,
            model=model,
            gallery=gallery_version,
        )
        return self._accept(draft, person, at)

    def by_pin(
        self,
        official: str,
        pin: str,
        status: Status | None = None,
        reason: str | None = None,
        until_ms: int | None = None,
        *,
        method: Method = Method.PIN,
    ) -> Outcome:
        """An official's id (or a name that only one has here) and PIN; no status means presence.

        Whom this kiosk does not know, or who has no PIN, is recorded all the same, unverified: a
        check-in is never turned away, though many of these are put off (`limits`). A wrong PIN of
        somebody who has one records nothing. `method` is `card` where a card or badge was shown.
        Raises StoreUnusable.
        """
        if not _PIN.fullmatch(pin):
            return Refused("bad_pin")
        chosen = presence_at(self._site) if status is None else status
        if chosen not in CHOOSABLE:
            return Refused("bad_choice", official)
        person = self._people.find(official)
        code = person.official if person else official.strip()
        if not _OFFICIAL.fullmatch(code):
            return Refused("bad_id")
        result = self._pins.verify(code, pin)
        if result.verdict is Verdict.LOCKED:
            return Refused("locked", code, result.wait_s)
        if result.verdict is Verdict.WRONG:
            return Refused("wrong_pin", code)
        verified = result.verdict is Verdict.OK
        if not verified and (wait_s := self._unverified.wait_s()):
            return Refused("wait", code, wait_s)
        draft = Draft(
            kind=kind_of_choice(chosen, self._site),
            official=code,
            status=chosen,
            reason=_reason(reason),
            until_ms=until_ms,
            method=method,
            verified=verified,
            gallery=self._people.version or None,
        )
        outcome = self._accept(draft, person, None)
        if not verified and isinstance(outcome, Accepted):
            self._unverified.take()
        return outcome

    def by_card(self, number: str) -> Outcome:
        """A card that a reader typed: as good as a face. Raises StoreUnusable."""
        try:
            plain = card_number(number)
        except TokenInvalid:
            return Refused("unknown_card")
        if wait_s := self._taps.wait_s():
            return Refused("card_wait", wait_s=wait_s)
        person = self._people.owner("card", plain)
        if person is None:
            self._taps.take()
            return Refused("unknown_card")
        if self._card_needs_pin:
            return Refused("card_second_factor", person.official)
        draft = Draft(
            kind=Kind.CHECKIN,
            official=person.official,
            status=presence_at(self._site),
            method=Method.CARD,
            gallery=self._people.version or None,
        )
        return self._accept(draft, person, None)

    def by_badge(self, text: str) -> Refused:
        """A badge before the camera: it says who must give the PIN, and records nothing itself,
        since a badge can be photographed."""
        person = self._people.owner("badge", text)
        if person is None:
            return Refused("unknown_badge")
        return Refused("card_second_factor", person.official)

    def choose(
        self,
        record_id: str,
        status: Status,
        reason: str | None = None,
        until_ms: int | None = None,
    ) -> Accepted | Refused:
        """Another status for whoever made that record a moment ago.

        Within 10 s it amends the record; while the identification is fresh (30 s) it is a record of
        its own; later the person must identify again. Raises StoreUnusable.
        """
        if status not in CHOOSABLE:
            return Refused("bad_choice")
        with self._guard:
            now = self._clock.read()
            who = next((w for w in self._last.values() if record_id in w.ids), None)
            if (
                who is None
                or who.boot_id != now.boot_id
                or now.boottime_ns - who.since_ns > FRESH_S * 1e9
            ):
                return Refused("identify_again")
            base = who.draft
            amends = now.boottime_ns - who.recorded_ns <= AMEND_S * 1e9
            draft = Draft(
                kind=Kind.AMEND if amends else kind_of_choice(status, self._site),
                official=base.official,
                status=status,
                reason=_reason(reason),
                until_ms=until_ms,
                method=base.method,
                verified=base.verified,
                score=base.score,
                margin=base.margin,
                liveness=base.liveness,
                model=base.model,
                gallery=base.gallery,
                supersedes=who.record.record_id if amends else None,
            )
            record = self._store.record(draft, now).record
            who.record, who.recorded_ns = record, now.boottime_ns
            who.ids.add(record.record_id)
            seen = self._seen[record.official or ""]
            self._seen[record.official or ""] = _Seen(record, seen.boottime_ns, seen.at_s)
        person = self._people.get(record.official or "")
        return Accepted(record, person, status, record.kind)

    def _accept(self, draft: Draft, person: Person | None, at: float | None) -> Accepted | Again:
        official = draft.official or ""
        with self._guard:
            now = self._clock.read()
            seen = self._seen.get(official)
            if seen is not None and self._is_again(seen, draft, now.boottime_ns, at):
                self._identified(draft, seen.record, now.boottime_ns, now.boot_id)
                return Again(official, seen.record.seq)
            record = self._store.record(draft, now).record
            self._seen[official] = _Seen(record, now.boottime_ns, at)
            self._identified(draft, record, now.boottime_ns, now.boot_id)
        assert draft.status is not None  # noqa: S101 - for the type checker: both callers set it
        return Accepted(record, person, draft.status, draft.kind)

    def _identified(self, draft: Draft, record: Record, at_ns: int, boot_id: str) -> None:
        old = self._last.get(draft.official or "")
        if old is not None and old.record.record_id == record.record_id:
            old.draft, old.since_ns = draft, at_ns  # seen again: may choose for another while
            return
        ids = {record.record_id}
        self._last[draft.official or ""] = _Identified(draft, at_ns, boot_id, record, at_ns, ids)

    @staticmethod
    def _is_again(seen: _Seen, draft: Draft, now_ns: int, at: float | None) -> bool:
        if at is not None and seen.at_s is not None:
            recent = abs(at - seen.at_s) < AGAIN_S
        else:
            recent = now_ns - seen.boottime_ns < AGAIN_S * 1e9
        if not recent or (draft.verified and not seen.record.verified):
            return False
        if draft.method is not Method.PIN:
            return True  # a face or a card says no more than that the person still stands here
        same = (seen.record.status, seen.record.reason, seen.record.until_ms)
        return same == (draft.status, draft.reason, draft.until_ms)


def _ratio(number: float) -> float | None:
    """A score as the record holds it; no second candidate makes an infinite margin."""
    return round(float(number), 6) if abs(number) <= 2 else None


def _reason(reason: str | None) -> str | None:
    # A command line may carry bytes that are no text; a record holds text only.
    text = (reason or "").encode("utf-8", "replace").decode()
    return text.strip()[:REASON_LENGTH] or None
