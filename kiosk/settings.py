"""`DIR/kiosk.toml`: what a technician may set of voice, buzzer, light, buttons, motion,
camera, cards and USB sticks.

Pins stay in `wiring.toml` (docs/wiring.md). A file that cannot be used never stops a kiosk: it runs
as if nothing were set, and says so.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from hardware.light import BRIGHT, DARK
from hardware.voice import COMMAND
from kiosk.errors import ConfigInvalid
from kiosk.sticks import STICKS
from kiosk.troubles import Trouble, Troubles

SETTINGS = "kiosk.toml"
MAX_BYTES = 64 * 1024
BAD = ("设置文件无法使用", "The settings file cannot be used")

Clock = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""A time of day of Asia/Shanghai, `21:30`."""
Grey = Annotated[float, msgspec.Meta(ge=0, le=255)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Place = Annotated[str, msgspec.Meta(pattern=r"^/[^/].*$", max_length=200)]
"""A folder by its whole path."""


class VoiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """on: None for a voice before a live camera and none with footage. quiet: nothing is said from
    the first time of day to the second, over midnight where the second is earlier."""

    on: bool | None = None
    command: str = COMMAND
    quiet: tuple[Clock, Clock] | None = None


class BuzzerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tones; `quiet` as for the voice."""

    on: bool = True
    quiet: tuple[Clock, Clock] | None = None


class LightSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fill light: its level, and the mean grey of a face below and above which it turns."""

    on: bool = True
    level: Share = 0.6
    dark: Grey = DARK
    bright: Grey = BRIGHT


class ButtonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The four buttons beside the screen."""

    on: bool = True


class MotionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The motion sensor."""

    on: bool = True


class CameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rotate: degrees by which each picture is turned clockwise."""

    rotate: int = 0


class CardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """needs_pin: a card alone is not enough, whoever holds it up gives the PIN too."""

    needs_pin: bool = False


class StickSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """folders: where a USB stick is looked for, for a pairing file and for releases; absolute, and
    `*` stands for any name. An empty list: nowhere."""

    folders: Annotated[tuple[Place, ...], msgspec.Meta(max_length=16)] = STICKS


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; every table and key is optional."""

    voice: VoiceSettings = VoiceSettings()
    buzzer: BuzzerSettings = BuzzerSettings()
    light: LightSettings = LightSettings()
    buttons: ButtonSettings = ButtonSettings()
    motion: MotionSettings = MotionSettings()
    camera: CameraSettings = CameraSettings()
    card: CardSettings = CardSettings()
    stick: StickSettings = StickSettings()


def load_settings(folder: Path) -> Settings:
    """The settings of that folder, the usual ones where there is no file. Raises ConfigInvalid."""
    path = folder / SETTINGS
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("too long")
        settings = msgspec.convert(tomllib.loads(data.decode("utf-8")), Settings)
        if settings.camera.rotate not in (0, 90, 180, 270):
            raise ValueError("camera.rotate must be 0, 90, 180 or 270")
        if settings.light.bright <= settings.light.dark:
            raise ValueError("light.bright must be above light.dark")
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, RecursionError) as error:
        why = re.sub(r"\s+", " ", str(error))
        raise ConfigInvalid(
            f"设置文件 {path} 无法使用（{why}），请改正或删除。",
            f"the settings file {path} cannot be used ({why}): mend it, or remove it",
        ) from error
    return settings


def settings_or_trouble(folder: Path, troubles: Troubles) -> Settings:
    """The settings of that folder; a file that cannot be used is told, and the usual ones hold."""
    try:
        return load_settings(folder)
    except ConfigInvalid as error:
        words = error.words("zh"), error.words("en")
        troubles.set("settings", Trouble("settings", BAD, words))
        return Settings()


def is_quiet(quiet: tuple[str, str] | None, time_of_day: str) -> bool:
    """Whether a time of day (`HH:MM`) lies in the quiet hours."""
    if quiet is None:
        return False
    begin, end = quiet
    if begin <= end:
        return begin <= time_of_day < end
    return time_of_day >= begin or time_of_day < end
