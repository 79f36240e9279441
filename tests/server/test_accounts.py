"""Accounts: names, passwords, the lock on wrong ones, and whose trail is whose."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from server.errors import InputInvalid
from server.models import AuditEntry
from server.services.access import accounts, passwords
from server.services.evidence import audit
from server.services.township.townships import only_township

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


@pytest.mark.parametrize(
    "frequent",
    ["liverpoolchelsea", "monkeydragon12", "P@ssw0rdS3cret", "sunshine19870512", "michaeljessica",
     "summer2024winter", "hunter2hunter2hunter2", "starwarsstarwars"],
)  # fmt: skip
def test_what_is_made_up_of_frequent_passwords_is_none(frequent: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        passwords.check_password(frequent, "wangmishu", "青山乡")
    assert refused.value.key in ("password_frequent", "password_easy")


def test_the_most_frequent_passwords_of_the_least_length_are_refused() -> None:
    """Those of the list that are long enough, and 3,000 of frequent ones one after the other."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    listed = FREQUENCY_LISTS["passwords"]
    long = [word for word in listed if len(word) >= passwords.MIN_PASSWORD]
    assert len(long) > 200
    twice = [f"{first}{second}" for n, first in enumerate(listed[:60]) for second in listed[n:60]]
    long += [word for word in twice if len(word) >= passwords.MIN_PASSWORD]
    assert len(long) > 800
    taken = []
    for word in long[:: max(1, len(long) // 400)]:
        try:
            passwords.check_password(word)
            taken.append(word)
        except InputInvalid:
            pass
    assert taken == []


@given(st.lists(st.text(min_size=1, max_size=20), max_size=30), st.booleans())
def test_a_stolen_password_is_found_in_a_list_of_any_length(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], counted: bool
) -> None:
    folder = tmp_path_factory.mktemp("stolen")
    marks = sorted(hashlib.sha1(w.encode()).hexdigest().upper() for w in words)  # noqa: S324
    ends = ":17\r\n" if counted else "\n"
    (folder / "breached.txt").write_bytes("".join(m + ends for m in marks).encode())
    for word in words:
        assert passwords.is_stolen(folder / "breached.txt", word)
    assert not passwords.is_stolen(folder / "breached.txt", "in no list of mine")
    assert not passwords.is_stolen(folder / "none.txt", "x")


def test_a_sentence_of_one_s_own_is_a_password() -> None:
    for good in ("correct horse battery", "a long enough passphrase 7",
                 "我家门前有两棵枣树都结了果", "7X2Q-W6TE-QWFZ-5Q6T",
                 "quxiang maple 71"):  # fmt: skip
        passwords.check_password(good, "wangmishu", "青山乡")
    for _ in range(200):
        passwords.check_password(accounts.new_password(), "wangmishu", "青山乡")


def test_the_trail_is_the_township_s_own(office: Office) -> None:
    user = office.user("dudao", "inspector")
    with office.context.database.transaction() as session:
        audit.note(session, user, "view_day", "2026-03-18", MORNING, "127.0.0.1")
    with office.context.database.session() as session:
        mine = audit.recent(session, only_township(session))
        assert [(e.who, e.what, e.target) for e in mine] == [("dudao", "view_day", "2026-03-18")]
        assert audit.recent(session, only_township(session, "白水乡")) == []
        assert len(session.scalars(select(AuditEntry)).all()) == 1
