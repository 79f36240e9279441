"""The page of a kiosk that belongs to nobody yet."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from flask import Flask, Response, jsonify, render_template, request

from kiosk.screen.notice import NOTICE
from kiosk.screen.web import Server, body_of, guarded
from kiosk.screen.words import PAIRING_WORDS

THREADS = 4


class Pairable(Protocol):
    """What the page shows and asks; `kiosk.unpaired.Pairing` is one."""

    done: threading.Event

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows."""
        ...

    def try_code(self, address: str, code: str) -> dict[str, Any]:
        """Pair; the new state."""
        ...


def create_pairing_app(pairing: Pairable, port: int) -> Flask:
    """The pairing page's WSGI application."""
    app, token, _ = guarded("kiosk.screen.pairing", port)

    @app.get("/")
    def page() -> str:
        lang = "en" if request.cookies.get("lang") == "en" else "zh"
        return render_template(
            "pairing.html",
            lang=lang,
            token=token,
            notice=NOTICE,
            w=lambda key: PAIRING_WORDS[key][1 if lang == "en" else 0],
        )

    @app.get("/pairing.json")
    def state() -> Response:
        return jsonify(pairing.state)

    @app.get("/words.json")
    def words() -> Response:
        return jsonify(words=PAIRING_WORDS)

    @app.post("/pair")
    def pair() -> Response:
        body = body_of(server=(str, 200), code=(str, 64))
        return jsonify(pairing.try_code(body["server"], body["code"]))

    @app.post("/go-on")
    def go_on() -> Response:
        if pairing.state["step"] == "paired":
            pairing.done.set()
        return jsonify(pairing.state)

    return app


class PairingScreen(Server):
    """Serves the pairing page until closed."""

    def __init__(self, pairing: Pairable, port: int) -> None:
        """Listens at once. Raises PortTaken."""
        super().__init__(lambda real: create_pairing_app(pairing, real), port, THREADS)
