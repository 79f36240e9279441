"""`quxiang-server`: the township server's commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from attendance.days import day_of, to_ms
from attendance.errors import QuxiangError, WireInvalid
from attendance.i18n import defect, say
from server import cli_evidence as evidence
from server import cli_release, cli_townships, cli_users, cli_webhooks
from server.cli_base import config_of, fail, transaction
from server.config import (
    KEEP_DAYS,
    LEAST_KEEP_DAYS,
    ServerConfig,
    load_keys,
    make_keys,
    store_url,
)
from server.context import utcnow
from server.errors import (
    AlreadyInitialised,
    CertificateInvalid,
)

DEFAULT_DATA = Path("~/.local/share/quxiang/server")
DEFAULT_TOWNSHIP = "示例乡"
ADMINISTRATOR = "admin"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status: 0 done, 1 failed in one line, 2 wrong usage."""
    args = _parser().parse_args(argv)
    os.umask(0o077)  # names, whereabouts and keys: nobody else on this machine reads them
    try:
        run: Callable[[argparse.Namespace], int] = args.run
        return run(args)
    except KeyboardInterrupt:
        return 130
    except QuxiangError as error:
        return fail(str(error))
    except DBAPIError as error:
        lines = str(error.orig).strip().splitlines()
        what = lines[0] if lines else type(error).__name__
        return fail(say(f"数据库出错：{what}", f"the database failed: {what}"))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - unforeseen, and still one line for whoever types
        return fail(defect(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quxiang-server", description="The township's server: boards, attendance, evidence."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], what: str
            ) -> argparse.ArgumentParser:  # fmt: skip
        command = commands.add_parser(name, help=what, description=what)
        _data(command)
        command.set_defaults(run=run)
        return command

    init = add("init", _init, "create the database and an administrator")
    init.add_argument("--township", metavar="NAME", default=DEFAULT_TOWNSHIP)

    serve = add("run", _run, "serve under gunicorn")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=_port, default=8000)
    serve.add_argument("--workers", type=_positive, default=None)
    serve.add_argument(
        "--hostname", action="append", default=[], metavar="NAME",
        help="a host name under which pages may be asked for, besides loopback (repeatable)",
    )  # fmt: skip
    serve.add_argument(
        "--secure-cookies", action="store_true", help="cookies over TLS only: behind a TLS proxy"
    )
    serve.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="serve https with this certificate (PEM)"
    )
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")

    _webhook_network(serve)
    serve.add_argument(
        "--behind-proxy", type=_address, metavar="ADDRESS",
        help="the TLS proxy that speaks to this server, like 127.0.0.1: its word about the "
        "client's address is taken, and nobody else's; cookies over TLS only",
    )  # fmt: skip
    serve.add_argument(
        "--log-format", choices=("text", "json"), default="text",
        help="json: one line a request, without names, ids, addresses or tokens",
    )  # fmt: skip

    code = add("code", _code, "print a one-time pairing code")
    code.add_argument("--kind", choices=("kiosk", "desk"), required=True)
    code.add_argument("--site", metavar="NAME")
    code.add_argument("--site-kind", choices=("village", "office"))
    code.add_argument("--township", metavar="NAME")
    code.add_argument(
        "--file", type=Path, metavar="FILE", help="also write it there, for a kiosk's USB stick"
    )
    code.add_argument("--address", metavar="URL", help="this server's address, for --file")
    code.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="the certificate of a TLS proxy before it"
    )

    user = commands.add_parser("user", help="accounts", description="Accounts.")
    cli_users.register(user, _data)
    townships = commands.add_parser("township", help="townships", description="Townships.")
    cli_townships.register(townships, _data)

    hooks = commands.add_parser("webhook", help="programs that are told what happens",
                                description="Webhooks.")  # fmt: skip
    cli_webhooks.register(hooks, _data, _webhook_network)

    verify = add("verify", evidence.verify, "check every chain; a bad row is one line")
    verify.add_argument("--tables", action="store_true", help="list the protected tables")
    verify.add_argument(
        "--witness", type=Path, metavar="FILE", help="compare with this copy of the checkpoints"
    )

    device = commands.add_parser("device", help="paired machines", description="Paired machines.")
    actions = device.add_subparsers(dest="action", required=True, metavar="ACTION")
    change = evidence.device_change
    for name, run, what in (
        ("list", evidence.device_list, "list kiosks and desks and their state"),
        ("revoke", change, "count nothing more of a device; it is kept for a review"),
        ("settle", change, "let a forked kiosk go on in a new epoch, a revoked device in"),
        ("apart", evidence.device_apart, "list what was set aside of a kiosk, and who reviewed it"),
        ("paper", evidence.device_paper, "find a head code of a village's paper log in the chain"),
    ):
        command = actions.add_parser(name, help=what, description=what)
        _data(command)
        command.set_defaults(run=run)
        if name != "list":
            command.add_argument("id", metavar="ID")
        if name == "paper":
            command.add_argument("code", metavar="CODE", help="as it was written down")

    releases = commands.add_parser("release", help="updates for kiosks", description="Updates.")
    actions = releases.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in (
        ("add", "offer a signed release to the kiosks"),
        ("list", "list what is offered"),
        ("remove", "offer a release no more"),
    ):
        command = actions.add_parser(name, help=what, description=what)
        _data(command)
        command.set_defaults(run=cli_release.release)
        if name == "add":
            command.add_argument("file", type=Path, metavar="FILE")
            command.add_argument(
                "--key",
                type=Path,
                metavar="FILE",
                help="the publisher's public key, the first time",
            )
        elif name == "remove":
            command.add_argument("number", type=_positive, metavar="N")

    add("checkpoint", evidence.checkpoint, "sign a checkpoint over everything stored until now")
    prune = add("prune", evidence.prune, "remove records older than the retention asks for")
    prune.add_argument(
        "--keep-days", type=_positive, default=KEEP_DAYS, metavar="N",
        help=f"days that are kept, at least {LEAST_KEEP_DAYS} (default {KEEP_DAYS})",
    )  # fmt: skip
    witness = add("witness", evidence.witness, "copy the checkpoints for a witness elsewhere")
    witness.add_argument("file", type=Path, metavar="FILE")

    for name, run, what in (
        ("backup", _backup, "write the whole state into one file"),
        ("restore", _restore, "put a backup into an empty folder"),
    ):
        command = add(name, run, what)
        command.add_argument("file", type=Path, metavar="FILE")

    demo = add("demo", _demo, "a full made-up township")
    demo.add_argument("--officials", type=_positive, default=36, metavar="N")
    demo.add_argument("--sites", type=_positive, default=28, metavar="M", help="villages")
    demo.add_argument("--days", type=_positive, default=30, metavar="D")
    return parser


def _data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help=f"default {DEFAULT_DATA}"
    )
    command.add_argument(
        "--database", metavar="URL",
        help="a PostgreSQL database instead; init, restore, demo and the first run remember it",
    )  # fmt: skip


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return number


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError("an address is written like 127.0.0.1") from None


def _webhook_network(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--webhook-network", action="append", default=[], type=_network, metavar="CIDR",
        help="webhooks may be sent there too, like 192.168.1.0/24 (repeatable); without it only to "
        "public addresses, by https",
    )  # fmt: skip


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a network is written like 192.168.1.0/24") from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _init(args: argparse.Namespace) -> int:
    from server.migrate import migrate
    from server.services.access import accounts, second
    from server.services.township.townships import create_township
    from server.transfer import need_empty

    config = config_of(args)
    if config.database_file.exists() or (config.data / "server.key").exists():
        raise AlreadyInitialised(
            say(
                f"{config.data} 中已有服务器，不会覆盖：直接运行 quxiang-server run",
                f"{config.data} holds a server already and is not overwritten: "
                "quxiang-server run serves it",
            )
        )
    need_empty(config)
    make_keys(config)
    migrate(config)
    store_url(config)
    password = accounts.new_password()
    now = utcnow()
    with transaction(config) as session:
        township = create_township(session, args.township, now)
        accounts.add_user(session, township, ADMINISTRATOR, "admin", password, now)
        second.ask_for(session, township, day_of(to_ms(now)) + timedelta(second.GRACE_DAYS), now)
    print(say(f"已建立服务器：{config.data}", f"the server is set up in {config.data}"))
    print(
        say(
            f"管理员账号 {ADMINISTRATOR}，一次性密码（首次登录须更改）：",
            f"administrator {ADMINISTRATOR}, one-time password (to be changed at the first login):",
        )
    )
    print(password)
    return 0


def _run(args: argparse.Namespace) -> int:
    from server import serve, transfer
    from server.app import create_app
    from server.db import power_cut_warning
    from server.migrate import migrate

    if (args.tls_cert is None) != (args.tls_key is None):
        raise CertificateInvalid(
            say(
                "--tls-cert 和 --tls-key 必须同时给出",
                "--tls-cert and --tls-key go together: give both",
            )
        )
    tls = None if args.tls_cert is None else serve.Tls(args.tls_cert, args.tls_key)
    config = config_of(args)
    load_keys(config)
    moved = transfer.move_in(config)
    if moved is not None:
        print(
            say(
                f"已将 {moved} 行数据从 server.db 移入 PostgreSQL；原文件保留为 {transfer.MOVED}",
                f"moved {moved} rows from server.db into PostgreSQL; the file is kept as "
                f"{transfer.MOVED}",
            ),
            file=sys.stderr,
        )
    migrate(config)
    warning = power_cut_warning(config)
    if warning is not None:
        print(warning, file=sys.stderr, flush=True)
    create_app(config).extensions["quxiang"].database.close()  # whatever is wrong is said here
    if tls is not None:
        tls.check()
        _keep_certificate(config, tls.certificate)
    serve.serve(config, args.host, args.port, args.workers or serve.WORKERS, tls)
    return 0


def _keep_certificate(config: ServerConfig, path: Path) -> None:
    from server.services.paired import pairing

    try:
        pairing.keep_certificate(config, path.read_bytes())
    except WireInvalid:
        raise CertificateInvalid(
            say(f"{path} 不是 PEM 格式的证书", f"{path} is not a certificate in PEM form")
        ) from None


def _code(args: argparse.Namespace) -> int:
    from server.services.evidence import audit
    from server.services.paired import pairing
    from server.services.township.townships import only_township

    config = config_of(args)
    now = utcnow()
    if (args.file is None) != (args.address is None):
        told = say("--file 与 --address 须同时给出", "--file and --address go together")
        print(told, file=sys.stderr)
        return 2
    with transaction(config) as session:
        township = only_township(session, args.township)
        keys = load_keys(config)
        if args.tls_cert is not None:
            _keep_certificate(config, args.tls_cert)
        code = pairing.make_code(
            session,
            township,
            args.kind,
            now,
            keys,
            args.site,
            args.site_kind,
            pairing.kept_certificate(config),
        )
        audit.note_for(session, township.id, "command", "code", args.site or args.kind, now)
    print(code, flush=True)
    if args.file is not None:
        pairing.write_file(args.file, args.address, code)
    return 0


def _backup(args: argparse.Namespace) -> int:
    from server.backup import backup

    backup(config_of(args), args.file)
    print(say(f"已备份到 {args.file}", f"backed up to {args.file}"))
    return 0


def _restore(args: argparse.Namespace) -> int:
    from server.backup import restore, to_check

    config = config_of(args)
    since = restore(config, args.file, utcnow())
    print(say(f"已恢复到 {config.data}", f"restored into {config.data}"))
    print("\n".join(to_check(since)))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from server.demo import make_demo

    for line in make_demo(config_of(args), args.officials, args.sites, args.days, utcnow()):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
