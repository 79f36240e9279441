"""`verify` in two processes: records are most of what there is, and two cores read them in half the
time.

The later half is read by a process of its own. Each kiosk's chain goes on there from the last
record of the earlier half, as that is stored; whether it is what it was the other process finds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from attendance.i18n import say
from server.config import ServerConfig
from server.db import Database, unusable
from server.errors import DatabaseUnusable
from server.models import RecordRow
from server.services.evidence.checkpoints import Witness
from server.services.evidence.verify import Bad, Rest, verify, verify_above
from server.sqlite import LIBRARY

#: Records below which a second process costs more than it saves.
WORTH_IT = 20_000


def verify_in_two(
    config: ServerConfig,
    server_key: bytes,
    witness: Witness | None = None,
    worth_it: int = WORTH_IT,
) -> Iterator[Bad]:
    """As `verify`, of the database of `config`. To be called where no other thread runs.

    Raises DatabaseUnusable where the second process ended without an answer.
    """
    database = Database(config)
    try:
        with database.session() as session:
            above = middle(session, worth_it)
        if above is None:
            with database.session() as session:
                yield from verify(session, server_key, witness)
            return
        # Nothing open is taken along into the other process.
        database.close()
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_later, args=(config, server_key, above, theirs), daemon=True)
        process.start()
        theirs.close()

        def found() -> tuple[list[Bad], list[Bad]]:
            try:
                answer: tuple[list[Bad], list[Bad]] | str = ours.recv()
            except EOFError:
                answer = say("读取后半部分的进程意外结束", "the process of the later half ended")
            if isinstance(answer, str):
                raise DatabaseUnusable(answer)
            return answer

        try:
            with database.session() as session:
                yield from verify(session, server_key, witness, Rest(above, found))
        finally:
            process.kill()
            process.join()
            ours.close()
    finally:
        database.close()


def middle(session: Session, worth_it: int = WORTH_IT) -> int | None:
    """The row that ends the earlier part of the records; None where they are too few.

    The later part is the larger one: whoever reads the earlier grows the tree too.
    """
    first, last = session.execute(select(func.min(RecordRow.id), func.max(RecordRow.id))).one()
    if first is None or last - first < worth_it:
        return None
    return int(first + (last - first) * 9 // 20)


def _later(config: ServerConfig, server_key: bytes, above: int, told: Connection) -> None:
    database = Database(config)
    try:
        with database.session() as session:
            told.send(verify_above(session, server_key, above))
    except (DatabaseError, LIBRARY.module.Error) as error:
        told.send(str(unusable(config, error)))
    finally:
        database.close()
