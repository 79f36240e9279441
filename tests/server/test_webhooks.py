"""Webhooks: nothing is lost or sent where it may not go, and whoever receives can be sure."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from attendance.days import day_of, to_ms
from attendance.statuses import Kind
from server.background import Loop
from server.errors import InputInvalid, NotAllowed, NotFound
from server.models import AuditEntry, Township, User, Webhook, WebhookDelivery
from server.services.programs import delivery, leases, outgoing, webhooks
from server.services.programs.outgoing import may_reach
from server.services.rulings import findings
from tests.walks.certificates import self_signed

from .conftest import Kiosk, Machine, Office
from .receiver import Receiver, genuine
from .web_seed import sign_in, token_of

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def loop_of(office: Office, holder: str = "one") -> Loop:
    config = replace(office.config, webhook_networks=LOOPBACK)
    loop = Loop(office.context.database, config, office.context.keys, office.clock, lambda: 0.0)
    loop.holder = holder
    return loop


def hook(office: Office, url: str, *topics: str, place: str = "青山乡") -> str:
    """A webhook's secret."""
    with office.context.database.transaction() as session:
        township = session.scalars(select(Township).where(Township.name == place)).one()
        admin = User(name="root", role="admin", township_id=township.id)
        made = webhooks.make(
            session, township, "县报表", url, topics or ("records",), admin, office.clock(),
            office.context.keys.secret,
        )  # fmt: skip
        return made.text


def row_of(office: Office) -> Webhook:
    with office.context.database.session() as session:
        return session.scalars(select(Webhook)).one()


def drain(loop: Loop) -> None:
    while loop.tick():
        pass


def settle(office: Office) -> None:
    """PostgreSQL's rows are sent a little later."""
    office.clock.step(seconds=16)


def come(office: Office, kiosk: Kiosk, *officials: str) -> list[str]:
    """Check-ins that arrive; their ids."""
    office.clock.step(seconds=1)
    made = [kiosk.record(official).record_id for official in officials]
    kiosk.sync()
    settle(office)
    return made


def test_every_check_in_is_sent_once_and_signed(
    office: Office, desk: Machine, village: Kiosk, receiver: Receiver
) -> None:
    come(office, village, "zhang-3")  # before there was a webhook
    secret = hook(office, receiver.url + "/in?key=1")
    loop = loop_of(office)
    drain(loop)
    assert receiver.taken == [], "from now on, not what was"
    wanted = come(office, village, *["zhang-3", "li-4"] * (delivery.PARCEL // 2 + 3))
    village.record(None, kind=Kind.CLOCK, status=None, method=None, score=None, liveness=None,
                   detail="set")  # fmt: skip
    village.sync()
    settle(office)
    drain(loop)
    sent = [item for taken in receiver.taken for item in taken.message["items"]]
    assert [item["record_id"] for item in sent] == wanted
    assert len(receiver.taken) == 2, "parcels are bounded"
    assert all(genuine(secret, taken) for taken in receiver.taken)
    assert not genuine(secret, replace(receiver.taken[0], body=receiver.taken[0].body + b" "))
    later = {**receiver.taken[0].headers, "webhook-timestamp": "1"}
    assert not genuine(secret, replace(receiver.taken[0], headers=later))
    first = receiver.taken[0]
    assert first.path == "/in?key=1"
    assert first.message["township"] == "青山乡"
    assert (first.message["type"], first.message["id"]) == ("records", first.headers["webhook-id"])
    assert {"score", "margin", "liveness", "payload", "reason"}.isdisjoint(sent[0])
    drain(loop)
    assert len(receiver.taken) == 2


def test_findings_and_their_steps_are_sent(
    office: Office, desk: Machine, receiver: Receiver
) -> None:
    hook(office, receiver.url, "findings")
    for place, who in (("青山乡", "shen"), ("白水乡", "wei")):
        user = office.user(who, "inspector", township=place)
        with office.context.database.transaction() as session:
            township = session.get_one(Township, user.township_id)
            day = day_of(to_ms(office.clock()))
            row = findings.open_finding(
                session, township, "absent", day, f"{place}无人", user, office.clock()
            )
            findings.add_event(session, township, row.id, "note", "已告知", user, office.clock())
    settle(office)
    drain(loop_of(office))
    kinds = [(taken.message["type"], [item["text"] for item in taken.message["items"]])
             for taken in receiver.taken]  # fmt: skip
    assert kinds == [("findings", ["青山乡无人"]), ("steps", ["已告知"])], "of its township alone"


def test_what_failed_is_sent_again_as_it_was_and_nothing_is_skipped(
    office: Office, desk: Machine, village: Kiosk, receiver: Receiver
) -> None:
    hook(office, receiver.url)
    receiver.answers = [500, -1, 302]
    wanted = come(office, village, "zhang-3")
    pauses = []
    for n in range(1, 4):
        drain(loop_of(office))  # as after a restart: nothing is remembered but in the database
        held = row_of(office)
        assert held.failures == n
        assert held.next_ms is not None
        pauses.append(held.next_ms - to_ms(office.clock()))
        drain(loop_of(office))
        assert len(receiver.taken) == n, "not before its time"
        if n == 1:
            wanted += come(office, village, "li-4")
        office.clock.step(milliseconds=pauses[-1])
    assert pauses == [5_000, 10_000, 20_000]
    drain(loop_of(office))
    assert len({taken.headers["webhook-id"] for taken in receiver.taken[:4]}) == 1
    assert [t.message["items"] for t in receiver.taken[:4]] == [
        receiver.taken[0].message["items"]
    ] * 4
    assert [i["record_id"] for t in receiver.taken[3:] for i in t.message["items"]] == wanted
    assert all(taken.path == "/" for taken in receiver.taken), "no redirect was followed"
    held = row_of(office)
    assert (held.failures, held.next_ms, webhooks.state(held)) == (0, None, "works")


def test_pauses_grow_to_a_cap_and_are_spread() -> None:
    longest = [delivery.pause_ms(n, 1.0) for n in range(1, 40)]
    assert longest[:3] == [10_000, 20_000, 40_000]
    assert max(longest) == longest[-1] == delivery.LONGEST_MS
    assert delivery.pause_ms(5, 0.0) * 2 == delivery.pause_ms(5, 1.0)


def test_after_days_of_failure_it_stops_and_goes_on_when_told(
    office: Office, desk: Machine, village: Kiosk, receiver: Receiver
) -> None:
    hook(office, receiver.url)
    receiver.answers = [503] * 1000
    wanted = come(office, village, "zhang-3")
    began, loop = office.clock(), loop_of(office)
    while webhooks.state(row_of(office)) != "stopped":
        drain(loop)
        office.clock.step(hours=6)
    assert timedelta(days=3) <= office.clock() - began <= timedelta(days=3, hours=12)
    tries = len(receiver.taken)
    office.clock.step(days=1)
    drain(loop)
    assert len(receiver.taken) == tries
    with office.context.database.transaction() as session:
        held = session.scalars(select(Webhook)).one()
        trial = delivery.trial(held, session.get_one(Township, held.township_id), office.clock())
        for _ in range(delivery.KEPT):
            delivery.note(session, trial, outgoing.Outcome(200, "", 1), office.clock(), 0.0)
        kept = session.scalars(select(WebhookDelivery.topic)).all()
        assert kept == ["test"] * delivery.KEPT, "the last ones"
    office.user("leader", "leader")
    browser = office.client()
    sign_in(browser, "leader")
    page = browser.get("/webhooks").text
    assert "已停止" in page
    receiver.answers = []
    press(browser, f"/webhooks/{row_of(office).id}/resume")
    drain(loop)
    assert receiver.taken[-1].message["items"][0]["record_id"] == wanted[0]
    assert "已停止" not in browser.get("/webhooks").text


def press(browser: FlaskClient, action: str, **fields: object) -> str:
    data = {"csrf_token": token_of(browser.get("/webhooks").text), **fields}
    answer = browser.post(action, data=data, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_of_two_processes_one_sends_until_it_ends(
    office: Office, desk: Machine, village: Kiosk, receiver: Receiver
) -> None:
    hook(office, receiver.url)
    one, other = loop_of(office), loop_of(office, "other")
    one.tick()
    come(office, village, "zhang-3")
    assert not other.tick()
    assert receiver.taken == []
    one.tick()
    assert len(receiver.taken) == 1
    come(office, village, "li-4")
    office.clock.step(milliseconds=leases.LEASE_MS)  # the first one is gone
    other.tick()
    one.tick()
    assert len(receiver.taken) == 2
    with office.context.database.session() as session:
        assert leases.alive(session, "background", office.clock())
    office.clock.step(days=-400)  # the clock was wrong, and is put right
    one.tick()
    with office.context.database.session() as session:
        assert leases.held(session, "background", one.holder, office.clock())


def test_two_that_send_at_once_never_lose_a_place(
    office: Office, desk: Machine, village: Kiosk, receiver: Receiver
) -> None:
    """A process that was away for longer than its lease writes what it knew then."""
    hook(office, receiver.url)
    come(office, village, "zhang-3")
    with office.context.database.session() as session:
        stale = delivery.owed(session, row_of(office).id, office.clock())
    assert stale is not None
    drain(loop_of(office))
    come(office, village, "li-4")
    drain(loop_of(office))
    ended = row_of(office).record_after
    for outcome in (outgoing.Outcome(200, "", 1), outgoing.Outcome(500, "status", 1)):
        with office.context.database.transaction() as session:
            assert not delivery.note(session, stale, outcome, office.clock(), 0.0)
    assert (row_of(office).record_after, row_of(office).failures) == (ended, 0)


def test_the_page_makes_tests_renews_and_removes(office: Office, receiver: Receiver) -> None:
    for role in ("admin", "clerk"):
        office.user(f"the-{role}", role)
    browser = office.client()
    sign_in(browser, "the-clerk")
    assert browser.get("/webhooks").status_code == 403
    browser = office.client()
    browser.set_cookie("quxiang_lang", "en")
    sign_in(browser, "the-admin")
    form = {"csrf_token": token_of(browser.get("/webhooks").text), "name": "x", "topic": "records"}
    bad = browser.post("/webhooks", data={**form, "url": "ftp://h/"})
    assert bad.status_code == 400
    page = press(browser, "/webhooks", name="County", url=receiver.url + "/s3cr3t-path",
                 topic="records")  # fmt: skip
    secret = re.search(r"whsec_[\w+/=]+", page)
    assert secret
    held = row_of(office)
    assert webhooks.opened(b"x" * 32, held.secret) is None, "another server cannot read it"
    assert secret[0] not in browser.get("/webhooks").text
    page = press(browser, f"/webhooks/{held.id}/test")
    assert "this address is not allowed" in page, "loopback, unless whoever runs the server says so"
    assert receiver.taken == []
    page = press(browser, f"/webhooks/{held.id}/secret")
    again = re.search(r"whsec_[\w+/=]+", page)
    assert again
    assert again[0] != secret[0]
    for _ in range(5):
        press(browser, f"/webhooks/{held.id}/test")
    data = {"csrf_token": token_of(browser.get("/webhooks").text)}
    assert browser.post(f"/webhooks/{held.id}/test", data=data).status_code == 429
    assert "Removed: County" in press(browser, f"/webhooks/{held.id}/remove")
    with office.context.database.session() as session:
        assert session.scalars(select(Webhook)).all() == []
        told = session.scalars(select(AuditEntry.target)).all()
    assert not any("s3cr3t" in target or "whsec" in target for target in told)


def test_the_next_township_has_nothing_to_do_with_it(office: Office, receiver: Receiver) -> None:
    hook(office, receiver.url)
    number, key = row_of(office).id, office.context.keys.secret
    theirs = office.user("wei", "admin", township="白水乡")
    with office.context.database.session() as session:
        mine = session.scalars(select(Township).where(Township.name == "青山乡")).one()
        place = session.get_one(Township, theirs.township_id)
        with pytest.raises(NotFound):
            webhooks.renew(session, place, number, theirs, key)
        with pytest.raises(NotAllowed):
            webhooks.renew(session, mine, number, theirs, key)
        assert webhooks.listing(session, place) == []


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://h/", "http://", "http://a@h/", "http://h:0/", "http://h:99999/", "http://h/#a",
     "http://h/\r\nX: y", "http://h/ b", "http://村/", "file:///etc/passwd", "http:\\\\h/",
     "http://h/" + "a" * 300],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputInvalid):
        outgoing.checked_url(url)


@pytest.mark.parametrize(
    ("address", "networks", "encrypted", "why"),
    [
        ("93.184.216.34", (), True, ""),
        ("93.184.216.34", (), False, "plain"),
        ("2606:2800:220:1::1", (), True, ""),
        ("127.0.0.1", (), True, "refused"),
        ("::1", (), True, "refused"),
        ("::ffff:127.0.0.1", (), True, "refused"),
        ("10.1.2.3", (), True, "refused"),
        ("192.168.1.9", ("192.168.1.0/24",), False, ""),
        ("192.168.2.9", ("192.168.1.0/24",), False, "refused"),
        ("::ffff:192.168.1.9", ("192.168.1.0/24",), False, ""),
        ("169.254.169.254", ("0.0.0.0/0",), True, "refused"),
        ("169.254.7.7", ("0.0.0.0/0",), True, "refused"),
        ("::ffff:169.254.169.254", ("::/0", "0.0.0.0/0"), True, "refused"),
        ("100.100.100.200", ("100.64.0.0/10",), True, "refused"),
        ("fd00:ec2::254", ("fd00::/8",), True, "refused"),
        ("fe80::1", ("::/0",), True, "refused"),
        ("64:ff9b::7f00:1", ("::/0",), True, "refused"),
        ("2002:7f00:1::", (), True, "refused"),
        ("0.0.0.0", ("0.0.0.0/0",), True, "refused"),
        ("224.0.0.1", ("0.0.0.0/0",), True, "refused"),
        ("100.64.1.1", (), True, "refused"),
        ("240.0.0.1", (), True, "refused"),
    ],
)
def test_where_the_server_may_send(
    address: str, networks: tuple[str, ...], encrypted: bool, why: str
) -> None:
    allowed = [ip_network(text) for text in networks]
    assert may_reach(ip_address(address), allowed, encrypted) == why


def test_a_name_that_leads_to_loopback_is_refused_and_not_asked_twice(receiver: Receiver) -> None:
    named = receiver.url.replace("127.0.0.1", "localhost")
    assert outgoing.post(named, b"", {}, ()).trouble == "refused"
    assert receiver.taken == []
    # IPv6's localhost is not in the network that was allowed: the first address that is, is used.
    assert outgoing.post(named, b"", {}, LOOPBACK).ok
    assert receiver.taken[0].headers["host"] == named.removeprefix("http://")


def test_a_receiver_that_speaks_another_language_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def babble() -> None:
            for words in (b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n", b""):
                taken, _ = listening.accept()
                taken.recv(4096)
                taken.sendall(words)
                taken.close()

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        assert outgoing.post(f"http://127.0.0.1:{port}", b"x", {}, LOOPBACK).trouble == "answer"
        assert outgoing.post(f"https://127.0.0.1:{port}", b"x", {}, LOOPBACK).trouble == "tls"
        assert outgoing.post(f"http://127.0.0.1:{port}", b"x", {}, LOOPBACK).trouble == "answer"
        thread.join()
    assert outgoing.post(f"http://127.0.0.1:{port}", b"x", {}, LOOPBACK).trouble == "connect"
    assert outgoing.post("http://nowhere.invalid", b"x", {}, LOOPBACK).trouble == "name"


def test_a_receiver_that_drips_is_left(receiver: Receiver) -> None:
    """A byte now and then is no answer: everything together has its time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def drip() -> None:
            taken, _ = listening.accept()
            with taken:
                taken.recv(4096)
                while not ended.wait(0.05):
                    try:
                        taken.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        outcome = outgoing.post(f"http://127.0.0.1:{port}", b"x", {}, LOOPBACK, limit_s=0.4)
        ended.set()
        thread.join()
    assert outcome.trouble == "timeout"
    assert outcome.took_ms < 2_000


def test_a_certificate_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    heard = bytearray()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            taken, _ = listening.accept()
            with taken, contextlib.suppress(OSError):
                heard.extend(context.wrap_socket(taken, server_side=True).recv(4096))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        assert outgoing.post(url, b"who was where", {}, LOOPBACK).trouble == "tls"
        thread.join()
    assert heard == b""
