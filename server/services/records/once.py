"""What a transaction has read already, for the other pieces of work in it (`server.commits`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy.orm import Session

_KEY = "quxiang-once"
T = TypeVar("T")


def once(session: Session, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, asked once in the transaction that the session is in.

    For what no piece of work for a device changes: the roster, leave, the desk's key.
    """
    transaction = session.get_transaction()
    held: tuple[Any, dict[Hashable, Any]] | None = session.info.get(_KEY)
    if held is None or held[0] is not transaction or transaction is None:
        held = session.info[_KEY] = (transaction, {})
    found = held[1]
    if key not in found:
        found[key] = make()
    result: T = found[key]
    return result
