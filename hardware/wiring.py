"""The wiring file: which pins each lamp hangs on (docs/wiring.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardware.errors import WiringError

PINS = range(2, 28)
"""BCM numbers of the 40-pin header that may carry a lamp; 0 and 1 belong to the HAT's EEPROM."""

FREE_PINS = tuple(range(4, 28))
"""BCM numbers taken in order where no wiring file says otherwise: 24 pins, 8 lamps of three.
2 and 3 are left to the I2C bus, where a hardware clock sits."""

WIRED_DRIVERS = ("rgb",)
"""Drivers that a wiring file can name today."""

MAX_BYTES = 256 * 1024
"""A longer wiring file is refused unread."""


@dataclass(frozen=True, slots=True)
class Pins:
    """BCM numbers of one RGB lamp's three parts."""

    red: int
    green: int
    blue: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """A checked wiring file.

    driver: the lamp driver it is for.
    active_high: True for common-cathode lamps (a high pin lights), False for common-anode ones.
    lamps: pins by lamp id, in the order of the file.
    """

    driver: str = "rgb"
    active_high: bool = True
    lamps: Mapping[str, Pins] = field(default_factory=dict)


def load_wiring(path: Path) -> Wiring:
    """Read and check a wiring file.

    Raises WiringError, naming the file and the key, where it is missing, no TOML, has an unknown
    key, a pin that does not exist or one that is used twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WiringError(
                f"接线文件 {path} 太大，请检查。", f"The wiring file {path} is too long: check it."
            )
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WiringError(
            f"读不到接线文件 {path}，请检查路径和权限。",
            f"The wiring file {path} cannot be read: check its path and permissions.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WiringError(
            f"接线文件 {path} 不是正确的 TOML：{error}。",
            f"The wiring file {path} is no valid TOML: {error}.",
        ) from error
    return check_wiring(table, str(path))


def check_wiring(table: Mapping[str, Any], where: str = "wiring.toml") -> Wiring:
    """Check what a wiring file said; ``where`` names it in errors. Raises WiringError."""
    _known(table, ("driver", "active_high", "lamps"), where, "")
    driver = table.get("driver", "rgb")
    if driver not in WIRED_DRIVERS:
        raise WiringError(
            f"{where}：driver 只能是 {'、'.join(WIRED_DRIVERS)}，不能是 {driver!r}。",
            f"{where}: driver must be one of {', '.join(WIRED_DRIVERS)}, not {driver!r}.",
        )
    active_high = table.get("active_high", True)
    if not isinstance(active_high, bool):
        raise WiringError(
            f"{where}：active_high 只能是 true 或 false。",
            f"{where}: active_high must be true or false.",
        )
    section = table.get("lamps", {})
    if not isinstance(section, Mapping) or not section:
        raise WiringError(
            f"{where}：缺少灯的接线，请为每盏灯写一节 [lamps.编号]。",
            f"{where}: no lamps; write a section [lamps.ID] for each.",
        )
    taken: dict[int, str] = {}
    lamps: dict[str, Pins] = {}
    for lamp, entry in section.items():
        if not isinstance(entry, Mapping):
            raise WiringError(
                f"{where}：lamps.{lamp} 必须写明 red、green、blue 三个引脚。",
                f"{where}: lamps.{lamp} must give the pins red, green and blue.",
            )
        parts = ("red", "green", "blue")
        _known(entry, parts, where, f"lamps.{lamp}.")
        numbers = [_pin(entry.get(part), f"lamps.{lamp}.{part}", where) for part in parts]
        for part, number in zip(parts, numbers, strict=True):
            name = f"lamps.{lamp}.{part}"
            if number in taken:
                raise WiringError(
                    f"{where}：引脚 {number} 用了两次（{taken[number]} 和 {name}），请改一处。",
                    f"{where}: pin {number} is used twice, by {taken[number]} and {name}; "
                    "change one.",
                )
            taken[number] = name
        lamps[lamp] = Pins(*numbers)
    return Wiring(driver, active_high, lamps)


def _known(table: Mapping[str, Any], keys: tuple[str, ...], where: str, prefix: str) -> None:
    for key in table:
        if key not in keys:
            raise WiringError(
                f"{where}：不认识 {prefix}{key}，可用的是 {'、'.join(keys)}。",
                f"{where}: {prefix}{key} is not known; use {', '.join(keys)}.",
            )


def _pin(value: Any, name: str, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in PINS:
        raise WiringError(
            f"{where}：{name} 必须是 {PINS[0]} 到 {PINS[-1]} 之间的 BCM 引脚号。",
            f"{where}: {name} must be a BCM pin number from {PINS[0]} to {PINS[-1]}.",
        )
    return value
