"""A kiosk out of its box: `run` shows a page that asks for address and code, or takes them from a
USB stick; afterwards the kiosk goes on as if it had been paired all along."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from attendance.errors import QuxiangError
from attendance.i18n import say
from attendance.pairing_file import FILE_NAME, MAX_FILE, PairingFile
from attendance.signing import fingerprint
from kiosk.aside import remains
from kiosk.clock import Clock, SystemClock
from kiosk.config import is_paired, load_config, load_keys, run_lock
from kiosk.errors import KioskError, ServerUnreachable, StoreUnusable
from kiosk.notify import Notifier
from kiosk.pairing import pair, pairing_keys
from kiosk.screen.pairing import PairingScreen
from kiosk.started import rehearse
from kiosk.sticks import STICKS, folders_of

LOOK_S = 1.0
RETRY_S = 20.0
"""Before a stick whose server was not reached is tried again. Other refusals are final: ten wrong
codes close pairing for everybody."""
SHOWN_S = 90.0
"""How long the fingerprint stays, to be compared at the desk, where nobody touches "go on"."""
DEFAULT_PORT = 8443
BROKEN = (
    "本终端的配置或密钥文件损坏或缺失：请用新的配对码重新配对，原有文件会移到一旁，不会删除。",
    "This kiosk's configuration or key is damaged or gone: pair it anew with a fresh code; what is "
    "here is then set aside, not deleted",
)


def full_address(text: str) -> str:
    """What was typed as a server's address: `192.168.1.10` is https at the usual port."""
    plain = text.strip().rstrip("/")
    if "://" not in plain:
        plain = f"https://{plain}"
    try:
        parts = urlsplit(plain)
        bare = parts.port is None and parts.scheme == "https" and not parts.path
    except ValueError:
        return plain
    return f"{plain}:{DEFAULT_PORT}" if bare and parts.hostname else plain


@dataclass(frozen=True)
class _Tried:
    content: bytes
    again_at: float | None


class Pairing:
    """One unpaired folder. `try_code` may be called from any thread; `state` is what pages show."""

    def __init__(
        self,
        folder: Path,
        sticks: Sequence[str] = STICKS,
        mono: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._sticks = sticks
        self._mono = mono
        self._guard = threading.Lock()
        self._tried: dict[str, _Tried] = {}
        self.done = threading.Event()
        self._state: dict[str, Any] = {
            "step": "ask",
            "fingerprint": fingerprint(pairing_keys(folder).box_public),
        }
        self._broken = remains(folder)
        if self._broken:
            self._state |= {"zh": BROKEN[0], "en": BROKEN[1]}

    @property
    def state(self) -> dict[str, Any]:
        """`step` is `ask`, `trying` or `paired`; `zh`, `en` say what went wrong, or where from;
        `fingerprint` of this kiosk's key; once paired `site`, `township`, `device`, `server`."""
        return dict(self._state)

    @property
    def paired(self) -> bool:
        """Whether this folder is a kiosk's now, also where a command elsewhere paired it."""
        return is_paired(self._folder)

    @property
    def healed(self) -> bool:
        """Whether it is the kiosk's that it was: its files can be read again."""
        return self._broken and self.paired

    def try_code(self, address: str, code: str, *, source: str = "") -> dict[str, Any]:
        """Pair; the new state. One at a time: a second touch while it runs changes nothing."""
        if not self._guard.acquire(blocking=False):
            return self.state
        try:
            if self.paired:
                return self._settle()
            server = full_address(address)
            self._say(step="trying", zh=f"正在连接 {server}", en=f"connecting to {server}")
            try:
                pair(self._folder, server, code, held=True, tell=self._tell)
                self._broken = False
            except ServerUnreachable as fault:
                self._refuse(_unreached(server, fault), source, unreached=True)
            except KioskError as fault:
                self._refuse((fault.words("zh"), fault.words("en")), source)
            except QuxiangError as fault:
                self._refuse((f"配对失败：{fault}", f"pairing failed: {fault}"), source)
            except OSError as fault:
                self._refuse(
                    (f"无法保存：{fault}。请检查存储卡。", f"not saved: {fault}; check the card"),
                    source,
                )
            return self._settle() if self.paired else self.state
        finally:
            self._guard.release()

    def _settle(self) -> dict[str, Any]:
        config = load_config(self._folder)
        self._state = {
            "step": "paired",
            "fingerprint": fingerprint(load_keys(self._folder).box_public),
            "site": config.site,
            "township": config.township,
            "device": config.device,
            "server": config.server,
        }
        return self.state

    def _refuse(self, words: tuple[str, str], source: str, *, unreached: bool = False) -> None:
        zh, en = words
        where = (f"U盘 {source}：", f"USB stick {source}: ") if source else ("", "")
        self._say(step="ask", zh=where[0] + zh, en=where[1] + en, unreached=unreached)

    def _say(self, **words: str | bool) -> None:
        self._state = {"fingerprint": self._state["fingerprint"], **words}

    def look_at_sticks(self) -> None:
        """Take a pairing file from a stick that was put in; each content is tried once, and again
        only where the server was not reached."""
        if self.paired:
            self._settle()
            return
        found = {path.as_posix(): path for path in _files(self._sticks)}
        for gone in set(self._tried) - set(found):
            del self._tried[gone]  # taken out and put in again is another try
        for name, path in found.items():
            content = _read(path)
            before = self._tried.get(name)
            now = self._mono()
            same = before if before is not None and before.content == content else None
            if same is not None and (same.again_at is None or now < same.again_at):
                continue
            self._tried[name] = _Tried(content, None)
            try:
                asked = msgspec.json.decode(content, type=PairingFile)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._refuse(
                    (
                        f"{FILE_NAME} 无法读懂：请在服务器上重新生成。",
                        f"{FILE_NAME} is not understood: make it anew on the server.",
                    ),
                    path.parent.name,
                )
                continue
            self.try_code(asked.server, asked.code, source=path.parent.name)
            if self.paired:
                return
            if self._state.get("unreached"):
                self._tried[name] = _Tried(content, self._mono() + RETRY_S)


def _files(patterns: Iterable[str]) -> list[Path]:
    return [path for folder in folders_of(patterns) if (path := folder / FILE_NAME).is_file()]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError:
        return b""


def _unreached(server: str, fault: ServerUnreachable) -> tuple[str, str]:
    cause = fault.words("en")
    what = cause[cause.index("(") + 1 : cause.index(")")] if "(" in cause else "no connection"
    return (
        f"连不上服务器 {server}：请检查网线、地址和端口。",
        f"the server {server} was not reached ({what}): check cable, address and port",
    )


def pair_on_screen(
    folder: Path,
    port: int,
    stop: threading.Event,
    tell: Callable[[str], None],
    *,
    sticks: Sequence[str] = STICKS,
    notifier: Notifier | None = None,
    proved: Callable[[Path, Clock], None] = rehearse,
) -> bool:
    """Serve the pairing page until this folder is paired and somebody has seen it, or `stop` is
    set; whether it is paired. Raises PortTaken, AlreadyRunning.

    proved: raises StoreUnusable while nothing can be recorded here; ready is told after it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    alive = notifier or Notifier()
    able = False
    with run_lock(folder):
        pairing = Pairing(folder, sticks, tell=tell)
        with PairingScreen(pairing, port) as screen:
            tell(
                say(
                    f"尚未配对：请在屏幕上输入地址和配对码：{screen.url}",
                    f"not paired yet: type address and code on the screen: {screen.url}",
                )
            )
            until: float | None = None
            while not stop.wait(LOOK_S if until is None else 0.2):
                if not able:
                    # Not ready before it could record: an update that cannot is taken back.
                    with contextlib.suppress(StoreUnusable):
                        proved(folder, SystemClock())
                        able = True
                        alive.ready()
                alive.beat()
                if pairing.healed:
                    break
                pairing.look_at_sticks()
                if pairing.state["step"] == "paired":
                    until = until or time.monotonic() + SHOWN_S
                    if pairing.done.is_set() or time.monotonic() > until:
                        break
    return pairing.paired
