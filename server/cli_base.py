"""What all modules of `quxiang-server`'s command line share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from attendance.i18n import say
from server.config import SCHEMES, ServerConfig, load_keys, stored_url
from server.errors import DatabaseUnusable, InputInvalid


def fail(line: str) -> int:
    """Says what failed in one line; the exit status."""
    print(f"quxiang-server: {' '.join(line.split())}", file=sys.stderr)
    return 1


def config_of(args: argparse.Namespace) -> ServerConfig:
    """The settings that a command was given, or that its data folder remembers."""
    data = args.data.expanduser()
    url: str | None = getattr(args, "database", None) or stored_url(data)
    if url is not None and not url.startswith(SCHEMES):
        raise InputInvalid(
            "database",
            say("--database 应为 postgresql://…", "--database is like postgresql://USER@HOST/NAME"),
        )
    return ServerConfig(
        data,
        url,
        secure_cookies=getattr(args, "secure_cookies", False)
        or getattr(args, "tls_cert", None) is not None
        or getattr(args, "behind_proxy", None) is not None,
        hosts=tuple(getattr(args, "hostname", ())),
        webhook_networks=tuple(getattr(args, "webhook_network", ())),
        proxy=getattr(args, "behind_proxy", None),
        log_format=getattr(args, "log_format", "text"),
    )


@contextmanager
def transaction(config: ServerConfig) -> Iterator[Session]:
    """A committing session on an initialised server's database, brought up to this release."""
    from server.db import Database
    from server.migrate import migrate

    load_keys(config)
    if config.is_sqlite and not config.database_file.exists():
        raise DatabaseUnusable(
            say(
                f"缺少数据库 {config.database_file}：请从备份恢复",
                f"the database {config.database_file} is missing: restore a backup",
            )
        )
    migrate(config)
    database = Database(config)
    try:
        with database.transaction() as session:
            yield session
    finally:
        database.close()
