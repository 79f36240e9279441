"""A lamp board that cannot be opened now, its pins being busy, say; opened as soon as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hardware.errors import HardwareError, LampError
from hardware.lamps import Asked, Colour, LampBoard, Latched


class WaitingBoard(LampBoard):
    """Raises the opener's fault until the opener succeeds; from then on it is that board.

    It tries whenever lamps are set or shown, so that its user sets the pace. opener: given the ids
    in the order of the board; raises HardwareError.
    """

    def __init__(
        self,
        driver: str,
        lamps: Sequence[str],
        opener: Callable[[Sequence[str]], LampBoard],
        first: HardwareError,
    ) -> None:
        self.driver = driver
        self._ids = tuple(lamps)
        self._opener = opener
        self._fault = first
        self._board: LampBoard | None = None

    @property
    def lamps(self) -> tuple[str, ...]:
        return self._ids if self._board is None else self._board.lamps

    @property
    def wired(self) -> tuple[str, ...]:
        return () if self._board is None else self._board.wired

    def _open(self) -> LampBoard:
        if self._board is None:
            try:
                self._board = self._opener(self._ids)
            except HardwareError as error:
                self._fault = error
                raise self._failed() from error
            self.driver = self._board.driver
        return self._board

    def _failed(self) -> LampError:
        if isinstance(self._fault, LampError):
            return self._fault
        return LampError(self._fault.words("zh"), self._fault.words("en"))

    def set_lamps(self, lamps: Sequence[str]) -> None:
        self._ids = tuple(lamps)
        self._open().set_lamps(lamps)

    def has(self, lamp: str) -> bool:
        # While nothing is known of the wires, no lamp is said to be drawn on the screen only.
        return self._board is None or self._board.has(lamp)

    def show(self, lamp: str, colour: Colour | str, blinking: bool = False) -> Latched:
        return self._open().show(lamp, colour, blinking)

    def show_all(self, wanted: Mapping[str, Asked]) -> dict[str, Latched | LampError]:
        try:
            board = self._open()
        except LampError as error:
            return dict.fromkeys(wanted, error)
        return board.show_all(wanted)

    def latched(self, lamp: str) -> Latched:
        if self._board is None:
            raise self._failed()
        return self._board.latched(lamp)

    def tick(self, now_s: float) -> None:
        if self._board is not None:
            self._board.tick(now_s)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
