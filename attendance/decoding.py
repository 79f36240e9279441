"""Decoders of messages, made one at a time.

msgspec (0.20 to 0.22) hangs what it knows of a struct on the class before it has filled it in.
While one thread makes the first decoder of a type, another that decodes the same type reads null
pointers and the process dies: seen in a worker of the server that a dozen kiosks asked at once.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

M = TypeVar("M")

_making = threading.Lock()
_json: dict[Any, msgspec.json.Decoder[Any]] = {}
_msgpack: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def json_of(kind: type[M]) -> msgspec.json.Decoder[M]:
    """The decoder of JSON to that type. Good for any number of threads, as it is once made."""
    found = _json.get(kind)
    if found is None:
        with _making:
            found = _json.setdefault(kind, msgspec.json.Decoder(kind))
    return found


def msgpack_of(kind: type[M]) -> msgspec.msgpack.Decoder[M]:
    """The same of msgpack."""
    found = _msgpack.get(kind)
    if found is None:
        with _making:
            found = _msgpack.setdefault(kind, msgspec.msgpack.Decoder(kind))
    return found
