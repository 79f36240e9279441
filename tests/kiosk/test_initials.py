"""Names by the letters that their pinyin begins with."""

from __future__ import annotations

import pytest

from kiosk.initials import initials


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("王芳", ["w", "f"]),
        ("欧阳建国", ["o", "y", "j", "g"]),
        ("曾庆", ["cz", "q"]),  # the surname's own reading and the common word's
        ("单雄信", ["ds", "x", "x"]),
        ("王单", ["w", "d"]),  # only a surname is read so
        ("买买提·艾力", ["m", "m", "t", "a", "l"]),
        ("示例 Sample A", ["s", "l", "s", "a"]),
        ("🙂", []),
    ],
)
def test_a_name_is_found_by_its_letters(name: str, letters: list[str]) -> None:
    assert initials(name) == letters
