"""The board drawn on a terminal."""

from __future__ import annotations

import io

from hardware.terminal import cells, draw_board

ROWS = [
    ("张三", "在岗", "green", False),
    ("欧阳锦华", "下乡", "yellow", True),
    ("Li Si", "请休假", "red", False),
    ("王五", "未知", None, False),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_it_is_text_in_columns():
    out = io.StringIO()
    draw_board(ROWS, out, columns=30, environ={"COLORTERM": "truecolor"})
    assert out.getvalue() == (
        "● 张三     在岗\n■ 欧阳锦华 下乡 *\n◆ Li Si    请休假\n? 王五     未知\n"
    )


def test_as_many_lamps_a_line_as_fit():
    out = io.StringIO()
    draw_board(ROWS, out, columns=41, environ={})
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert cells(lines[0].split("■")[0]) == cells(lines[1].split("?")[0])
    assert max(map(cells, lines)) <= 41


def test_colours_on_a_terminal_only_as_deep_as_it_says():
    true, sixteen, plain, dumb = Terminal(), Terminal(), Terminal(), Terminal()
    draw_board(ROWS, true, columns=30, environ={"COLORTERM": "truecolor", "TERM": "xterm"})
    draw_board(ROWS, sixteen, columns=30, environ={"TERM": "xterm"})
    draw_board(ROWS, plain, columns=30, environ={"NO_COLOR": "1", "COLORTERM": "truecolor"})
    draw_board(ROWS, dumb, columns=30, environ={"TERM": "dumb"})
    assert "\x1b[38;2;46;160;67m●\x1b[0m 张三" in true.getvalue()
    assert "\x1b[5;93m■\x1b[0m" in sixteen.getvalue()
    assert "\x1b" not in plain.getvalue() + dumb.getvalue()


def test_width_of_chinese_and_combining_characters():
    assert [cells(text) for text in ("abc", "张三", "\uff08", "e\u0301", "")] == [3, 4, 2, 1, 0]


def test_an_empty_board_draws_nothing():
    out = io.StringIO()
    draw_board([], out)
    assert out.getvalue() == ""
