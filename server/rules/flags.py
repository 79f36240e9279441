"""Words that mark a record or a day for review, each made in one place and worded by the pages."""

from __future__ import annotations

#: At a village kiosk where the official is not expected.
UNEXPECTED_SITE = "unexpected_site"
#: The kiosk could not check who the person was.
UNVERIFIED = "unverified"
#: Presence during approved leave or an approved trip.
LEAVE_CLASH = "leave_clash"
#: Recorded with the liveness check switched off.
LIVENESS_OFF = "liveness_off"
#: Amends a record older than ten seconds, or one that is not there.
LATE_AMEND = "late_amend"
#: The code is in no roster of the township.
UNKNOWN_OFFICIAL = "unknown_official"
#: The kiosk's wall clock was more than two minutes off the truth.
WALL_OFF = "wall_off"
#: The boot clock contradicts the bracket of contacts; the estimate does without it.
CLOCK_CONTRADICTION = "clock_contradiction"
#: Replaced by a later amend (on entries only).
SUPERSEDED = "superseded"

#: On days (`Discrepancy.kind`), besides all of the above:
#: rests on class C alone: the wall clock's word.
DOUBTFUL = "doubtful"
#: Came, but to none of the sites where they were expected.
ELSEWHERE = "elsewhere"
#: Leave or a trip chosen at the kiosk, or asked for, that nobody has approved.
PENDING = "pending"
#: A doubtful record of another day may belong to this one.
DOUBTFUL_RECORD = "doubtful_record"
#: No kiosk stood at an expected site that day.
NO_KIOSK = "no_kiosk"
#: The kiosk of an expected site neither recorded nor called all that day.
KIOSK_SILENT = "kiosk_silent"
#: Records of an expected site's kiosk were set aside, and nobody has reviewed them: till then
#: nobody is absent there, nor late.
SET_ASIDE = "set_aside"
#: Only a check-out was recorded.
NO_CHECKIN = "no_checkin"
#: Nobody checked out although the day is over and all records are here.
NO_CHECKOUT = "no_checkout"
#: The interval of the first record reaches over the end of the grace, or an earlier record of a
#: site that has not reported may still come.
MAYBE_LATE = "maybe_late"
#: The interval of the last check-out reaches over the beginning of the grace.
MAYBE_EARLY = "maybe_early"
#: Fewer visits than the shift asks for.
FEW_VISITS = "few_visits"

RECORD_FLAGS = (
    UNEXPECTED_SITE,
    UNVERIFIED,
    LEAVE_CLASH,
    LIVENESS_OFF,
    LATE_AMEND,
    UNKNOWN_OFFICIAL,
    WALL_OFF,
    CLOCK_CONTRADICTION,
    SUPERSEDED,
)
DAY_KINDS = (
    DOUBTFUL,
    ELSEWHERE,
    PENDING,
    DOUBTFUL_RECORD,
    NO_KIOSK,
    KIOSK_SILENT,
    SET_ASIDE,
    NO_CHECKIN,
    NO_CHECKOUT,
    MAYBE_LATE,
    MAYBE_EARLY,
    FEW_VISITS,
)
