"""Typed faults of the edge. Each says in one sentence, in Chinese and in English, what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth telling that stops nothing, e.g. one picture of a folder that was skipped.

    ``zh`` and ``en`` say the same, each in one sentence.
    """

    zh: str
    en: str

    def words(self, lang: str) -> str:
        """The sentence in ``lang``: Chinese where it starts with ``zh``, else English."""
        return self.zh if lang.lower().startswith("zh") else self.en

    def __str__(self) -> str:
        return self.en


class HardwareError(Exception):
    """Root of all faults of this package; ``str()`` is the English sentence."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.notice = Notice(zh, en)

    def words(self, lang: str) -> str:
        """The sentence in ``lang``: Chinese where it starts with ``zh``, else English."""
        return self.notice.words(lang)


class CameraError(HardwareError, OSError):
    """A camera, clip or folder of pictures that cannot be used."""


class CameraMissing(CameraError):
    """There is no such device, file or folder, or what drives it is not installed."""


class CameraBusy(CameraError):
    """The device is there, but another program holds it or it may not be opened."""


class CameraUnreadable(CameraError):
    """It is there but gives no picture: empty or corrupt file, no pictures, a mute RTSP server."""


class CameraStopped(CameraError):
    """A live source delivered pictures and then stopped: open it again."""


class LampError(HardwareError, RuntimeError):
    """The lamp driver failed: what its lamps show is unknown."""


class NoGpio(LampError):
    """This machine has no GPIO pins that can be used."""


class WiringError(HardwareError, ValueError):
    """The wiring file cannot be used as it stands."""


class PanelError(HardwareError, RuntimeError):
    """Something beside the screen (a button, the buzzer, the fill light ...) does not work."""


class VoiceError(HardwareError, RuntimeError):
    """Nothing can be said aloud."""
