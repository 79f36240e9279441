"""What somebody at the terminal sees of a running kiosk: a line for what happens, and the board."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from attendance.days import local
from attendance.i18n import language, say
from attendance.statuses import LOOKS, Status
from hardware.terminal import Row, draw_board
from kiosk.board import BoardRow
from kiosk.events import Event
from kiosk.lampkeeper import Shown

_REASONS = {
    "unknown": ("没有认出", "not recognised"),
    "ambiguous": ("无法确定是哪一位", "could be either of two"),
    "not_live": ("不是真人", "not alive"),
    "quality": ("看不清楚", "not clear enough"),
    "locked": ("已暂停", "locked"),
}
_PARTS = {
    "store": "存储",
    "camera": "摄像头",
    "lamps": "灯板",
    "sync": "同步",
    "gallery": "人脸库",
    "recognition": "人脸识别",
    "screen": "屏幕",
    "voice": "语音",
    "buttons": "按钮",
    "motion": "人体感应器",
    "door": "门铃",
    "buzzer": "蜂鸣器",
    "light": "补光灯",
    "heat": "温度",
    "power": "供电",
    "settings": "设置",
    "touch": "触摸屏",
    "disk": "存储空间",
    "outbox": "待上传",
}


class Notes:
    """Plain lines anywhere; on a terminal the lamp board stays drawn below them. Thread-safe."""

    def __init__(
        self,
        stream: TextIO,
        name_of: Callable[[str], str],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._stream = stream
        self._name_of = name_of
        self._now_ms = now_ms
        self._guard = threading.RLock()
        self._rows: list[Row] = []
        self._drawn = 0
        self._terminal = stream.isatty()

    def __call__(self, event: Event) -> None:
        """An event of the log (`EventLog.listen`)."""
        text = self._words(event)
        if text:
            self.say(f"{local(self._now_ms()):%H:%M:%S} {text}")

    def say(self, text: str) -> None:
        """One line, above the board."""
        with self._guard, contextlib.suppress(OSError, ValueError):
            self._erase()
            self._stream.write(text + "\n")
            self._draw()
            self._stream.flush()

    def board(self, rows: Sequence[BoardRow], shown: Mapping[str, Shown]) -> None:
        """Draw the lamps as their driver says that they are, where they changed."""
        if not self._terminal:
            return
        lang = language()
        drawn: list[Row] = []
        for row in rows:
            lamp = shown.get(row.official)
            known = lamp is None or lamp.ok
            word = LOOKS[Status(row.word_key)].word(lang)
            drawn.append((row.name, word, row.colour if known else None, row.blinking))
        with self._guard, contextlib.suppress(OSError, ValueError):
            if drawn != self._rows:
                self._erase()
                self._rows = drawn
                self._draw()
                self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if self._terminal and self._rows:
            counting = _Counting(self._stream)
            draw_board(self._rows, counting)  # type: ignore[arg-type]
            self._drawn = counting.lines

    def _words(self, event: Event) -> str:
        kind = event["event"]
        if kind == "checkin":
            look = LOOKS[Status(event["status"])]
            score = "" if event["score"] is None else f", {event['score']:.2f}"
            took = "" if event["latency_ms"] is None else f", {event['latency_ms']:.0f} ms"
            name = self._name_of(event["official"])
            return f"{look.glyph} {name} {look.word(language())} ({event['method']}{score}{took})"
        if kind == "again":
            name = self._name_of(event["official"])
            return say(f"· {name} 刚刚已记录", f"· {name} was recorded a moment ago")
        if kind == "refused":
            zh, en = _REASONS[event["reason"]]
            return say(f"× 未记录：{zh}", f"× not recorded: {en}")
        if kind == "fault":
            part = say(_PARTS.get(event["part"]) or event["part"], event["part"])
            return f"! {part}: {event['what']}"
        if kind == "sync" and event["sent"]:
            text = say("↑ 已上传 {sent}，待上传 {pending}", "↑ {sent} sent, {pending} to go")
            return text.format(**event)
        return ""


class _Counting:
    """A stream that counts the lines written through it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
