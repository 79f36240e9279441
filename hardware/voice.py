"""A voice: any command that speaks a text. One sentence at a time, the newest one next, never two.

The command is given the text as standard input, or in place of `{text}` among its words. It never
blocks: `say` starts a process, `turn` looks whether it has ended.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hardware.errors import VoiceError

COMMAND = "espeak-ng -v cmn"
"""Mandarin by espeak-ng (Debian's package of that name)."""
LONGEST_S = 20.0
"""A sentence that takes longer hangs, and is ended."""
RETRY_S = 5.0
"""Seconds of silence after a failure before the next sentence is tried."""
LOOK_S = 5.0
"""Between two looks whether there is a sound card."""
LOCAL = ("espeak-ng", "espeak")
"""Commands that sound on this machine's own card; another may speak through the network."""


Outputs = Callable[[], frozenset[str]]
"""Names what sound can come out of now."""


def sound_outputs(root: Path = Path("/")) -> frozenset[str]:
    """The playback devices of ALSA on the machine whose files lie below `root`."""
    with contextlib.suppress(OSError):
        return frozenset(device.name for device in (root / "dev/snd").glob("pcm*p"))
    return frozenset()


def outputs_of(command: str, root: Path = Path("/")) -> Outputs | None:
    """What that command sounds through, None where it need not be a card of this machine."""
    word = command.split()[0].rsplit("/", 1)[-1] if command.strip() else ""
    if word not in LOCAL or "PULSE_SERVER" in os.environ:
        return None
    return lambda: sound_outputs(root)


class Speech(Protocol):
    """A process that speaks, as `subprocess.Popen`."""

    def poll(self) -> int | None:
        """Its exit status, None while it speaks."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Voice:
    """Speaks sentences. Belongs to one thread. fault: why nothing is said, None while it works."""

    def __init__(
        self,
        command: str = COMMAND,
        start: Callable[[list[str], str, Any], Speech] | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        """command: split as a shell would. outputs: looked at now and then, so that a missing sound
        card is told before anybody waits for a word, and a new one is tried at once. start: makes
        the process from its words, the text for its standard input and the file for its
        complaints; raises OSError. Raises VoiceError where the command cannot be split."""
        try:
            self._words = shlex.split(command)
        except ValueError:
            self._words = []
        if not self._words:
            raise VoiceError(
                f"语音命令 {command!r} 无法使用，请改正引号或填写命令。",
                f"The voice command {command!r} cannot be used: mend its quotes, or give one.",
            )
        self.fault: VoiceError | None = None
        self._start = start or _popen
        self._outputs = outputs
        self._heard_of: frozenset[str] | None = None
        self._look_at: float | None = None
        self._waiting: str | None = None
        self._speech: Speech | None = None
        self._began = 0.0
        self._retry_at: float | None = None
        self._said: Any = None

    @property
    def speaking(self) -> bool:
        """Whether a sentence is being said."""
        return self._speech is not None

    def say(self, text: str, now_s: float) -> None:
        """Say it now, or after the sentence under way; what waits gives way to the newest."""
        self._waiting = " ".join(text.split())
        self.turn(now_s)

    def hush(self) -> None:
        """Say nothing more, and end what is being said."""
        self._waiting = None
        self._end()

    def turn(self, now_s: float) -> None:
        """Carry on: notice an end, start the next sentence, see whether there is a sound card."""
        self._look(now_s)
        if self._speech is not None:
            status = self._speech.poll()
            if status is None:
                if now_s - self._began < LONGEST_S:
                    return
                self._end()
                self._failed(
                    ("语音没有结束", "did not end"),
                    now_s,
                )
            else:
                complaint = self._complaint()
                self._speech = None
                # espeak-ng ends with 0 where there is no sound card, and only complains.
                if status != 0 or "error" in complaint.lower():
                    self._failed(
                        (complaint or f"退出码 {status}", complaint or f"exit {status}"), now_s
                    )
                else:
                    self.fault, self._retry_at = None, None
        if self._waiting is None:
            return
        if self._retry_at is not None and now_s < self._retry_at:
            self._waiting = None  # a greeting that comes late is worse than none
            return
        text, self._waiting = self._waiting, None
        words = [word.replace("{text}", text) for word in self._words]
        given = "" if words != self._words else text + "\n"
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the speech)
            self._speech = self._start(words, given, self._said)
            self._began = now_s
        except OSError as error:
            why = error.strerror or str(error)
            self._failed((f"{self._words[0]}：{why}", f"{self._words[0]}: {why}"), now_s)

    def _look(self, now_s: float) -> None:
        if self._outputs is None or (self._look_at is not None and now_s < self._look_at):
            return
        self._look_at = now_s + LOOK_S
        found = self._outputs()
        if found == self._heard_of:
            return
        self._heard_of = found
        if found:
            # Whatever was wrong before may have been the card that came now.
            self.fault, self._retry_at = None, None
        else:
            self.fault = _no_card()

    def _complaint(self) -> str:
        """The last line that the command wrote to its standard error."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._said.seek(0)
            lines = self._said.read(4096).decode("utf-8", "replace").strip().splitlines()
            self._said.close()
            return str(lines[-1][:200]) if lines else ""
        return ""

    def _failed(self, why: tuple[str, str], now_s: float) -> None:
        self._speech = None
        self._retry_at = now_s + RETRY_S
        if self._heard_of is not None and not self._heard_of:
            # The command's own complaint would hide what is to be done.
            self.fault = _no_card()
            return
        self.fault = VoiceError(
            f"不能出声（{why[0]}），请接好扬声器，并安装 {self._words[0]}。",
            f"Nothing can be said aloud ({why[1]}): plug a loudspeaker in, and install "
            f"{self._words[0]}.",
        )

    def _end(self) -> None:
        if self._speech is not None:
            with contextlib.suppress(OSError):
                self._speech.kill()
            self._speech.poll()
            self._speech = None

    def close(self) -> None:
        """End it; may be called again."""
        self.hush()


def _no_card() -> VoiceError:
    return VoiceError(
        "没有声卡，不能出声；请插上 USB 扬声器。",
        "There is no sound card, nothing is said aloud: plug a USB loudspeaker in.",
    )


def _popen(words: list[str], text: str, complaints: Any) -> Speech:
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        start_new_session=True,
    )
    # A sentence fits into the pipe, so that this does not wait for a reader.
    with contextlib.suppress(OSError):
        assert process.stdin is not None  # noqa: S101 - for the type checker: it was asked for
        process.stdin.write(text.encode())
        process.stdin.close()
    return process
