"""`GET /api/v1/openapi.json`: the interface described, its shapes taken from the wire itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from flask import Blueprint, Response

from attendance import proposals, reenrol, wire
from attendance.records import Record
from server.api import programs
from server.api.answers import spoken

blueprint = Blueprint("api_openapi", __name__)

_ERRORS = {
    400: "malformed", 401: "signature, unknown_device", 403: "revoked, wrong_kind",
    413: "too_large", 503: "busy (with Retry-After)",
}  # fmt: skip
#: path, method, who, what it does, body, answer, errors beyond the common ones
_PATHS: tuple[tuple[str, str, str, str, Any, Any, dict[int, str]], ...] = (
    (wire.PAIR, "get", "anyone", "Keys and certificate, to be compared with a code before pairing",
     None, wire.PairHint, {}),
    (wire.PAIR, "post", "anyone with a code", "Pairs a device by a one-time code",
     wire.PairRequest, wire.PairReply,
     {403: "code", 409: "known_device", 429: "slow_down (with Retry-After)"}),
    (wire.CURSOR, "post", "kiosk", "Where the kiosk's chain stands; answers the server's cursor",
     wire.CursorRequest, wire.CursorReply, {}),
    (wire.RECORDS, "post", "kiosk", "Consecutive records, gzipped; one result a record",
     wire.Batch, wire.BatchReply, {409: "gap (with wanted), fork", 429: "slow_down"}),
    (wire.WHEREABOUTS, "get", "kiosk", "Where the officials of this kiosk's board are",
     None, wire.Snapshot, {}),
    (wire.PORTRAITS + "/{token}", "get", "kiosk", "A public portrait of this kiosk's board",
     None, "image/jpeg", {404: "not_found"}),
    (wire.GALLERY, "get", "kiosk", "The sealed gallery, where it is newer than have",
     None, wire.GalleryPackage, {}),
    (wire.RELEASE, "get", "kiosk", "The signed head of the newest release for this machine, Python",
     None, "application/octet-stream", {}),
    (wire.RELEASE + "/{number}", "get", "kiosk", "At most 256 KiB of it, as Range asks",
     None, "application/octet-stream", {404: "not_found", 416: "malformed", 503: "busy"}),
    (wire.DESK_SITES, "get", "desk", "The township's sites", None, list[wire.SiteRow], {}),
    (wire.DESK_EXPECTED, "get", "desk", "Whom the server expects at which village",
     None, list[wire.ExpectedRow], {}),
    (wire.DESK_KIOSKS, "get", "desk", "The kiosks and their public keys",
     None, list[wire.KioskRow], {}),
    (wire.DESK_ROSTER, "put", "desk", "Adds or updates officials",
     wire.Roster, wire.RosterReply, {}),
    (wire.DESK_PORTRAITS + "/{official}", "put", "desk", "A public portrait, JPEG",
     "image/jpeg", 204, {404: "unknown_official"}),
    (wire.DESK_GALLERIES + "/{device}", "put", "desk", "A sealed gallery for one kiosk",
     wire.GalleryPackage, 204, {409: "rollback"}),
    (wire.DESK_WITHDRAWALS, "post", "desk", "An official withdrew consent",
     wire.Withdrawal, 204, {404: "unknown_official"}),
    (wire.DESK_WITHDRAWALS, "get", "desk", "The withdrawals that the server knows of",
     None, list[wire.Withdrawn], {}),
    (wire.DESK_ERASURES, "get", "desk", "The kiosks' receipts of erasure",
     None, list[wire.ErasureRow], {}),
    (reenrol.DESK_REENROLMENTS, "get", "desk", "Who is to be enrolled again, and why",
     None, list[reenrol.Reenrolment], {}),
    (reenrol.DESK_REENROLMENTS, "post", "desk", "A newer enrolment is there",
     reenrol.Reenrolled, 204, {404: "not_found"}),
    (proposals.KIOSK_PROPOSALS, "put", "kiosk", "A proposed template picture, sealed to the desk",
     proposals.ProposalPackage, 204, {404: "unknown_official", 409: "full, gone"}),
    (proposals.DESK_PROPOSALS, "get", "desk", "The proposals that wait",
     None, list[proposals.ProposalRow], {}),
    (proposals.DESK_PROPOSALS + "/{ident}", "get", "desk", "One sealed proposal",
     None, proposals.ProposalPackage, {404: "not_found"}),
    (proposals.DESK_PROPOSALS + "/{ident}", "delete", "desk", "Erases a picture that the desk took",
     None, 204, {}),
    (proposals.DESK_DECISIONS, "post", "desk", "What became of a proposal, and who decided",
     proposals.Decision, 204, {404: "unknown_official"}),
)  # fmt: skip
#: Scope, path below PREFIX, what it answers, shape, and whether it has pages.
_PROGRAMS: tuple[tuple[str, str, str, Any, bool], ...] = (
    ("whereabouts", "/whereabouts", "Where everybody is now", programs.WherePage, False),
    ("officials", "/officials", "The roster, by id", programs.OfficialPage, True),
    ("records", "/records", "Records in the order of arrival, followed by the cursor",
     programs.RecordPage, True),
    ("days", "/days/{day}", "The sheet of a day: one verdict an official", programs.DayPage, True),
    ("findings", "/findings", "Findings, newest first", programs.FindingPage, True),
)  # fmt: skip
_PROGRAM_ERRORS = {
    400: "malformed", 401: "token", 403: "scope", 404: "not_found",
    429: "slow_down (with Retry-After)", 503: "busy (with Retry-After)",
}  # fmt: skip


@blueprint.get(f"{wire.PREFIX}/openapi.json")
@spoken
def openapi() -> Response:
    """The document."""
    return Response(document(), content_type="application/json")


@lru_cache(maxsize=1)
def document() -> bytes:
    """OpenAPI 3.1 of the interface, as JSON."""
    kinds = [wire.Problem, Record]
    for _, _, _, _, body, reply, _ in _PATHS:
        kinds += [kind for kind in (body, reply) if not isinstance(kind, str | int | None)]
    kinds += [shape for _, _, _, shape, _ in _PROGRAMS]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    named = dict(zip(map(str, kinds), schemas, strict=True))
    paths: dict[str, Any] = {}
    for path, method, who, summary, body, reply, errors in _PATHS:
        paths.setdefault(path, {})[method] = _operation(
            path, who, summary, body, reply, errors, named
        )
    for scope, path, summary, shape, paged in _PROGRAMS:
        paths[programs.PREFIX + path] = {"get": _program(scope, path, summary, named, shape, paged)}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Quxiang",
                "version": str(wire.VERSION),
                "description": "Kiosk, desk and township server; docs/wire.md tells the story. "
                "Records are sent as exact bytes in the form of the schema Record.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "device": {
                        "type": "apiKey",
                        "in": "header",
                        "name": wire.HEADER_SIGNATURE,
                        "description": f"Ed25519 of the request, with {wire.HEADER_DEVICE}",
                    },
                    "token": {"type": "http", "scheme": "bearer"},
                },
            },
        }
    )


def _operation(
    path: str,
    who: str,
    summary: str,
    body: Any,
    reply: Any,
    errors: dict[int, str],
    named: dict[str, Any],
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "description": f"By: {who}."}
    if path != wire.PAIR:
        operation["security"] = [{"device": []}]
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in path.split("/")
        if part.startswith("{")
    ]
    if path == wire.GALLERY:
        parameters.append({"name": "have", "in": "query", "required": False,
                           "schema": {"type": "integer", "minimum": 0}})  # fmt: skip
    if path.startswith(wire.RELEASE):
        names = ("machine",) if "{" in path else ("machine", "python", "above")
        parameters += [{"name": name, "in": "query", "required": name != "above",
                        "schema": {"type": "string"}} for name in names]  # fmt: skip
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        media = "application/gzip" if path == wire.RECORDS else "application/json"
        content = (
            {body: {"schema": {"type": "string", "format": "binary"}}}
            if isinstance(body, str)
            else {media: {"schema": named[str(body)]}}
        )
        operation["requestBody"] = {"required": True, "content": content}
    if reply == 204:
        responses: dict[str, Any] = {"204": {"description": "done"}}
    else:
        content = (
            {reply: {"schema": {"type": "string", "format": "binary"}}}
            if isinstance(reply, str)
            else {"application/json": {"schema": named[str(reply)]}}
        )
        responses = {"200": {"description": "signed", "content": content}}
    if path == wire.GALLERY:
        responses["204"] = {"description": "the server's version is not above have"}
    for status, words in sorted({**_ERRORS, **errors}.items()):
        responses[str(status)] = {
            "description": words,
            "content": {"application/json": {"schema": named[str(wire.Problem)]}},
        }
    operation["responses"] = responses
    return operation


def _program(
    scope: str, path: str, summary: str, named: dict[str, Any], shape: Any, paged: bool
) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    if "{day}" in path:
        parameters.append({"name": "day", "in": "path", "required": True,
                           "schema": {"type": "string", "format": "date"}})  # fmt: skip
    if paged:
        parameters += [
            {"name": "limit", "in": "query", "required": False,
             "schema": {"type": "integer", "minimum": 1, "maximum": programs.MOST,
                        "default": programs.USUAL}},
            {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
        ]  # fmt: skip
    tag = {"ETag": {"schema": {"type": "string"}}}
    content = {"application/json": {"schema": named[str(shape)]}}
    responses: dict[str, Any] = {
        "200": {"description": "found", "headers": tag, "content": content},
        "304": {"description": "unchanged since the ETag sent as If-None-Match", "headers": tag},
    }
    for status, words in _PROGRAM_ERRORS.items():
        responses[str(status)] = {
            "description": words,
            "content": {"application/json": {"schema": named[str(wire.Problem)]}},
        }
    return {
        "summary": summary,
        "description": f"With a token that may read `{scope}`.",
        "tags": ["programs"],
        "security": [{"token": []}],
        "parameters": parameters,
        "responses": responses,
    }
