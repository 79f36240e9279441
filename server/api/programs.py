"""What the township's other programs read under `/api/v1/programs`, each by its own token."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import wraps
from typing import Any, ParamSpec

import msgspec
from flask import Blueprint, Response, g, request
from sqlalchemy import select

from attendance import wire
from attendance.days import day_of, to_ms
from server import db
from server.api.answers import answer, spoken
from server.context import context, now
from server.errors import ApiProblem
from server.logs import about
from server.models import ApiToken, Finding, Official, RecordRow, Site, Township, WorkGroup
from server.services.access import limits, tokens
from server.services.evidence import audit
from server.services.programs.items import (
    SETTLED_MS,
    FindingItem,
    RecordItem,
    finding_item,
    record_item,
)
from server.services.rulings import findings
from server.services.sheets import daysheet
from server.services.township.whereabouts import whereabouts_at

PREFIX = f"{wire.PREFIX}/programs"
#: Rows of one answer, unless asked otherwise, and at the most.
USUAL, MOST = 100, 500
#: Questions of one token in a minute.
ASKS, ASK_SECONDS = 120, 60
P = ParamSpec("P")

blueprint = Blueprint("api_programs", __name__)


class WhereRow(msgspec.Struct, omit_defaults=True):
    """Where one official is; times are Unix milliseconds, `cls` is the clock's class."""

    official: str
    name: str
    status: str
    site: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    cls: str | None = None


class WherePage(msgspec.Struct):
    """Everybody's whereabouts at one moment."""

    at_ms: int
    items: list[WhereRow]


class OfficialItem(msgspec.Struct):
    """An official of the roster."""

    official: str
    name: str
    title: str
    work_group: str
    phone: str
    duties: str
    active: bool


class OfficialPage(msgspec.Struct):
    """Officials by id; `next` is the cursor of what follows, null at the end."""

    items: list[OfficialItem]
    next: str | None


class RecordPage(msgspec.Struct):
    """Records in the order of arrival. `next` is never null: ask again with it for newer ones."""

    items: list[RecordItem]
    next: str


class DayItem(msgspec.Struct):
    """The verdict about one official's day."""

    official: str
    name: str
    verdict: str
    doubtful: bool
    expected_sites: list[str]
    record_ids: list[str]
    corrections: list[int]


class DayPage(msgspec.Struct):
    """A page of a day sheet, in its order."""

    day: str
    working_day: bool
    items: list[DayItem]
    next: str | None


class FindingPage(msgspec.Struct):
    """Findings, newest first."""

    items: list[FindingItem]
    next: str | None


def asked_by(scope: str) -> Callable[[Callable[P, Response]], Callable[P, Response]]:
    """Lets a view answer the holders of tokens with that scope, and notes in the trail who asked.

    Raises ApiProblem `token` (401), `scope` (403) and `slow_down` (429) to `spoken`.
    """

    def guard(view: Callable[P, Response]) -> Callable[P, Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
            kind, _, text = request.headers.get("Authorization", "").partition(" ")
            session, present = db.session(), now()
            token = tokens.holder(session, text.strip(), present) if kind == "Bearer" else None
            if token is None:
                raise ApiProblem(401, "token", "send a valid token as Authorization: Bearer")
            if scope not in token.scopes.split():
                raise ApiProblem(403, "scope", f"this token may not read {scope}")
            who = f"token:{token.id}"
            if not limits.allow(context().config.data, who, ASKS, ASK_SECONDS, present):
                raise ApiProblem(429, "slow_down", "too many questions", retry_after_s=ASK_SECONDS)
            audit.note_for(
                session, token.township_id, f"token:{token.name}", f"api_{scope}",
                request.query_string.decode("latin-1")[:200], present, request.remote_addr or "",
            )  # fmt: skip
            session.commit()
            g.quxiang_token = token
            about(token.township_id)
            return view(*args, **kwargs)

        guarded.quxiang_scope = scope  # type: ignore[attr-defined]
        return guarded

    return guard


def _township() -> Township:
    token: ApiToken = g.quxiang_token
    return db.session().get_one(Township, token.township_id)


def _limit() -> int:
    text = request.args.get("limit", str(USUAL))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST and len(text) < 5):
        raise ApiProblem(400, "malformed", f"limit is a number from 1 to {MOST}")
    return int(text)


def cursor_of(what: str, value: str | int) -> str:
    """A cursor: opaque to whoever holds it, good for one list."""
    return base64.urlsafe_b64encode(f"{what}:{value}".encode()).decode().rstrip("=")


def _after(what: str) -> str | None:
    """What the cursor of this request stands for in the list `what`; None without one."""
    text = request.args.get("cursor")
    if text is None:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind, _, value = raw.decode().partition(":")
    except ValueError:
        kind, value = "", ""
    if kind != what or len(text) > 100:
        raise ApiProblem(400, "malformed", "this is no cursor of this list")
    return value


def _number(what: str) -> int | None:
    value = _after(what)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ApiProblem(400, "malformed", "this is no cursor of this list")
    return int(value)


def _tagged(page: Any) -> Response:
    """The answer with its ETag; 304 for whoever holds the same already."""
    body = msgspec.json.encode(page)
    tag = hashlib.sha256(body).hexdigest()[:32]
    if request.if_none_match.contains(tag):
        response = answer(None, 304)
        response.content_type = None  # type: ignore[assignment]
    else:
        response = answer(body)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@blueprint.get(f"{PREFIX}/whereabouts")
@spoken
@asked_by("whereabouts")
def where() -> Response:
    """Where everybody is now. The minute, not the moment: an unchanged board has one tag."""
    present = now()
    items = [
        WhereRow(
            p.official, p.name, str(p.where.status), p.where.site, p.where.since_ms,
            p.where.until_ms, None if p.where.cls is None else str(p.where.cls),
        )
        for p in whereabouts_at(db.session(), _township(), present)
    ]  # fmt: skip
    return _tagged(WherePage(to_ms(present) // 60_000 * 60_000, items))


@blueprint.get(f"{PREFIX}/officials")
@spoken
@asked_by("officials")
def officials() -> Response:
    """The roster, by id."""
    limit, after, place = _limit(), _after("officials"), _township()
    query = (
        select(Official, WorkGroup.name)
        .outerjoin(WorkGroup, WorkGroup.id == Official.work_group_id)
        .where(Official.township_id == place.id)
        .order_by(Official.official)
        .limit(limit + 1)
    )
    if after is not None:
        query = query.where(Official.official > after)
    rows = db.session().execute(query).all()
    items = [
        OfficialItem(o.official, o.name, o.title, group or "", o.phone, o.duties, o.active)
        for o, group in rows[:limit]
    ]
    more = cursor_of("officials", items[-1].official) if len(rows) > limit else None
    return _tagged(OfficialPage(items, more))


@blueprint.get(f"{PREFIX}/records")
@spoken
@asked_by("records")
def records() -> Response:
    """Records in the order of arrival, to be followed by the cursor."""
    limit, after, place = _limit(), _number("records") or 0, _township()
    session = db.session()
    query = (
        select(RecordRow, Site.name)
        .outerjoin(Site, Site.id == RecordRow.site_id)
        .where(RecordRow.township_id == place.id, RecordRow.id > after)
        .order_by(RecordRow.id)
        .limit(limit)
    )
    if session.get_bind().dialect.name != "sqlite":
        query = query.where(RecordRow.received_ms <= to_ms(now()) - SETTLED_MS)
    rows = session.execute(query).all()
    items = [record_item(r, site) for r, site in rows]
    return _tagged(RecordPage(items, cursor_of("records", rows[-1][0].id if rows else after)))


@blueprint.get(f"{PREFIX}/days/<day>")
@spoken
@asked_by("days")
def sheet_of(day: str) -> Response:
    """The day sheet of a day that has begun."""
    present, limit, first = now(), _limit(), _number("days") or 0
    today = day_of(to_ms(present))
    try:
        asked = date.fromisoformat(day)
    except ValueError:
        raise ApiProblem(404, "not_found", "a day is written 2026-11-25") from None
    if not today - timedelta(daysheet.MAX_DAYS) <= asked <= today or asked.isoformat() != day:
        raise ApiProblem(404, "not_found", f"days of the last {daysheet.MAX_DAYS} are here")
    sheet = daysheet.day_sheet(db.session(), _township(), asked, present, first=first, most=limit)
    items = [
        DayItem(
            r.official, r.name, r.verdict, r.doubtful, list(r.expected_sites),
            [entry.record_id for entry in r.entries], list(r.corrected),
        )
        for r in sheet.rows
    ]  # fmt: skip
    end = first + len(items)
    more = cursor_of("days", end) if items and end < sheet.all_rows else None
    return _tagged(DayPage(asked.isoformat(), sheet.working_day, items, more))


@blueprint.get(f"{PREFIX}/findings")
@spoken
@asked_by("findings")
def found() -> Response:
    """Findings, newest first."""
    limit, before, place = _limit(), _number("findings"), _township()
    ids: Sequence[int] = (
        db.session()
        .scalars(
            select(Finding.id)
            .where(
                Finding.township_id == place.id,
                Finding.id < before if before is not None else Finding.id > 0,
            )
            .order_by(Finding.id.desc())
            .limit(limit + 1)
        )
        .all()
    )
    listed = findings.listing(db.session(), place, ids=ids[:limit])
    items = [finding_item(f) for f in listed]
    more = cursor_of("findings", items[-1].number) if len(ids) > limit else None
    return _tagged(FindingPage(items, more))
