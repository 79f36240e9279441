"""The application factory."""

from __future__ import annotations

from flask import Flask
from sqlalchemy.exc import DatabaseError

from attendance.i18n import say
from server import db, gate, logs, values
from server.config import ServerConfig, load_keys
from server.context import Clock, Context, utcnow
from server.errors import DatabaseUnusable
from server.proxy import BehindProxy


def create_app(config: ServerConfig, *, clock: Clock = utcnow) -> Flask:
    """The township server as a WSGI application.

    `config.data` must be initialised and migrated (`server.migrate`). Raises NotInitialised,
    DatabaseTooNew, DatabaseUnusable.
    """
    from server import api, migrate, web
    from server.services.evidence import checkpoints

    keys = load_keys(config)
    database = db.Database(config)
    try:
        with database.engine.connect() as connection:
            current = migrate.check_version(connection)
    except DatabaseError as error:
        raise db.unusable(config, error) from None
    if not current:
        raise DatabaseUnusable(
            say(
                "数据库尚未升级到本版本：请运行 quxiang-server run，启动时会自动升级",
                "the database is of an older release: quxiang-server run upgrades it as it starts",
            )
        )
    app = logs.Application("server")
    app.config.update(
        SECRET_KEY=keys.secret,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookies,
        MAX_CONTENT_LENGTH=1 << 20,
        MAX_FORM_MEMORY_SIZE=1 << 20,
        MAX_FORM_PARTS=200,
    )
    app.extensions["quxiang"] = Context(config, database, keys, clock)
    if config.proxy is not None:
        app.wsgi_app = BehindProxy(app.wsgi_app, config.proxy)  # type: ignore[method-assign,assignment]
    logs.register(app)
    gate.register(app)
    checkpoints.register(app)  # ends after the request's session: teardowns run backwards
    db.register(app)
    api.register(app)
    web.register(app)
    values.register(app)
    return app
