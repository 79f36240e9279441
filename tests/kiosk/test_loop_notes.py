"""What the terminal shows of a running kiosk."""

from __future__ import annotations

import io

from attendance.statuses import Status
from kiosk.board import BoardRow
from kiosk.events import EventLog
from kiosk.lampkeeper import Shown
from kiosk.notes import Notes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(name: str, status: Status, colour: str) -> BoardRow:
    return BoardRow(name, name, "", status, colour, False, None, None, str(status), False)


def notes(stream: io.StringIO) -> Notes:
    # 2026-06-01 08:30:00 in Shanghai
    return Notes(stream, lambda official: {"XC-1": "王芳"}.get(official, official), lambda: NOW)


NOW = 1_780_273_800_000
ROWS = [row("王芳", Status.IN_VILLAGE, "yellow"), row("李强", Status.UNKNOWN, "off")]


def test_a_pipe_gets_plain_lines_and_no_board() -> None:
    stream = io.StringIO()
    made = notes(stream)
    events = EventLog(None)
    events.listen(made)
    made.board(ROWS, {})
    events.checkin("XC-1", Status.IN_VILLAGE, "pin", latency_ms=81.6, seq=1)
    events.refused("unknown", 3)
    events.lamp("XC-1", "rgb", "yellow", "yellow")
    events.sync(0, 0, 0, 0, 0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "\x1b" not in stream.getvalue()
    assert lines[0].startswith("08:30:00 ■ 王芳 ")
    assert lines[0].endswith("(pin, 82 ms)")


def test_on_a_terminal_the_board_stays_below_and_is_redrawn_on_change_only() -> None:
    stream = Terminal()
    made = notes(stream)
    made.board(ROWS, {"王芳": Shown("yellow", False, "yellow")})
    first = stream.getvalue()
    made.board(ROWS, {"王芳": Shown("yellow", False, "yellow")})
    assert stream.getvalue() == first
    drawn = first.count("\n")
    made.say("a line")
    then = stream.getvalue()[len(first) :]
    assert then.startswith(f"\x1b[{drawn}A\x1b[Ja line\n")
    assert then.count("王芳") == 1


def test_a_lamp_that_is_unknown_is_drawn_as_unknown() -> None:
    stream = Terminal()
    notes(stream).board(ROWS, {"王芳": Shown("yellow", False, "unknown")})
    assert "? 王芳" in stream.getvalue()


def test_a_terminal_that_went_away_stops_nothing() -> None:
    stream = io.StringIO()
    made = notes(stream)
    stream.close()
    made.say("nobody reads this")
