"""Cards and badges: numbers as readers type them, codes that say nothing, marks under a key."""

from __future__ import annotations

import pytest

from attendance.errors import TokenInvalid
from attendance.tokens import MARK_BYTES, card_number, is_badge, mark, new_badge


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("0012345678", "12345678"),  # a spreadsheet drops the zeros, a reader keeps them
        ("12345678", "12345678"),
        ("04:a2:2f:7b", "04A22F7B"),
        ("04A22F7B\n", "04A22F7B"),
        ("000000", "0"),
    ],
)
def test_one_card_has_one_number_however_it_is_typed(typed: str, number: str) -> None:
    assert card_number(typed) == number


@pytest.mark.parametrize("typed", ["", "12345", "卡12345678", "1" * 41, "12345678;"])
def test_what_is_no_card_is_refused(typed: str) -> None:
    with pytest.raises(TokenInvalid):
        card_number(typed)


def test_badges_differ_and_are_told_from_other_codes() -> None:
    made = {new_badge() for _ in range(200)}
    assert len(made) == 200
    assert all(is_badge(text) for text in made)
    for other in ("", "https://example.cn/q", "QX1:", "QX1:" + "I" * 24, next(iter(made)) + "0"):
        assert not is_badge(other)


def test_a_mark_belongs_to_one_key_one_kind_and_one_token() -> None:
    key = b"k" * 32
    one = mark(key, "card", "12345678")
    assert len(one) == MARK_BYTES
    assert one == mark(key, "card", "12345678")
    others = [
        (b"K" * 32, "card", "12345678"),
        (key, "badge", "12345678"),
        (key, "card", "12345679"),
    ]
    assert one not in [mark(k, kind, token) for k, kind, token in others]
