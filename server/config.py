"""Where a server keeps what it owns, and its two secrets."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from nacl.signing import SigningKey

from attendance.i18n import say
from server.errors import NotInitialised

_KEY_BYTES = 32
_URL = "database.url"
#: How the URL of a PostgreSQL database begins.
SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")
#: Days for which records are kept: at least the first, the second unless told otherwise. Kiosks
#: keep what was acknowledged for 366 to 400 days: whatever they send again is then still here.
LEAST_KEEP_DAYS = 400
KEEP_DAYS = 1096


@dataclass(frozen=True)
class ServerConfig:
    """Settings of one server process.

    `data` holds `server.db`, `secret.key` (Flask's secret), `server.key` (Ed25519 seed) and
    `portraits/`. `hosts` are the host names, besides loopback, under which pages may be asked for;
    empty: any. `secure_cookies` is for everything but plain HTTP on loopback. Webhooks may be sent
    to `webhook_networks` beside public addresses. `proxy` is the address of the one
    before the server, whose word about clients is taken. `log_format` is one of
    `server.logs.FORMATS`.
    """

    data: Path
    database_url: str | None = None
    secure_cookies: bool = False
    hosts: tuple[str, ...] = field(default=())
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    proxy: str | None = None
    log_format: str = "text"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        if self.database_url is None:
            return f"sqlite:///{self.data.absolute() / 'server.db'}"
        for old in SCHEMES[:2]:
            if self.database_url.startswith(old):
                return "postgresql+psycopg://" + self.database_url[len(old) :]
        return self.database_url

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.url.startswith("sqlite")

    @property
    def database_file(self) -> Path:
        """The SQLite file, where that is the database."""
        return self.data / "server.db"

    @property
    def metrics_token(self) -> Path:
        """Who bears what stands in it may read `/metrics` from elsewhere; made by hand."""
        return self.data / "metrics.token"

    @property
    def breached(self) -> Path:
        """A list of stolen passwords, put there by hand (`services.access.passwords.is_stolen`)."""
        return self.data / "breached.txt"

    @property
    def certificate(self) -> Path:
        """A copy of the certificate that TLS presents, for pairing codes."""
        return self.data / "tls.crt"

    @property
    def sealed(self) -> Path:
        """The revision as of which the database's rows were sealed (`server.migrate.migrate`)."""
        return self.data / "sealed"

    @property
    def place(self) -> str:
        """Where the database is, for people; without the password of a URL."""
        return str(self.database_file) if self.is_sqlite else "PostgreSQL"

    @property
    def portraits(self) -> Path:
        """The folder of public portraits."""
        return self.data / "portraits"


@dataclass(frozen=True)
class ServerKeys:
    """The server's secrets: 32 bytes for cookies and keyed hashes, 32 for its Ed25519 key."""

    secret: bytes
    sign_seed: bytes

    @property
    def sign_public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return bytes(SigningKey(self.sign_seed).verify_key)

    def __repr__(self) -> str:
        return "ServerKeys(...)"


def make_keys(config: ServerConfig) -> ServerKeys:
    """The keys of a data folder, made (0600) where they are missing."""
    config.data.mkdir(parents=True, exist_ok=True)
    config.portraits.mkdir(exist_ok=True)
    for name in ("secret.key", "server.key"):
        path = config.data / name
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
    return load_keys(config)


def store_url(config: ServerConfig) -> None:
    """Lets the data folder remember its database, so that no command need be told again (0600)."""
    path = config.data / _URL
    if config.database_url is None:
        path.unlink(missing_ok=True)
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(config.database_url + "\n")


def stored_url(data: Path) -> str | None:
    """The database that `store_url` noted; None for the SQLite file."""
    try:
        return (data / _URL).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def load_keys(config: ServerConfig) -> ServerKeys:
    """The keys of an initialised data folder. Raises NotInitialised."""
    found = []
    for name in ("secret.key", "server.key"):
        try:
            key = (config.data / name).read_bytes()
        except OSError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise NotInitialised(
                say(
                    f"{config.data} 中没有可用的服务器（缺少 {name}）："
                    f"请先运行 quxiang-server init --data {config.data}",
                    f"{config.data} holds no server ({name} is missing): "
                    f"run quxiang-server init --data {config.data} first",
                )
            )
        found.append(key)
    return ServerKeys(*found)
