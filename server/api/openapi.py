"""`GET /api/v1/openapi.json`: the interface described, its shapes taken from the wire itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from flask import Blueprint, Response

from attendance import wire
from attendance.records import Record
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
     wire.PairRequest, wire.PairReply, {403: "code", 429: "slow_down (with Retry-After)"}),
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
    (wire.DESK_SITES, "get", "desk", "The township's sites", None, list[wire.SiteRow], {}),
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
    (wire.DESK_ERASURES, "get", "desk", "The kiosks' receipts of erasure",
     None, list[wire.ErasureRow], {}),
)  # fmt: skip


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
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    named = dict(zip(map(str, kinds), schemas, strict=True))
    paths: dict[str, Any] = {}
    for path, method, who, summary, body, reply, errors in _PATHS:
        paths.setdefault(path, {})[method] = _operation(
            path, who, summary, body, reply, errors, named
        )
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
                    }
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
