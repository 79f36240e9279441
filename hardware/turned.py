"""A camera that hangs turned: its pictures are turned upright before anybody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hardware.frames import Camera, Frame


class TurnedCamera(Camera):
    """Another camera's frames, turned clockwise by 90, 180 or 270 degrees."""

    def __init__(self, camera: Camera, degrees: int) -> None:
        """Raises ValueError for another angle."""
        if degrees not in (90, 180, 270):
            raise ValueError(f"{degrees} is not 90, 180 or 270")
        super().__init__(camera.source)
        self.live = camera.live
        self.faults = camera.faults
        self._camera = camera
        self._quarters = degrees // 90

    def frames(self) -> Iterator[Frame]:
        for frame in self._camera.frames():
            image = np.ascontiguousarray(np.rot90(frame.image, -self._quarters))
            yield replace(frame, image=image)

    def _release(self) -> None:
        self._camera.close()
