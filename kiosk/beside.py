"""What stands beside the kiosk's loop, as the loop sees it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recognition.decision import Match
from recognition.recogniser import Observation
from recognition.track import Track
from recognition.types import Face


class Poked(Protocol):
    """What is told that a record waits: the sync loop."""

    def poke(self) -> None:
        """There is something to send."""
        ...


class Offered(Protocol):
    """What looks for badges in the pictures."""

    def offer(self, image: NDArray[np.uint8]) -> None:
        """A camera picture, BGR."""
        ...


class Proposing(Protocol):
    """What may propose a picture as a template: `kiosk.proposer`."""

    def seen(self, frame: NDArray[np.uint8], seen: Observation, track: Track | None) -> None:
        """What the recogniser saw in a frame, and the track that it follows."""
        ...

    def by_face(self, match: Match) -> bool:
        """After a check-in by face; whether a picture was kept."""
        ...

    def by_pin(self, official: str) -> bool:
        """After a check-in by PIN; whether a picture was kept."""
        ...


class Around(Protocol):
    """What surrounds the screen: `kiosk.surroundings`."""

    def turn(self) -> None:
        """Once each turn of the loop."""
        ...

    def seen(
        self, image: NDArray[np.uint8], face: Face | None, t: float, wanted: float | None
    ) -> None:
        """A frame (uint8 BGR), the face looked at, the frame's time in seconds, and the level of
        the fill light, 0 to 1, that the liveness check wants now, None where it wants none."""
        ...
