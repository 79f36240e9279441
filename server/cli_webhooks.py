"""`quxiang-server webhook`: programs that are told what happens, from the machine itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from urllib.parse import urlsplit

from attendance.days import local
from attendance.i18n import say
from server.cli_base import config_of, fail, transaction
from server.config import load_keys
from server.context import utcnow

TOPICS = ("records", "findings")
TROUBLES = {
    "name": ("没有这个主机", "no such host"),
    "refused": ("此地址不允许（见 --webhook-network）",
                "this address is not allowed; see --webhook-network"),
    "plain": ("公网地址须用 https", "public addresses need https"),
    "connect": ("连接不上", "no connection"),
    "tls": ("证书不受信任", "its certificate is not trusted"),
    "timeout": ("超时", "took too long"),
    "redirect": ("答以跳转", "answered with a redirect"),
    "status": ("被拒绝", "refused it"),
    "answer": ("答复不完整", "no proper answer"),
    "secret": ("密钥不能读：请 renew", "the secret cannot be read: renew it"),
}  # fmt: skip


def register(
    webhook: argparse.ArgumentParser,
    data: Callable[[argparse.ArgumentParser], None],
    network: Callable[[argparse.ArgumentParser], None],
) -> None:
    """The actions of `webhook`; `data` adds --data and --database, `network` --webhook-network."""
    actions = webhook.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Callable[[argparse.Namespace], int], what: str,
               *, numbered: bool = True) -> argparse.ArgumentParser:  # fmt: skip
        made = actions.add_parser(name, help=what, description=what)
        data(made)
        made.add_argument("--township", metavar="NAME")
        if numbered:
            made.add_argument("number", metavar="NUMBER", type=int, help="as `list` shows it")
        made.set_defaults(run=run)
        return made

    new = action("add", add, "tell a program what happens; its secret is the last line, this once",
                 numbered=False)  # fmt: skip
    new.add_argument("name", metavar="NAME", help="which program it is for")
    new.add_argument("url", metavar="URL")
    new.add_argument("--topic", choices=TOPICS, action="append", required=True,
                     help="what it is told of (repeatable)")  # fmt: skip
    action("list", show, "list webhooks, their state and last try", numbered=False)
    network(action("test", test, "send an empty message now and say what came of it"))
    action("disable", change, "send nothing more; what happens meanwhile is sent after `resume`")
    action("resume", change, "try again at once, from where it stopped")
    action("renew", change, "another secret, the last line; the one before ends at once")
    action("remove", change, "end it and forget its tries")


def _host(url: str) -> str:
    # A path or a query may be what lets one in there.
    return urlsplit(url).hostname or ""


def add(args: argparse.Namespace) -> int:
    """Makes one; the secret is the last line."""
    from server.services.evidence import audit
    from server.services.programs import webhooks
    from server.services.township.townships import only_township

    config, now = config_of(args), utcnow()
    with transaction(config) as session:
        township = only_township(session, args.township)
        made = webhooks.make(
            session, township, args.name, args.url, args.topic, None, now,
            load_keys(config).secret,
        )  # fmt: skip
        target = f"{made.row.name} → {_host(made.row.url)} {made.row.topics}"
        audit.note_for(session, township.id, webhooks.COMMAND, "make_webhook", target, now)
        number = made.row.id
    print(say(f"推送 {number} 已添加", f"webhook {number} is there"))
    _tell(made.text)
    return 0


def _tell(secret: str) -> None:
    print(say("密钥（只显示这一次）：", "its secret, shown this once:"))
    print(secret)


def show(args: argparse.Namespace) -> int:
    """A line for each: number, state, topics, host, name, last try. Neither secret nor path."""
    from server.services.programs import webhooks
    from server.services.township.townships import only_township

    states = {"works": ("正常", "works"), "failing": ("失败重试中", "failing"),
              "stopped": ("已停止", "stopped")}  # fmt: skip
    with transaction(config_of(args)) as session:
        township = only_township(session, args.township)
        for row in reversed(webhooks.listing(session, township)):
            tries = webhooks.deliveries(session, township, row.id, 1)
            last = local(tries[0].at_ms).strftime("%Y-%m-%d %H:%M") if tries else "-"
            state = say(*states[webhooks.state(row)])
            topics = ",".join(row.topics.split())
            print(f"{row.id}  {state}  {topics}  {_host(row.url)}  {row.name}  {last}")
    return 0


def test(args: argparse.Namespace) -> int:
    """Sends an empty message; exit 1 with the reason where it was not taken."""
    from server.services.evidence import audit
    from server.services.programs import delivery, webhooks
    from server.services.township.townships import only_township

    config, now = config_of(args), utcnow()
    with transaction(config) as session:
        township = only_township(session, args.township)
        row = webhooks.one(session, township, args.number, None)
        parcel = delivery.trial(row, township, now)
        target = f"{row.name} → {_host(row.url)}"
        audit.note_for(session, township.id, webhooks.COMMAND, "test_webhook", target, now)
    outcome = delivery.send(parcel, load_keys(config).secret, config.webhook_networks, now)
    with transaction(config) as session:
        delivery.note(session, parcel, outcome, now, 0.5)
    if outcome.ok:
        print(say(f"对方已收下：{outcome.status}", f"the test was taken: {outcome.status}"))
        return 0
    status = "" if outcome.status is None else f" ({outcome.status})"
    why = say(*TROUBLES[outcome.trouble]) + status
    return fail(say(f"测试失败：{why}", f"the test failed: {why}"))


def change(args: argparse.Namespace) -> int:
    """Stops, resumes, renews or removes one, noted in its township's trail."""
    from server.services.evidence import audit
    from server.services.programs import webhooks
    from server.services.township.townships import only_township

    config, now, secret = config_of(args), utcnow(), ""
    with transaction(config) as session:
        township = only_township(session, args.township)
        row = webhooks.one(session, township, args.number, None)
        target = f"{row.name} → {_host(row.url)}"
        if args.action == "disable":
            webhooks.stop(session, township, row.id, None, now)
        elif args.action == "resume":
            webhooks.resume(session, township, row.id, None)
        elif args.action == "renew":
            secret = webhooks.renew(session, township, row.id, None, load_keys(config).secret).text
        else:
            webhooks.remove(session, township, row.id, None)
        word = f"{args.action}_webhook"
        audit.note_for(session, township.id, webhooks.COMMAND, word, target, now)
    print(say(f"已办理：{args.number}", f"done: {args.number}"))
    if secret:
        _tell(secret)
    return 0
