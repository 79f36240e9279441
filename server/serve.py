"""`quxiang-server run`: gunicorn around the application."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import os
import resource
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from attendance.i18n import say
from attendance.memory import keep_small
from server import background, logs
from server.app import create_app
from server.config import ServerConfig
from server.context import Context
from server.errors import AddressTaken, CertificateInvalid
from server.shares import Share, Shares
from server.web import board
from server.web.tallies import Tallies, Tally

#: For pages, and twice as many for devices (`server.worker`). Open boards hold none of them
#: (`server.web.streams`).
THREADS = 16
WORKERS = 2
#: Seconds that a worker may go without a sign of life, and that requests get to end.
TIMEOUT_S = 60
GRACE_S = 10
#: Seconds that the work in the background gets to end.
END_S = 3.0
#: Connections that may wait to be accepted: a thousand kiosks after a power cut, and browsers.
BACKLOG = 2048
#: Open connections of one worker: all of those kiosks where the other one was killed.
CONNECTIONS = 2000


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises AddressTaken in one clear line."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressTaken(
            say(f"没有地址 {host}：{error}", f"there is no address {host}: {error}")
        ) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Here already: of two that are only bound both would go on. Gunicorn keeps the backlog.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            why = say(
                f"端口 {port} 已被占用：请停止占用它的程序，或用 --port 换一个",
                f"port {port} is taken: stop what uses it, or choose another with --port",
            )
        else:
            why = say(
                f"不能在 {host}:{port} 上提供服务：{error.strerror}",
                f"cannot serve on {host}:{port}: {error.strerror}",
            )
        raise AddressTaken(why) from None
    return bound


def settle() -> None:
    """What is loaded by now stays: the collector of garbage need not go through it again and again
    while records come in by the hundred, and hold up a page by a tenth of a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


class Tls(NamedTuple):
    """Files in PEM form: a certificate, with its chain where it has one, and its private key."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises CertificateInvalid where no TLS can be served with them."""
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*self)
        except (OSError, ValueError) as error:
            raise CertificateInvalid(
                say(
                    f"不能用 {self.certificate} 和 {self.key} 提供 TLS：{error}",
                    f"TLS cannot be served with {self.certificate} and {self.key}: {error}",
                )
            ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(bound: socket.socket, tls: bool = False) -> str:
    """The address as a browser wants it."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = "127.0.0.1"
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn around an application that is made once and taken along by each worker.

    A worker that falls is so replaced in a few hundredths of a second. No connection is shared:
    those to the database are closed before.
    """

    def __init__(
        self, config: ServerConfig, bound: socket.socket, workers: int, tls: Tls | None = None
    ) -> None:
        self._config = config
        self._tls = tls
        self._address = address_of(bound, tls is not None)
        self._descriptor = bound.detach()  # gunicorn closes it
        self._workers = workers
        rows = 2 * workers + 2  # a worker begins before the one before has ended
        self._tallies, self._shares = Tallies(rows), Shares(rows)
        super().__init__()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Often 1,024, fewer than CONNECTIONS.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def load_config(self) -> None:
        """Settings of gunicorn; nothing is read from files or the environment."""

        def ready(_server: Any) -> None:
            print(say(f"服务器已启动：{self._address}", f"serving on {self._address}"), flush=True)

        def forking(server: Any, worker: Any) -> None:
            used = {getattr(other, "quxiang_row", None) for other in server.WORKERS.values()}
            rows = range(self._tallies.rows)
            worker.quxiang_row = next((row for row in rows if row not in used), rows[-1])
            self._tallies.clear(worker.quxiang_row)
            self._shares.set(worker.quxiang_row, 0)
            worker.share = Share(self._shares, worker.quxiang_row)

        def gone(_server: Any, worker: Any) -> None:
            self._shares.clear(worker.quxiang_row)

        def started(worker: Any) -> None:
            # An open public board ends when its worker is told to, and does not hold it up.
            hub = board.hub(worker.wsgi)
            board.watcher(worker.wsgi).alive = hub.alive = lambda: worker.alive
            hub.tally = Tally(self._tallies, worker.quxiang_row)
            hub.start()
            held = worker.wsgi.extensions["quxiang"]
            worker.quxiang_end = background.start(held, lambda: bool(worker.alive))
            # A page waits that long for the interpreter whenever a device's thread has it.
            sys.setswitchinterval(0.001)

        def ended(_server: Any, worker: Any) -> None:
            # Everything is answered. Python's own end waits ten seconds for dozens of threads.
            end = getattr(worker, "quxiang_end", None)
            if end is not None:
                board.hub(worker.wsgi).close()
            if end is not None and not worker.alive:
                end(END_S)
                logging.shutdown()
                os._exit(0)

        settings: dict[str, Any] = {
            "bind": f"fd://{self._descriptor}",
            "workers": self._workers,
            "worker_class": "server.worker.Worker",
            "worker_connections": CONNECTIONS,
            "preload_app": True,
            "threads": THREADS,
            "timeout": TIMEOUT_S,
            "graceful_timeout": GRACE_S,
            "keepalive": 5,
            "when_ready": ready,
            "pre_fork": forking,
            "post_worker_init": started,
            "child_exit": gone,
            "worker_exit": ended,
            "loglevel": "warning",
            "proc_name": "quxiang-server",
            "limit_request_line": 4094,
            "limit_request_fields": 60,
            "forwarded_allow_ips": self._config.proxy or "127.0.0.1,::1",
            # Newer gunicorn would open a socket of its own in the user's folder.
            "control_socket_disable": True,
        }
        if self._tls is not None:
            settings["certfile"], settings["keyfile"] = map(str, self._tls)
        if self._config.log_format == "json":
            settings["logconfig_dict"] = logs.settings()
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application of all workers, ready to be taken along."""
        app = create_app(self._config)
        # Templates and queries are compiled at the first use; a page is the first use of most.
        logging.disable()  # whoever asks next is told what is wrong
        try:
            app.test_client().get("/", base_url=self._address)
        finally:
            logging.disable(logging.NOTSET)
        held: Context = app.extensions["quxiang"]
        held.database.close()
        settle()
        return app


def serve(config: ServerConfig, host: str, port: int, workers: int, tls: Tls | None = None) -> None:
    """Serves until SIGTERM or Ctrl-C. Raises AddressTaken and CertificateInvalid."""
    keep_small()  # also where no unit says so: each password's hash left a thread 19 MiB larger
    if tls is not None:
        tls.check()
    elif not is_loopback(host) and config.proxy is None:
        print(
            say(
                "警告：对外提供服务却没有 TLS，密码和去向可被同网窥看；"
                "请用 --tls-cert 和 --tls-key，或只让带 TLS 的反向代理访问",
                "warning: reachable from elsewhere without TLS: passwords and whereabouts can be "
                "read on the network; use --tls-cert and --tls-key, or a TLS proxy alone before it",
            ),
            file=sys.stderr,
            flush=True,
        )
    Server(config, listen(host, port), workers, tls).run()
