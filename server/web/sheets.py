"""How one line of a day sheet is said: times with their certainty, sites, methods, flags."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from markupsafe import Markup, escape

from server.services.sheets.daysheet import DayRow, Discrepancy, Entry
from server.web import badges, words
from server.web.language import clock_words, lang
from server.web.say import Later, _l, gettext

#: Words and weight of `server.rules.flags`.
FLAGS: dict[str, tuple[Later, str]] = {
    "unexpected_site": (_l("Not expected at this site"), ""),
    "unverified": (_l("Identity not verified"), "strong"),
    "leave_clash": (_l("Clashes with approved leave or trip"), "strong"),
    "liveness_off": (_l("Sample footage / liveness check off"), "sample"),
    "late_amend": (_l("Changed too late"), "strong"),
    "unknown_official": (_l("Id not in the roster"), "strong"),
    "wall_off": (_l("Kiosk's clock more than two minutes off"), ""),
    "clock_contradiction": (_l("Clock evidence contradicts itself"), "strong"),
    "superseded": (_l("Replaced by a later change"), ""),
    "doubtful": (_l("Clock doubtful: please confirm"), ""),
    "elsewhere": (_l("Came, but not where expected"), ""),
    "pending": (_l("Leave or trip awaits approval"), ""),
    "doubtful_record": (_l("A doubtful record of another day may belong here"), ""),
    "no_kiosk": (_l("No kiosk at the expected site"), "strong"),
    "kiosk_silent": (_l("Kiosk of the expected site silent all day"), "strong"),
    "set_aside": (_l("Records of the expected site set aside await a review"), "strong"),
    "no_checkin": (_l("Checked out without checking in"), ""),
    "no_checkout": (_l("Did not check out"), ""),
    "maybe_late": (_l("Perhaps late: the time is not certain enough"), ""),
    "maybe_early": (_l("Perhaps left early: the time is not certain enough"), ""),
    "few_visits": (_l("Fewer visits than the shift asks for"), ""),
}


@dataclass(frozen=True)
class FlagWords:
    """A flag in words and the style class of its weight."""

    word: str
    css: str


def flag_words(kind: str) -> FlagWords:
    """A word of `server.rules.flags` for people."""
    word, css = FLAGS.get(kind, (kind, ""))
    return FlagWords(str(word), css)


def entry_flags(entry: Entry) -> list[FlagWords]:
    """The flags of one record. That its clock is doubtful is said with its time."""
    return [flag_words(kind) for kind in entry.flags]


def finding_words(found: Discrepancy) -> FlagWords:
    """One discrepancy, with the site that it is about."""
    said = flag_words(found.kind)
    if not found.site:
        return said
    return FlagWords(gettext("%(what)s: %(site)s", what=said.word, site=found.site), said.css)


def row_findings(row: DayRow) -> list[FlagWords]:
    """The discrepancies of a row, each said once, without those that its records already say."""
    said = {kind for entry in row.entries for kind in entry.flags}
    found: list[FlagWords] = []
    for one in row.discrepancies:
        if one.record_id is not None and one.kind in said:
            continue
        line = finding_words(one)
        if line not in found:
            found.append(line)
    return found


def entry_time(entry: Entry, day: date) -> str:
    """When, with its certainty, in words."""
    return words.interval_words(
        entry.earliest_ms, entry.latest_ms, entry.at_ms, str(entry.cls), day
    )


@lru_cache(maxsize=4096)
def _where_and_how(_lang: str, site: str, method: str, kind: str) -> str:
    parts = (site, words.method_word(method), words.kind_word(kind))
    return " · ".join(part for part in parts if part)


def entry_words(entry: Entry, day: date) -> str:
    """Where, how and why, in one line."""
    if not entry.reason and entry.until_ms is None:
        return _where_and_how(lang(), entry.site, entry.method, entry.kind)
    parts = [entry.site, words.method_word(entry.method), words.kind_word(entry.kind)]
    if entry.reason:
        parts.append(words.reason_words(entry.reason))
    if entry.until_ms is not None:
        parts.append(gettext("back about %(at)s", at=clock_words(entry.until_ms, day)))
    return " · ".join(part for part in parts if part)


def entry_line(entry: Entry, day: date) -> Markup:
    """A record as a line of a sheet. Not a macro: a sheet shows thousands."""
    doubt = " doubt" if entry.cls == "C" else ""
    return Markup(  # noqa: S704 (what is not ours is escaped)  # nosec B704
        f'<span class="when{doubt}">{escape(entry_time(entry, day))}</span>\n'
        f"{badges.status_badge(entry.status)}\n"
        f'<span class="small">{escape(entry_words(entry, day))}</span>'
        + "".join(
            f'\n<span class="flag {flag.css}">{escape(flag.word)}</span>'
            for flag in entry_flags(entry)
        )
    )


def evidence_words(entry: Entry) -> str:
    """What the record rests on, for whoever audits it."""
    parts = [
        gettext(
            "kiosk %(device)s, record %(epoch)s/%(seq)s",
            device=entry.device,
            epoch=entry.epoch,
            seq=entry.seq,
        ),
        gettext("clock class %(cls)s", cls=entry.cls),
    ]
    if entry.score is not None:
        parts.append(gettext("likeness %(score)s", score=f"{entry.score:.2f}"))
    if entry.margin is not None:
        parts.append(gettext("margin %(margin)s", margin=f"{entry.margin:.2f}"))
    if entry.liveness:
        parts.append(gettext("liveness %(liveness)s", liveness=words.liveness_word(entry.liveness)))
    return ("，" if lang() == "zh" else ", ").join(parts)
