"""The interface of devices under `/api/v1`: what docs/wire.md tells, answered."""

from __future__ import annotations

from flask import Flask

from server.api import answers, desk, kiosk, openapi, public


def register(app: Flask) -> None:
    """Adds the blueprints of the interface."""
    for module in (public, kiosk, desk, openapi):
        app.register_blueprint(module.blueprint)
    answers.register(app)
