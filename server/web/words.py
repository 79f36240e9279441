"""What the pages call things: keys of the services on one side, words for people on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from attendance.clock import ClockClass
from attendance.days import day_of, local
from attendance.statuses import LOOKS, Look, Status, reason_word
from server.web.language import clock_words, lang
from server.web.say import Later, _l, gettext

VERDICTS: dict[str, tuple[str, Later]] = {
    "came": ("✓", _l("Came")),
    "late": ("◐", _l("Late")),
    "early": ("◑", _l("Left early")),
    "unverified_only": ("!", _l("Unverified only")),
    "trip": ("▲", _l("Business trip")),
    "leave": ("◆", _l("On leave")),
    "not_yet": ("…", _l("Not yet")),
    "not_known": ("?", _l("Not yet known")),
    "absent": ("✕", _l("Absent")),
    "not_expected": ("–", _l("Not expected")),
}
METHODS: dict[str, Later] = {
    "face": _l("Face"),
    "pin": _l("PIN"),
    "card": _l("Card"),
    "manual": _l("Entered by hand"),
}
KINDS: dict[str, Later] = {
    "checkin": _l("Check-in"),
    "checkout": _l("Check-out"),
    "declare": _l("Declared"),
    "amend": _l("Changed"),
    "clock": _l("Clock event"),
    "fault": _l("Fault"),
    "erasure": _l("Erasure"),
}
SITE_KINDS: dict[str, Later] = {
    "office": _l("Township office"),
    "village": _l("Village"),
}
ROLES: dict[str, Later] = {
    "admin": _l("Administrator"),
    "clerk": _l("Clerk"),
    "inspector": _l("Inspector"),
    "leader": _l("Leader"),
    "auditor": _l("County auditor"),
}


DEVICE_STATES: dict[str, Later] = {
    "revoked": _l("revoked"),
    "fork": _l("two histories: look into it"),
}
#: What the services and pages note in the audit trail.
ACTS: dict[str, Later] = {
    "login": _l("Signed in"),
    "logout": _l("Signed out"),
    "change_password": _l("Changed the password"),
    "view_day": _l("Looked at the day sheet"),
    "csv_day": _l("Saved the day sheet"),
    "view_officials": _l("Looked at the list of officials"),
    "view_history": _l("Looked at an official's history"),
    "csv_history": _l("Saved an official's history"),
    "view_leave": _l("Looked at leave and trips"),
    "ask_leave": _l("Entered leave or a trip"),
    "approve_leave": _l("Approved leave or a trip"),
    "refuse_leave": _l("Refused leave or a trip"),
    "view_audit": _l("Looked at the audit trail"),
    "duty_roster": _l("Changed the duty roster"),
    "view_visits": _l("Looked at the visits"),
    "log_visit": _l("Logged a visit"),
    "visit_step": _l("Noted what was done about a visit"),
    "public_choice": _l("Decided what is public"),
    "plates": _l("Printed plates"),
    "pair": _l("Paired with the server"),
    "roster": _l("Sent a roster"),
    "withdraw": _l("Withdrew an official's consent"),
    "reenrolled": _l("Enrolled again after a mistaken identity"),
    "view_proposals": _l("Looked at how many proposed pictures wait"),
    "view_sites": _l("Looked at who withdrew, is to be enrolled again or has pictures that wait"),
    "proposal_accepted": _l("Accepted a proposed picture as a template"),
    "proposal_refused": _l("Refused a proposed picture"),
    "proposal_erased": _l("Erased a proposed picture undecided"),
    "proposals_erased": _l("Erased proposed pictures with the consent"),
    "fork": _l("Showed two histories"),
    "card_lost": _l("Its card no longer had records that the server holds"),
    "head_unknown": _l("Went on after records that the server does not have"),
    "code": _l("Made a pairing code"),
    "add_user": _l("Added an account"),
    "revoke": _l("Revoked a device"),
    "settle": _l("Let a device in again"),
    "restore": _l("Restored a backup"),
    "prune": _l("Removed old records"),
}
ACTS.update(
    {
        "view_month": _l("Looked at a month"),
        "view_week": _l("Looked at a week"),
        "view_corrections": _l("Looked at corrections"),
        "view_day_of": _l("Looked at an official's day"),
        "view_attachment": _l("Looked at an attachment"),
        "propose_correction": _l("Proposed a correction"),
        "approve_correction": _l("Approved a correction"),
        "refuse_correction": _l("Refused a correction"),
        "view_allowance": _l("Looked at the allowance"),
        "sign_month": _l("Signed a month"),
        "view_discrepancies": _l("Looked at discrepancies"),
        "view_spotchecks": _l("Looked at spot checks"),
        "view_spotcheck": _l("Looked at a spot check"),
        "draw_spotcheck": _l("Drew a spot check"),
        "record_spotcheck": _l("Recorded a spot check"),
        "view_findings": _l("Looked at findings"),
        "view_apart": _l("Looked at records set aside"),
        "review_apart": _l("Reviewed records set aside"),
        "open_finding": _l("Opened a finding"),
        "finding_note": _l("Noted on a finding"),
        "finding_answered": _l("Answered a finding"),
        "finding_closed": _l("Closed a finding"),
        "finding_reopened": _l("Reopened a finding"),
        "county_leave": _l("Entered the county's answer"),
        "withdraw_leave": _l("Noted that leave is not taken"),
        "view_charts": _l("Looked at the charts"),
        "xlsx_month": _l("Saved a month sheet"),
        "csv_month": _l("Saved a month sheet"),
        "pdf_month": _l("Printed a month sheet"),
        "xlsx_allowance": _l("Saved an allowance statement"),
        "csv_allowance": _l("Saved an allowance statement"),
        "pdf_allowance": _l("Printed an allowance statement"),
        "xlsx_findings": _l("Saved the findings"),
        "csv_findings": _l("Saved the findings"),
        "pdf_findings": _l("Printed the findings"),
        "template_officials": _l("Saved the officials as a table"),
        "import": _l("Imported a table"),
        "view_import": _l("Looked at an import"),
        "import_draft": _l("Handed in a table to be looked at"),
        "view_preview": _l("Looked at what a table would change"),
        "view_export": _l("Fetched a paper that was made"),
        "undo_import": _l("Took an import back"),
        "add_shift": _l("Made a shift"),
        "set_holiday": _l("Changed the holiday table"),
        "set_rule": _l("Set a rule"),
        "propose_rule": _l("Proposed a rule"),
        "approve_rule": _l("Approved a proposed rule"),
        "refuse_rule": _l("Refused a proposed rule"),
        "view_groups": _l("Looked at the work groups"),
        "add_group": _l("Made a work group"),
        "set_group": _l("Changed a work group"),
        "move_member": _l("Moved an official to another group"),
        "add_site": _l("Made a site"),
        "rename_site": _l("Renamed a site"),
        "view_roster": _l("Looked at who is expected where"),
        "view_particulars": _l("Looked at an official's particulars"),
        "add_official": _l("Entered an official"),
        "edit_official": _l("Changed an official's particulars"),
        "set_active": _l("Changed who is on the roster"),
        "set_pattern": _l("Changed a weekly pattern"),
        "view_exceptions": _l("Looked at dated exceptions"),
        "set_exception": _l("Changed a dated exception"),
    }
)
#: `server.rules.calendar.holiday_name`.
HOLIDAYS: dict[str, Later] = {
    "New Year's Day": _l("New Year's Day"),
    "Spring Festival": _l("Spring Festival"),
    "Tomb-sweeping Day": _l("Tomb-sweeping Day"),
    "Labour Day": _l("Labour Day"),
    "Dragon Boat Festival": _l("Dragon Boat Festival"),
    "National Day": _l("National Day"),
    "Mid-autumn Festival": _l("Mid-autumn Festival"),
}
#: The check that decided (`recognition.liveness.LivenessVerdict.name`).
LIVENESS: dict[str, Later] = {
    "off": _l("switched off"),
    "still": _l("single picture"),
    "motion": _l("by motion"),
    "passive": _l("by appearance"),
    "challenge": _l("by request"),
    "passive+challenge": _l("by appearance and request"),
}
HEALTH: dict[str, Later] = {
    "camera": _l("camera"),
    "lamps": _l("lamps"),
    "clock": _l("clock"),
    "disk_free_mb": _l("free disk (MB)"),
    "version": _l("version"),
}
#: Words of a kiosk's health that are not the name of something.
SAID: dict[str, Later] = {
    "ok": _l("fine"),
    "verified": _l("verified"),
    "doubtful": _l("doubtful"),
    "starting": _l("starting"),
    "unknown": _l("not known"),
    "fault": _l("at fault"),
    "ended": _l("ended"),
    "upside_down": _l("upside down"),
    "covered": _l("covered"),
    "frozen": _l("frozen"),
    "blank": _l("shows nothing"),
}
#: Lamp drivers (`run --lamps`), where nothing is wrong with the board.
LAMPS: dict[str, Later] = {
    "screen": _l("drawn on the screen"),
    "rgb": _l("three pins a lamp (rgb)"),
    "shift": _l("shift registers (shift)"),
    "apa102": _l("LED strip (apa102)"),
}
REFUSED: dict[str, Later] = {
    "not_live": _l("refused as not alive: %(n)s"),
    "unknown": _l("refused as unknown: %(n)s"),
    "ambiguous": _l("refused as ambiguous: %(n)s"),
    "quality": _l("refused for a poor picture: %(n)s"),
    "locked": _l("refused while locked: %(n)s"),
}

#: Parts of a kiosk that something can be wrong with (`Health.troubles`).
PARTS: dict[str, Later] = {
    "store": _l("recording"),
    "camera": _l("camera"),
    "lamps": _l("lamp board"),
    "disk": _l("storage"),
    "outbox": _l("upload"),
    "gallery": _l("gallery"),
    "recognition": _l("face recognition"),
    "voice": _l("voice"),
    "clock": _l("clock"),
}

#: Functions that every template may call.
FOR_TEMPLATES = (
    "verdict_word",
    "verdict_glyph",
    "role_word",
    "site_kind_word",
    "look_of",
    "status_word",
    "error_words",
)


@dataclass(frozen=True)
class ErrorWords:
    """A refusal in the reader's language; it tells nothing of the inside."""

    title: str
    advice: str


def verdict_word(verdict: str) -> str:
    """A verdict of the day sheet in words."""
    return str(VERDICTS[verdict][1]) if verdict in VERDICTS else verdict


def verdict_glyph(verdict: str) -> str:
    """The verdict's shape, for who cannot tell its colour."""
    return VERDICTS[verdict][0] if verdict in VERDICTS else "·"


def method_word(method: str | None) -> str:
    """How the person was known, in words."""
    return str(METHODS.get(method or "", method or ""))


def kind_word(kind: str) -> str:
    """What a record says, in words."""
    return str(KINDS.get(kind, kind))


def liveness_word(liveness: str) -> str:
    """The liveness check that decided, in words."""
    return str(LIVENESS.get(liveness, liveness))


def role_word(role: str) -> str:
    """A role in words."""
    return str(ROLES.get(role, role))


def site_kind_word(kind: str) -> str:
    """A kind of site in words."""
    return str(SITE_KINDS.get(kind, kind))


def holiday_word(name: str) -> str:
    """A holiday by the English name of the State Council's notice."""
    return str(HOLIDAYS.get(name, name))


def device_state_word(state: str) -> str:
    """What is wrong with a device, "" where nothing is."""
    return str(DEVICE_STATES.get(state, ""))


def act_word(what: str) -> str:
    """An act of the audit trail in words."""
    return str(ACTS.get(what, what))


def who_words(who: str) -> str:
    """Who acted: an account by name, a device by its id, a command."""
    if who in ("", "command"):
        return gettext("a command on the server")
    if who.startswith("device:"):
        # A desk adds the name of whoever decided there.
        device, _, name = who.removeprefix("device:").partition(" ")
        if name:
            return gettext("%(name)s, at device %(device)s", name=name, device=device)
        return gettext("device %(device)s", device=device)
    return who


def health_words(health: Mapping[str, object]) -> list[str]:
    """What a kiosk said of itself, a phrase for each part and for each reason of its refusals."""
    counted = health.get("refused")
    refused = counted if isinstance(counted, Mapping) else {}
    return [
        gettext(
            "%(part)s: %(said)s",
            part=word,
            said=_said(key, health[key]),
        )
        for key, word in HEALTH.items()
        if health.get(key) not in (None, "")
    ] + [
        *(str(word) % {"n": refused[key]} for key, word in REFUSED.items() if refused.get(key)),
        *_watched(health),
    ]


def _said(key: str, value: object) -> object:
    words = {**SAID, **LAMPS} if key == "lamps" else SAID
    return words.get(str(value), value)


def _watched(health: Mapping[str, object]) -> list[str]:
    """What a kiosk's caretaker is told beforehand: records that wait, what runs out, what fails."""
    oldest, rejected = health.get("oldest_s"), health.get("rejected")
    ends, parts = health.get("gallery_expires_ms"), health.get("troubles")
    said = []
    if isinstance(oldest, int) and oldest >= 3600:
        said.append(gettext("oldest record waits %(n)s h", n=oldest // 3600))
    if isinstance(rejected, int) and rejected:
        said.append(gettext("not accepted: %(n)s", n=rejected))
    if isinstance(ends, int):
        said.append(gettext("gallery until %(day)s", day=day_of(ends).isoformat()))
    if isinstance(parts, list) and parts:
        named = " / ".join(str(PARTS.get(str(part), part)) for part in parts)
        said.append(gettext("needs attention: %(parts)s", parts=named))
    return said


def look_of(status: str) -> Look:
    """How a status looks."""
    return LOOKS[Status(status)]


def status_word(status: str) -> str:
    """A status in words."""
    return look_of(status).word(lang())


def reason_words(reason: str | None) -> str:
    """A reason in words: the kiosk's own translated, anything else as it was given."""
    return reason_word(reason, lang()) if reason else ""


def interval_words(
    earliest_ms: int, latest_ms: int, at_ms: int, cls: str, day: date | None = None
) -> str:
    """When something happened, with its certainty, in words.

    A class C time is never said without the doubt. Less than a minute of doubt is not worth words.
    """
    if cls == ClockClass.C:
        return gettext("about %(at)s (clock doubtful: please confirm)", at=clock_words(at_ms, day))
    if latest_ms - earliest_ms < 60_000:
        return clock_words(at_ms + 500, day)  # to the second, then its minute
    first, last = clock_words(earliest_ms, day), clock_words(latest_ms, day)
    if local(earliest_ms).date() == local(latest_ms).date() != day:
        last = local(latest_ms).strftime("%H:%M")
    return gettext("between %(first)s and %(last)s", first=first, last=last)


def error_words(code: int) -> ErrorWords:
    """What a page that could not be answered says."""
    titles = {
        400: (
            gettext("This request could not be understood"),
            gettext("Go back, load the page again, and repeat what you did."),
        ),
        403: (
            gettext("This is not open to your account"),
            gettext("Ask somebody whose role allows it, or sign in with another account."),
        ),
        404: (
            gettext("There is no such page"),
            gettext("The address may be mistyped, or what it named is not here."),
        ),
        405: (
            gettext("This request could not be understood"),
            gettext("Go back, load the page again, and repeat what you did."),
        ),
        413: (
            gettext("That is too much at once"),
            gettext("Send less, and try again."),
        ),
        429: (
            gettext("Too many attempts"),
            gettext("Wait a while, then try again."),
        ),
        503: (
            gettext("The server is busy"),
            gettext("Wait a moment, then load the page again."),
        ),
    }
    fault = (
        gettext("Something went wrong on the server"),
        gettext("Nothing that was recorded is lost. Try again; tell the technician if it stays."),
    )
    return ErrorWords(*titles.get(code, titles[400] if code < 500 else fault))
