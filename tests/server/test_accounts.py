"""Accounts: names, passwords, the lock on wrong ones, and whose trail is whose."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from server.errors import InputInvalid
from server.models import AuditEntry
from server.services import accounts, audit
from server.services.townships import only_township

from .conftest import MORNING, PASSWORD, Office


def login(office: Office, name: str, password: str) -> str | None:
    with office.context.database.transaction() as session:
        user = accounts.authenticate(session, name, password, office.clock(), "127.0.0.1")
        return None if user is None else user.name


def test_a_name_is_locked_after_five_wrong_passwords_known_or_not(office: Office) -> None:
    office.user("wenshu", "clerk")
    assert login(office, "wenshu", PASSWORD) == "wenshu"
    for name in ("wenshu", "nobody"):
        for _ in range(5):
            assert login(office, name, "wrong wrong wrong") is None
        with office.context.database.session() as session:
            until = accounts.locked_until(session, name, office.clock())
        assert until == MORNING + timedelta(minutes=1)
    assert login(office, "wenshu", PASSWORD) is None
    office.clock.step(seconds=61)
    assert login(office, "wenshu", "wrong wrong wrong") is None
    office.clock.step(seconds=100)
    assert login(office, "wenshu", PASSWORD) is None  # two minutes now
    office.clock.step(seconds=60)
    assert login(office, "wenshu", PASSWORD) == "wenshu"


def test_accounts_need_proper_names_roles_and_passwords(office: Office) -> None:
    with office.context.database.session(write=True) as session:
        place = only_township(session)
        for name, role, password in (
            ("", "clerk", PASSWORD), ("a b", "clerk", PASSWORD), ("x", "king", PASSWORD),
            ("x", "clerk", "short"), ("x", "clerk", "l" * 257),
        ):  # fmt: skip
            with pytest.raises(InputInvalid):
                accounts.add_user(session, place, name, role, password, MORNING)
        user = accounts.add_user(session, place, "x", "clerk", PASSWORD, MORNING)
        with pytest.raises(InputInvalid):
            accounts.add_user(session, place, "x", "clerk", PASSWORD, MORNING)
        with pytest.raises(InputInvalid):
            accounts.change_password(session, user, PASSWORD)
        accounts.change_password(session, user, PASSWORD + "!")
        assert not user.must_change


@pytest.mark.parametrize(
    "easy",
    ["123456789012", "aaaaaaaaaaaa", "password1234", "Quxiang-2026", "qwertyuiop12", "abcdefghijkl",
     "admin1234567", "去向去向去向去向去向去向", "wangmishu-123", "WANGMISHU2026",
     "青山乡青山乡青山乡2026", "1qaz2wsx3edc", "987654321098", "zxcvbnm,zxcvbnm", "woaini1314520"],
)  # fmt: skip
def test_what_anybody_would_try_is_no_password(office: Office, easy: str) -> None:
    with office.context.database.session(write=True) as session:
        place = only_township(session)
        with pytest.raises(InputInvalid) as refused:
            accounts.add_user(session, place, "wangmishu", "clerk", easy, MORNING)
        assert refused.value.key == "password_easy"
        user = accounts.add_user(session, place, "wangmishu", "clerk", PASSWORD, MORNING)
        for change in (
            lambda: accounts.change_password(session, user, easy),
            lambda: accounts.set_password(session, user, easy, must_change=False),
        ):
            with pytest.raises(InputInvalid):
                change()


def test_a_sentence_of_one_s_own_is_a_password() -> None:
    for good in ("correct horse battery", "a long enough passphrase 7",
                 "我家门前有两棵枣树都结了果", "7X2Q-W6TE-QWFZ-5Q6T",
                 "quxiang maple 71"):  # fmt: skip
        accounts.check_password(good, "wangmishu", "青山乡")
    for _ in range(200):
        accounts.check_password(accounts.new_password(), "wangmishu", "青山乡")


def test_the_trail_is_the_township_s_own(office: Office) -> None:
    user = office.user("dudao", "inspector")
    with office.context.database.transaction() as session:
        audit.note(session, user, "view_day", "2026-03-18", MORNING, "127.0.0.1")
    with office.context.database.session() as session:
        mine = audit.recent(session, only_township(session))
        assert [(e.who, e.what, e.target) for e in mine] == [("dudao", "view_day", "2026-03-18")]
        assert audit.recent(session, only_township(session, "白水乡")) == []
        assert len(session.scalars(select(AuditEntry)).all()) == 1
