"""Writing together: what many threads want written is committed at once, one flush for all.

A thread that finds nobody at it takes everything that waits. What each piece must know first it
looks up in a reading session, while another group is still being written; then it does them all in
one transaction. Nobody is answered before that is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.errors import ApiProblem

#: Pieces in one transaction at the most: of 500 records each they take about a quarter of a second,
#: for which a supervisor's page that writes must wait.
MOST = 16
#: Seconds after which whoever waits with a group looks whether more have come for it.
_LOOK_S = 0.005
_TOGETHER = "quxiang-together"
T = TypeVar("T")
Gather = Callable[[Session, list[str]], None]


class _Piece:
    def __init__(
        self,
        order: str,
        work: Callable[[Session], Any],
        before: Callable[[Session], None] | None,
        gather: Gather | None,
        reserve: Gather | None,
    ) -> None:
        self.order = order
        self.work = work
        self.before = before
        self.gather = gather
        self.reserve = reserve
        self.done = False
        #: Released once it is done, or when its thread shall lead.
        self.called = threading.Semaphore(0)
        self.result: Any = None
        self.error: BaseException | None = None


def is_together(session: Session) -> bool:
    """Whether pieces share its transaction without savepoints between them."""
    return bool(session.info.get(_TOGETHER, False))


@contextmanager
def savepoint(session: Session) -> Iterator[None]:
    """What is done within is undone where it raises.

    Where pieces are done together there is none: whatever raises there ends the transaction, and
    each piece is done again with savepoints.
    """
    if is_together(session):
        yield
        return
    with session.connection().begin_nested():
        yield


class Commits:
    """One a process. `begin` opens a writing session, `look` a reading one, `pause` is called
    before each piece is looked at.

    While one group is written the next one is prepared: the writer never waits for what needs no
    lock, in this process or another.
    """

    def __init__(
        self,
        begin: Callable[[], Session],
        look: Callable[[], Session],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._begin = begin
        self._look = look
        self._pause = pause
        self._waiting: list[_Piece] = []
        #: Whether somebody prepares a group, or waits with one for the writing.
        self._led = False
        self._list = threading.Lock()
        self._writing = threading.Lock()

    def do(
        self,
        order: str,
        work: Callable[[Session], T],
        *,
        before: Callable[[Session], None] | None = None,
        gather: Gather | None = None,
        reserve: Gather | None = None,
    ) -> T:
        """What `work` returns, once it is durable, or raises what it raised.

        `work` gets a session within a transaction that others use too: it neither commits nor rolls
        back. It may be called twice, the first time's writing being undone. Where it raises,
        nothing of it is kept, but for an ApiProblem that says `keep`. Pieces are done by `order`,
        so that two processes lock rows in the same sequence, and among equals in the order of
        asking. `before` reads what `work` will need; what has changed since is for `work` to see.
        `gather` is called once before all that are looked at together, `reserve` once a
        transaction, each with the orders of those that have it.
        """
        piece = _Piece(order, work, before, gather, reserve)
        with self._list:
            self._waiting.append(piece)
            leads = not self._led
            self._led = True
        if not leads:
            piece.called.acquire()  # when it is done, or shall lead
        if not piece.done:
            self._lead()
        if piece.error is not None:
            raise piece.error
        return piece.result  # type: ignore[no-any-return]

    def _lead(self) -> None:
        """Does those that wait; whoever leads has its own among them."""
        pieces: list[_Piece] = []
        passed = False
        try:
            while True:
                more = self._take(MOST - len(pieces))
                pieces += more
                self._prepare(more)
                if self._writing.acquire(timeout=-1 if len(pieces) == MOST else _LOOK_S):
                    break
            try:
                self._pass_on()
                passed = True
                pieces.sort(key=lambda piece: piece.order)
                if not self._together(pieces):
                    self._apart(pieces)
            finally:
                self._writing.release()
        except BaseException as error:
            for piece in pieces:
                piece.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            if not passed:
                self._pass_on()
            for piece in pieces:
                piece.done = True
                piece.called.release()

    def _take(self, most: int) -> list[_Piece]:
        with self._list:
            taken = self._waiting[:most]
            del self._waiting[:most]
        return taken

    def _pass_on(self) -> None:
        """Whoever has waited longest prepares the next group."""
        with self._list:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].called.release()

    def _prepare(self, pieces: list[_Piece]) -> None:
        if not pieces:
            return
        with self._look() as session:  # which asks the database for nothing until somebody does
            with suppress(SQLAlchemyError):
                _for_all(session, [(piece.gather, piece.order) for piece in pieces])
            for piece in pieces:
                self._pause()
                if piece.before is not None:
                    # `work` does without, and says what is wrong.
                    with suppress(SQLAlchemyError):
                        piece.before(session)

    def _together(self, pieces: list[_Piece]) -> bool:
        """All in one, without a savepoint for each: a third of what a small piece costs.

        False where one of them spoils it; then nothing is written.
        """
        done: list[tuple[Any, ApiProblem | None]] = []
        try:
            with self._begin() as session:
                session.info[_TOGETHER] = True
                _reserve(session, pieces)
                for piece in pieces:
                    try:
                        done.append((piece.work(session), None))
                    except ApiProblem as problem:
                        if not problem.keep:
                            raise
                        done.append((None, problem))
                session.commit()
        except Exception:  # noqa: BLE001 - raised again where each is done by itself
            return False
        for piece, (result, kept) in zip(pieces, done, strict=True):
            piece.result, piece.error = result, kept
        return True

    def _apart(self, pieces: list[_Piece]) -> None:
        with self._begin() as session:
            _reserve(session, pieces)
            for piece in pieces:
                _do(session, piece)
            session.commit()


def _reserve(session: Session, pieces: list[_Piece]) -> None:
    _for_all(session, [(piece.reserve, piece.order) for piece in pieces])


def _for_all(session: Session, asked: list[tuple[Gather | None, str]]) -> None:
    for gather in dict.fromkeys(each for each, _ in asked):
        if gather is not None:
            orders = [order for each, order in asked if each == gather]
            gather(session, list(dict.fromkeys(orders)))


def _do(session: Session, piece: _Piece) -> None:
    nested = session.begin_nested()
    try:
        piece.result = piece.work(session)
    except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
        piece.error = error
        if isinstance(error, ApiProblem) and error.keep:
            nested.commit()
        else:
            nested.rollback()
    else:
        nested.commit()
