"""Requests bent by chance (hypothesis): of what, and how JSON, gzip and bytes are changed."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from attendance import wire
from attendance.days import MAX_MS, MIN_MS
from tests.attacks.addresses import HOLES


class Obj(list[tuple[Any, Any]]):
    """A JSON object with its keys in order, some of them perhaps twice."""


class Bare(bytes):
    """Bytes that stand in the JSON as they are."""


TOKENS = [
    Bare(token)
    for token in (
        b"NaN", b"Infinity", b"-Infinity", b"-0", b"1e999", b"-1e-999", b"0.1", b"1.0", b"1e2",
        b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809",
        b"18446744073709551616", b"1" * 400, b'"\\ud800"', b'"\\u0000"', b'"\xff\xfe"',
        b'"\xed\xa0\x80"', b'"\x00"', b"", b"nul", b"'x'", b"[" * 600 + b"]" * 600,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b"[" * 5000, b'"' + b"x" * 5000 + b'"', b"01", b"+1", b"//", b"\xef\xbb\xbf1",
        b"true", b"null",
    )
]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 500, 501, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, MIN_MS, MAX_MS,
           MIN_MS - 1, MAX_MS + 1, 1.5, -2.0, 2.0, 1e300]  # fmt: skip
WORDS = ["", "x", "\x00", "zhang-3\n", "张三", "\u202e", "e\u0301", "a" * 64, "a" * 65, "%", "_",
         "' OR 1=1 --", "00000000-0000-0000-0000-000000000007", "checkin", "checkout", "declare",
         "amend", "clock", "fault", "erasure", "on_duty", "left", "stale", "unknown", "manual",
         "pin", "A" * 32, "A" * 33, "../..", "\U0001f600", "0" * 64, "f" * 64,
         "A" * 43 + "="]  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
)
VALUES = st.one_of(
    LEAVES,
    LEAVES,
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.lists(st.tuples(st.sampled_from(WORDS), LEAVES), max_size=3).map(Obj),
)
#: A share of a whole, in thousandths.
SHARE = st.integers(0, 999)


@dataclass(frozen=True)
class Twist:
    """One change of a JSON tree: which node, as a share of all, what, and with what."""

    node: int
    what: str
    value: Any


TWISTS = st.builds(
    Twist,
    SHARE,
    st.sampled_from(["set", "set", "set", "kin", "kin", "drop", "double", "name", "add", "wrap"]),
    VALUES,
)
#: Changes that leave a record a record, so that it reaches the rules and the database.
GENTLE = st.builds(Twist, SHARE, st.just("kin"), VALUES)


@dataclass(frozen=True)
class Bite:
    """One change of bytes: where, as a share of them, what, and with what."""

    place: int
    what: str
    value: bytes


BITES = st.builds(
    Bite,
    SHARE,
    st.sampled_from(["flip", "cut", "put", "again"]),
    st.binary(min_size=1, max_size=12),
)


#: HTTP that the server may hang up on: what was announced never came.
CUT = ("long", "chunked bad")


@dataclass(frozen=True)
class Recipe:
    """All that is chosen by chance of a request; what it becomes depends on the senders' state."""

    route: str
    who: str
    size: int
    place: str
    records: tuple[tuple[int, Twist], ...]
    twists: tuple[Twist, ...]
    resign: bool
    pack: str
    bites: tuple[Bite, ...]
    sign: str
    http: str
    path: str
    value: Any
    where: int
    hole: str


def _often(usual: str, *others: str, weight: int = 3) -> st.SearchStrategy[str]:
    return st.sampled_from([usual] * (weight * max(len(others), 1)) + list(others))


def few(strategy: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """None of it in half of the cases."""
    return st.just(()) | st.lists(strategy, min_size=1, max_size=most).map(tuple)


ROUTES = ("records", "records", "records", "records", "records", "cursor", "cursor", "pair",
          "roster", "portrait", "gallery", "withdrawal", "get", "decision", "kiosk address",
          "desk address", "page", "page", "form", "form")  # fmt: skip
GETS = (wire.PAIR, wire.WHEREABOUTS, wire.GALLERY, wire.PORTRAITS + "/" + "0" * 32, wire.DESK_SITES,
        wire.DESK_EXPECTED, wire.DESK_KIOSKS, wire.DESK_ERASURES, "/healthz", "/board.json",
        wire.PREFIX + "/openapi.json")  # fmt: skip
RECIPES = st.builds(
    Recipe,
    route=st.sampled_from(ROUTES),
    who=_often("", "old", "revoked", "desk", "nobody", weight=2),
    size=st.integers(1, 6),
    place=_often("next", "again", "gap", "before", "epoch", "other", "end", weight=1),
    records=few(st.tuples(st.integers(0, 5), GENTLE | GENTLE | TWISTS), 3),
    twists=few(TWISTS, 3),
    resign=st.booleans() | st.just(True),
    pack=_often("gzip", "plain", "cut", "tail", "two", "deflate", "bomb", "level0"),
    bites=st.just(()) | few(BITES, 4),
    sign=_often("true", "none", "wrong", "other", "text", "domain"),
    http=_often(
        "true",
        "chunked",
        "chunked bad",
        "short",
        "long",
        "twice",
        "coding",
        "method",
        "header",
        "huge header",
        "version",
        "expect",
        "gzip coding",
    ),
    path=_often(
        "",
        "?acks=brief",
        "?have=1",
        "?have=99999999999999999999",
        "/",
        "//x",
        "?%ff=%00",
        "/%00",
        "/..%2f",
        "?" + "a" * 5000,
        weight=1,
    ),
    value=VALUES,
    where=st.sampled_from(range(1000)),
    hole=st.sampled_from(HOLES),
)


def parse(data: bytes) -> Any:
    """JSON as a tree that keeps the order of keys."""
    return json.loads(data, object_pairs_hook=Obj)


def dump(tree: Any) -> bytes:
    """The tree as JSON without spaces, or as near as it comes to JSON."""
    if isinstance(tree, Bare):
        return bytes(tree)
    if isinstance(tree, Obj):
        return b"{" + b",".join(dump(str(k)) + b":" + dump(v) for k, v in tree) + b"}"
    if isinstance(tree, list):
        return b"[" + b",".join(map(dump, tree)) + b"]"
    if isinstance(tree, str):
        return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return json.dumps(tree).encode()


def places(tree: Any) -> list[tuple[Any, int]]:
    """Every place of a value below the root: its holder, and where in it."""
    found = []
    if isinstance(tree, list):
        for at, item in enumerate(tree):
            found.append((tree, at))
            found += places(item[1] if isinstance(tree, Obj) else item)
    return found


def twist(tree: Any, twists: tuple[Twist, ...]) -> Any:
    """The tree, changed."""
    for one in twists:
        spots = places(tree)
        if not spots:
            return one.value
        holder, at = spots[one.node * len(spots) // 1000]
        pairs = isinstance(holder, Obj)
        key, old = holder[at] if pairs else (None, holder[at])
        if one.what == "drop":
            del holder[at]
        elif one.what == "double":
            holder.insert(at, holder[at])
        elif one.what == "name" and pairs:
            holder[at] = (one.value if isinstance(one.value, str) else "v", old)
        elif one.what == "add":
            holder.append(("more", one.value) if pairs else one.value)
        else:
            new = one.value
            if one.what == "kin":
                new = _kin(old, one)
            elif one.what == "wrap":
                new = [old]
            holder[at] = (key, new) if pairs else new
    return tree


def _kin(old: Any, one: Twist) -> Any:
    """Another value of the same type, from the edges of what is allowed."""
    pick = one.node
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return [n for n in NUMBERS if isinstance(n, int)][pick % 15]
    if isinstance(old, str):
        return one.value if isinstance(one.value, str) and one.value else WORDS[pick % len(WORDS)]
    return one.value if old is None else old


def bite(data: bytes, bites: tuple[Bite, ...]) -> bytes:
    """The bytes, changed."""
    found = bytearray(data)
    for one in bites:
        at = one.place * len(found) // 1000
        if one.what == "flip" and found:
            found[at] ^= one.value[0] or 1
        elif one.what == "cut":
            del found[at : at + len(one.value) * 3]
        elif one.what == "put":
            found[at:at] = one.value
        else:
            found[at:at] = found[at : at + 40]
    return bytes(found)


def pack(data: bytes, how: str) -> bytes:
    """Gzip, or something like it."""
    if how == "plain":
        return data
    if how == "deflate":
        return zlib.compress(data)
    if how == "bomb":
        return gzip.compress(data + b" " * (6 << 20), 1)
    body = gzip.compress(data, 0 if how == "level0" else 6, mtime=0)
    if how == "cut":
        return body[: len(body) * 2 // 3]
    return body + {"tail": b"\x00tail", "two": body}.get(how, b"")
