"""What the pages call corrections, findings, spot checks and allowances."""

from __future__ import annotations

from server.web.language import lang
from server.web.say import Later, _l

CORRECTIONS: dict[str, Later] = {
    "presence": _l("Was there without a record"),
    "void": _l("The record does not count"),
    "mistaken": _l("Wrong person"),
    "time": _l("The time is vouched for"),
    "direction": _l("In and out were mixed up"),
    "excuse": _l("Late or early is excused"),
    "absent": _l("Was absent (decides an open day)"),
    "undo": _l("Undoes a correction"),
}
CORRECTION_STATES: dict[str, Later] = {
    "proposed": _l("waits for a decision"),
    "approved": _l("approved"),
    "refused": _l("refused"),
    "undone": _l("undone"),
}
LEAVE_STATES: dict[str, Later] = {
    "county": _l("waiting for the county"),
    "approved": _l("approved"),
    "refused": _l("refused"),
    "withdrawn": _l("not taken"),
}
WHY: dict[str, Later] = {
    "paid": _l("verified in a village"),
    "not_here": _l("nobody recorded them"),
    "other_site": _l("not in a village"),
    "on_leave": _l("leave or trip"),
    "doubtful": _l("clock doubtful"),
    "too_short": _l("not there long enough"),
    "too_late": _l("too late"),
    "open": _l("not yet known"),
}
SEEN: dict[str, Later] = {
    "there": _l("Was there"),
    "not_there": _l("Was not there"),
    "elsewhere": _l("Was elsewhere on duty"),
    "excused": _l("Had a good reason"),
}
SURE: dict[str, Later] = {
    "sure": _l("sure"),
    "between": _l("the record's time is not certain enough"),
    "doubtful": _l("clock doubtful"),
    "open": _l("records may still come"),
    "nothing": _l("nothing is recorded"),
}
FINDING_KINDS: dict[str, Later] = {
    "absent": _l("Not where expected"),
    "mistaken": _l("Mistaken identity"),
    "record": _l("A record that does not hold"),
    "device": _l("Kiosk or site"),
    "other": _l("Other"),
}
FINDING_STATES: dict[str, Later] = {
    "open": _l("open"),
    "answered": _l("answered"),
    "closed": _l("closed"),
}
FINDING_EVENTS: dict[str, Later] = {
    "note": _l("Note"),
    "answered": _l("Answer"),
    "closed": _l("Close"),
    "reopened": _l("Reopen"),
}
#: The same once it was done.
FINDING_DONE: dict[str, Later] = {
    "note": _l("Noted"),
    "answered": _l("Answered"),
    "closed": _l("Closed"),
    "reopened": _l("Reopened"),
    "reenrolled": _l("At the enrolment desk"),
}
EXCEPTIONS: dict[str, Later] = {
    "at": _l("Expected at a site"),
    "off": _l("Not expected"),
    "pattern": _l("As the weekly pattern says"),
}
#: Why a form was refused, by `InputInvalid.key`.
REFUSALS: dict[str, Later] = {
    "reason": _l("Give the reason."),
    "kind": _l("Choose what is to be corrected."),
    "day": _l("That day is to come."),
    "start": _l("Give a time of that day that is past."),
    "end": _l("The end must come after the beginning, on that day."),
    "really": _l("That is the same person."),
    "undone": _l("That is undone already."),
    "decided": _l("That is decided already."),
    "attachment": _l("An attachment is a picture of at most 8 MB or a PDF of at most 2 MB."),
    "not_found": _l("Choose a record, a site or an official that exists."),
    "month_open": _l("The month is not over."),
    "month_signed": _l("The month is signed already."),
    "month_earlier": _l("An earlier month has records and is not signed: sign that one first."),
    "month_order": _l("A later month is signed already."),
    "month_changed": _l("The statement has changed since you saw it. Look at it again, then sign."),
    "draw": _l("Draw 1 to 100 sites and 1 to 50 people at each."),
    "nobody": _l("Nobody is expected anywhere that day."),
    "seen": _l("Choose what was seen, and a time that is past."),
    "seen_time": _l("Give the time at which this was seen: one of the day of the draw, and past."),
    "seen_site": _l("Say at which of the sites this was seen."),
    "finding": _l("Choose a kind and say what was found."),
    "event": _l("That step cannot follow now."),
    "text": _l("Say what there is to say."),
    "apart": _l("Tick records that still wait for a review."),
    "leave_step": _l("Give the number of the county's paper."),
    "own": _l("This is about yourself: somebody else must do it."),
    "another": _l("You proposed this yourself: another person decides."),
    "own_leave": _l("This is your own leave: another leader decides."),
    "entered_leave": _l("You entered this leave yourself: another leader decides. Where there is "
                        "none, withdraw it and let the clerk enter it."),
    "decided_leave": _l("You decided for the township: somebody else enters the county's answer."),
    "begun_leave": _l("This leave is approved and has begun: only a leader who neither entered it "
                      "nor takes it may withdraw it."),
    "table_file": _l("That is no XLSX file that can be read: at most 4 MB, and a plain table."),
    "table_columns": _l("The first sheet lacks a column that is needed, or has one twice."),
    "table_rows": _l("The table has no rows, or more than 5,000."),
    "plan_changed": _l("Something has changed since you saw this. Look at it again, then apply."),
    "plan_empty": _l("No row of this table would change anything."),
    "busy": _l("Other papers are being made. Try again in a minute."),
    "unreadable": _l("Something that was typed cannot be read. Check dates, times and numbers."),
    "number": _l("Give whole numbers."),
    "day_typed": _l("Give a date of this century or the next."),
    "time_typed": _l("Give a time such as 08:30."),
    "shift": _l("These hours make no shift: at most 36 hours, grace of at most 4 hours, a name."),
    "past": _l("Patterns change from today on: sheets of past days keep what was the roster."),
    "over": _l("Past days keep what was the roster: enter leave or a trip, or propose a "
               "correction."),
    "weekdays": _l("Choose days of the week."),
    "what": _l("Choose what is to hold."),
    "days": _l("The last day comes before the first, or there are too many days."),
    "rule": _l("A number is missing or out of range."),
    "at_least": _l("That many people are too many."),
    "site_kind": _l("Choose whether it is an office or a village."),
    "site_name": _l("Give a name."),
    "name": _l("Give a name."),
    "name_taken": _l("That name is taken."),
    "households": _l("A number of households is 0 to 10,000."),
    "official_code": _l("An id has 1 to 32 letters, digits and hyphens."),
    "official_taken": _l("That id is taken."),
}  # fmt: skip


def correction_word(kind: str) -> str:
    """A kind of correction in words."""
    return str(CORRECTIONS.get(kind, kind))


def correction_state_word(state: str) -> str:
    """The state of a correction in words."""
    return str(CORRECTION_STATES.get(state, state))


def why_word(why: str) -> str:
    """Why a day earns the allowance or not."""
    return str(WHY.get(why, why))


def seen_word(seen: str) -> str:
    """What an inspector saw."""
    return str(SEEN.get(seen, seen))


def sure_word(sure: str) -> str:
    """How sure it is where somebody was."""
    return str(SURE.get(sure, sure))


def finding_kind_word(kind: str) -> str:
    """A kind of finding in words."""
    return str(FINDING_KINDS.get(kind, kind))


def finding_state_word(state: str) -> str:
    """The state of a finding in words."""
    return str(FINDING_STATES.get(state, state))


def finding_event_word(what: str) -> str:
    """A step of a finding in words."""
    return str(FINDING_EVENTS.get(what, what))


def finding_done_word(what: str) -> str:
    """A step of a finding that was taken, in words."""
    return str(FINDING_DONE.get(what, what))


def finding_text(text: str) -> str:
    """What stands in a finding: as it was typed; of the server's own in the reader's language."""
    chinese, _, english = text.partition("\n")
    return english if english and lang() == "en" else chinese


def refusal_words(key: str) -> str:
    """Why a form was refused."""
    return str(REFUSALS.get(key, REFUSALS["not_found"]))


def leave_state_word(state: str) -> str:
    """The state of leave in words."""
    return str(LEAVE_STATES.get(state, state))


def exception_word(what: str) -> str:
    """What holds on a dated exception."""
    return str(EXCEPTIONS.get(what, what))
