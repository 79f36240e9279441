"""The statuses, and the one place that says how each looks and which record sets it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from attendance.i18n import Language


class Status(StrEnum):
    """Where an official is, as far as anybody has said."""

    ON_DUTY = "on_duty"
    BUSINESS_TRIP = "business_trip"
    IN_VILLAGE = "in_village"
    ON_LEAVE = "on_leave"
    LEFT = "left"
    UNKNOWN = "unknown"
    #: Only ever shown, never recorded: the board has not heard from the server for a while.
    STALE = "stale"


class SiteKind(StrEnum):
    """A township office's kiosk sets `on_duty`, a village's sets `in_village`."""

    OFFICE = "office"
    VILLAGE = "village"


class Kind(StrEnum):
    """What a record says."""

    CHECKIN = "checkin"
    CHECKOUT = "checkout"
    DECLARE = "declare"
    AMEND = "amend"
    CLOCK = "clock"
    FAULT = "fault"
    ERASURE = "erasure"


class Method(StrEnum):
    """How the person was known. All have equal standing."""

    FACE = "face"
    PIN = "pin"
    CARD = "card"
    MANUAL = "manual"


@dataclass(frozen=True)
class Look:
    """How a status looks everywhere: colour, and a word and a shape for who cannot tell colours.

    `colour` is one of green, blue, yellow, red, off; `shape` one of circle, triangle, square,
    diamond, ring, dash; `css` is the colour as a page fills it and `ink` what is written on it, at
    a contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3).
    """

    zh: str
    en: str
    colour: str
    shape: str
    glyph: str
    css: str
    ink: str = "#ffffff"

    def word(self, lang: Language) -> str:
        """The status in words."""
        return self.zh if lang == "zh" else self.en


# product.md, table of statuses. The shapes are ours: distinct in outline at three metres.
LOOKS: dict[Status, Look] = {
    Status.ON_DUTY: Look("在岗", "On duty", "green", "circle", "●", "#1b7a34"),
    Status.BUSINESS_TRIP: Look("出差", "On a trip", "blue", "triangle", "▲", "#1557b0"),
    Status.IN_VILLAGE: Look(
        "下乡", "In the village", "yellow", "square", "■", "#f0c419", ink="#3d2f00"
    ),
    Status.ON_LEAVE: Look("请休假", "On leave", "red", "diamond", "◆", "#b3261e"),
    Status.LEFT: Look("已离开", "Left", "off", "ring", "○", "#5f6368"),
    Status.UNKNOWN: Look("未签到", "Not checked in", "off", "dash", "—", "#5f6368"),
    Status.STALE: Look("状态待更新", "Awaiting update", "off", "dash", "…", "#5f6368"),
}

#: Statuses that a person may choose at a kiosk.
CHOOSABLE = (
    Status.ON_DUTY,
    Status.BUSINESS_TRIP,
    Status.IN_VILLAGE,
    Status.ON_LEAVE,
    Status.LEFT,
)

#: Reasons offered beside a status (key, Chinese, English). Any other text up to 40 characters may
#: be given too.
REASONS: tuple[tuple[str, str, str], ...] = (
    ("meeting", "开会", "Meeting"),
    ("training", "培训", "Training"),
    ("errand", "民事代办", "Errand for villagers"),
    ("visit", "走访入户", "Household visits"),
    ("personal", "事假", "Personal leave"),
    ("sick", "病假", "Sick leave"),
)

#: Which of them a kiosk offers beside which status: sick leave is no reason for a trip.
OFFERED: dict[Status, tuple[str, ...]] = {
    Status.ON_DUTY: ("meeting", "training", "errand"),
    Status.BUSINESS_TRIP: ("meeting", "training", "errand", "visit"),
    Status.IN_VILLAGE: ("visit", "errand", "meeting"),
    Status.ON_LEAVE: ("personal", "sick"),
}


def colour_of(status: Status) -> str:
    """The lamp's colour of a status: green, blue, yellow, red or off."""
    return LOOKS[status].colour


def presence_at(site: SiteKind) -> Status:
    """The status that a check-in at such a kiosk sets."""
    return Status.ON_DUTY if site is SiteKind.OFFICE else Status.IN_VILLAGE


def kind_of_choice(status: Status, site: SiteKind) -> Kind:
    """The kind of record that choosing `status` at such a kiosk makes.

    Being where the kiosk stands is a check-in; leaving is a check-out; everything else is a
    declaration, which shows at once and is not evidence of attendance. Raises ValueError for a
    status that nobody can choose.
    """
    if status not in CHOOSABLE:
        raise ValueError(f"{status} cannot be chosen at a kiosk")
    if status is presence_at(site):
        return Kind.CHECKIN
    return Kind.CHECKOUT if status is Status.LEFT else Kind.DECLARE


def reason_word(reason: str, lang: Language) -> str:
    """A reason in words: a known key translated, any other text as it is."""
    for key, zh, en in REASONS:
        if key == reason:
            return zh if lang == "zh" else en
    return reason
