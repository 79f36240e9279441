"""The interface of devices under `/api/v1`; docs/wire.md tells what is said, this package answers."""

from __future__ import annotations

from flask import Flask


def register(app: Flask) -> None:
    """Adds the blueprints of the interface."""
