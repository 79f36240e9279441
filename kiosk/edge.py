"""Where a run touches time, the machine, and the networks that find faces: its own, unless told."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kiosk.card import free_mb
from kiosk.clock import Clock, SystemClock

if TYPE_CHECKING:
    from recognition.recogniser import Recogniser


class Waitable(Protocol):
    """An event or a condition."""

    def wait(self, timeout: float | None = None) -> bool:
        """Returns early where it was set or notified."""
        ...


def load_recogniser(args: argparse.Namespace, data: Path) -> Recogniser:
    """The recogniser of `--engine`, `--liveness` and `--signs`, with an empty gallery.

    Raises RecognitionError, WeightsMissing and WeightsCorrupt.
    """
    from recognition.cues import signs_of
    from recognition.engines import load_engine
    from recognition.gallery import Gallery
    from recognition.liveness import load_liveness
    from recognition.recogniser import Recogniser

    engine = load_engine(args.engine, data)
    return Recogniser(
        engine,
        Gallery(engine.model_id, engine.dimension),
        load_liveness(args.liveness, data, signs=signs_of(getattr(args, "signs", None))),
    )


def pause(waitable: Waitable, seconds: float) -> None:
    """Waits that long, or until it is set or notified."""
    waitable.wait(seconds)


@dataclass(frozen=True)
class Edge:
    """clock: the wall and the boot clock. mono: seconds of a clock that never steps, the same that
    the camera's frames arrive by. pause: how threads wait for it. recogniser: as `load_recogniser`.
    root: heat, sound cards and what fingers get in by are read below it. free_mb: room on the card
    of a folder in MB (10^6 bytes), None where it cannot be told.
    """

    clock: Clock = field(default_factory=SystemClock)
    mono: Callable[[], float] = time.monotonic
    pause: Callable[[Waitable, float], None] = pause
    recogniser: Callable[[argparse.Namespace, Path], Recogniser] = load_recogniser
    root: Path = Path("/")
    free_mb: Callable[[Path], int | None] = free_mb
