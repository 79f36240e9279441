"""The interface of devices and programs under `/api/v1`: docs/wire.md, docs/programs.md."""

from __future__ import annotations

from flask import Flask

from server.api import answers, desk, kiosk, metrics, openapi, programs, proposals, public, release


def register(app: Flask) -> None:
    """Adds the blueprints of the interface."""
    for module in (public, kiosk, release, desk, proposals, programs, openapi, metrics):
        app.register_blueprint(module.blueprint)
    answers.register(app)
