"""The choice among the drivers of the lamp board, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardware.apa102 import PixelBoard
from hardware.errors import LampError
from hardware.lamps import LampBoard, ScreenBoard
from hardware.rgb import RgbBoard
from hardware.shift import ShiftBoard
from hardware.wiring import WIRED_DRIVERS, Wiring


def open_lamps(
    driver: str,
    lamps: Sequence[str],
    wiring: Wiring | None = None,
    pin_factory: Any = None,
) -> LampBoard:
    """Open the lamp board.

    driver: ``screen``, ``rgb``, ``shift`` or ``apa102``.
    lamps: the ids in the order of the board; may change later by `LampBoard.set_lamps`.
    wiring: where each lamp hangs; without it free pins or places are taken in order.
    pin_factory: a gpiozero factory; None lets gpiozero choose (``GPIOZERO_PIN_FACTORY``).

    Nothing blinks by itself: whoever holds the board calls `LampBoard.tick`.

    Raises LampError for an unknown driver or a board that does not answer, NoGpio where there are
    no pins, WiringError where the wiring does not fit.
    """
    if driver == "screen":
        return ScreenBoard(lamps)
    if driver == "rgb":
        return RgbBoard(lamps, wiring, pin_factory)
    if driver == "shift":
        return ShiftBoard(lamps, wiring, pin_factory)
    if driver == "apa102":
        return PixelBoard(lamps, wiring, pin_factory)
    raise LampError(
        f"没有名为 {driver} 的灯板驱动，目前可用：{'、'.join(WIRED_DRIVERS)}。",
        f"There is no lamp driver {driver}: choose one of {', '.join(WIRED_DRIVERS)}.",
    )
