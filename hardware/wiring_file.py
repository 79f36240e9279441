"""Reads and checks `wiring.toml`; every mistake is refused with the place named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from hardware.errors import WiringError
from hardware.wiring import (
    BRIGHTEST,
    COLOURS,
    PINS,
    WIRED_DRIVERS,
    Chain,
    Door,
    Pins,
    Switch,
    Wiring,
)

MAX_BYTES = 256 * 1024
"""A longer wiring file is refused unread."""
MAX_LENGTH = 512
"""Chips or pixels of the longest chain: what 170 lamps on 74HC595 need, far above any board."""
MAX_PULSE_S = 30.0
"""A door that is held longer is no pulse."""

_KEYS = (
    "driver", "active_high", "lamps", "chain", "buttons", "motion", "door", "buzzer", "light",
)  # fmt: skip
_CHAIN = {
    "shift": ("clock", "data", "select", "latch", "enable", "readback", "length"),
    "apa102": ("clock", "data", "select", "readback", "length", "brightness"),
}


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WiringError(
            f"接线文件 {path} 不是正确的 TOML：{error}。",
            f"The wiring file {path} is no valid TOML: {error}.",
        ) from error
    return check_wiring(table, str(path))


def check_wiring(table: Mapping[str, Any], where: str = "wiring.toml") -> Wiring:
    """Check what a wiring file said; ``where`` names it in errors. Raises WiringError."""
    return _Check(where).wiring(table)


class _Check:
    """One reading of one file; remembers which pins were given away."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.taken: dict[int, str] = {}

    def wiring(self, table: Mapping[str, Any]) -> Wiring:
        self.known(table, _KEYS, "")
        driver = table.get("driver", "rgb")
        if driver not in WIRED_DRIVERS:
            self.bad(
                f"driver 只能是 {'、'.join(WIRED_DRIVERS)}，不能是 {driver!r}。",
                f"driver must be one of {', '.join(WIRED_DRIVERS)}, not {driver!r}.",
            )
        active_high = self.truth(table, "active_high")
        chain = self.chain(table, driver)
        lamps, pixels = self.lamps(table, driver, chain)
        return Wiring(
            driver,
            active_high,
            lamps,
            pixels,
            chain,
            self.buttons(table),
            self.switch(table, "motion"),
            self.door(table),
            self.buzzer(table),
            self.switch(table, "light"),
        )

    # -- lamps ------------------------------------------------------------------------------

    def lamps(
        self, table: Mapping[str, Any], driver: str, chain: Chain
    ) -> tuple[dict[str, Pins], dict[str, int]]:
        """Parts and pixels by lamp; a chain may leave the places to the order of the roster."""
        if driver == "screen":
            if "lamps" in table:
                self.bad(
                    "driver 为 screen 时没有灯可接，请删去 lamps 或改 driver。",
                    "with the driver screen there are no lamps to wire: remove lamps, or name "
                    "another driver.",
                )
            return {}, {}
        section = table.get("lamps", {})
        if not isinstance(section, Mapping) or not (section or driver in _CHAIN):
            self.bad(
                "缺少灯的接线，请为每盏灯写一节 [lamps.编号]。",
                "no lamps; write a section [lamps.ID] for each.",
            )
        parts: dict[str, Pins] = {}
        pixels: dict[str, int] = {}
        outputs: dict[int, str] = {}
        for lamp, entry in section.items():
            if driver == "apa102":
                place = self.place(entry, lamp, ("place",))
                pixels[lamp] = self.output(outputs, place, f"lamps.{lamp}.place", chain, 1)
            elif driver == "shift" and isinstance(entry, Mapping) and "place" in entry:
                place = self.place(entry, lamp, ("place",))
                numbers = [3 * place + part for part in range(3)]
                parts[lamp] = Pins(
                    *(self.output(outputs, n, f"lamps.{lamp}.place", chain, 8) for n in numbers)
                )
            else:
                parts[lamp] = self.parts(entry, lamp, driver, chain, outputs)
        return parts, pixels

    def place(self, entry: Any, lamp: str, keys: tuple[str, ...]) -> int:
        """The place along the chain, from 0; the file counts from 1."""
        if not isinstance(entry, Mapping):
            self.bad(
                f"lamps.{lamp} 必须写明 place（离树莓派最近的是 1）。",
                f"lamps.{lamp} must give its place (1 is nearest to the Pi).",
            )
        self.known(entry, keys, f"lamps.{lamp}.")
        return self.number(entry.get("place"), f"lamps.{lamp}.place", range(1, MAX_LENGTH + 1)) - 1

    def parts(
        self, entry: Any, lamp: str, driver: str, chain: Chain, outputs: dict[int, str]
    ) -> Pins:
        names = ("red", "green", "blue")
        if not isinstance(entry, Mapping):
            if driver == "shift":
                self.bad(
                    f"lamps.{lamp} 必须写明 place，或 red、green、blue 三个输出。",
                    f"lamps.{lamp} must give its place, or the outputs red, green and blue.",
                )
            self.bad(
                f"lamps.{lamp} 必须写明 red、green、blue 三个引脚。",
                f"lamps.{lamp} must give the pins red, green and blue.",
            )
        self.known(entry, names, f"lamps.{lamp}.")
        if driver == "rgb":
            numbers = [self.pin(entry.get(part), f"lamps.{lamp}.{part}") for part in names]
            # Only when all three are there: a missing one is the clearer mistake.
            for part, number in zip(names, numbers, strict=True):
                self.take(number, f"lamps.{lamp}.{part}")
            return Pins(*numbers)
        every = range(MAX_LENGTH * 8)
        numbers = [self.number(entry.get(p), f"lamps.{lamp}.{p}", every) for p in names]
        for part, number in zip(names, numbers, strict=True):
            self.output(outputs, number, f"lamps.{lamp}.{part}", chain, 8)
        return Pins(*numbers)

    def output(
        self, outputs: dict[int, str], number: int, name: str, chain: Chain, per_chip: int
    ) -> int:
        if number in outputs:
            self.bad(
                f"{outputs[number]} 和 {name} 用了链上的同一个位置，请改一处。",
                f"{outputs[number]} and {name} share one place on the chain; change one.",
            )
        if chain.length is not None and number >= chain.length * per_chip:
            self.bad(
                f"{name} 超出了链的长度（chain.length = {chain.length}）。",
                f"{name} lies beyond the end of the chain (chain.length = {chain.length}).",
            )
        outputs[number] = name
        return number

    def chain(self, table: Mapping[str, Any], driver: str) -> Chain:
        if driver not in _CHAIN:
            if "chain" in table:
                self.bad(
                    f"chain 只用于 {'、'.join(_CHAIN)}，不用于 {driver}。",
                    f"chain is for {' and '.join(_CHAIN)}, not for {driver}.",
                )
            return Chain()
        entry = self.section(table, "chain", _CHAIN[driver])
        plain = Chain()
        for key in ("clock", "data", "select", "latch", "enable", "readback"):
            number = entry.get(key, getattr(plain, key))
            if number is not None and key in _CHAIN[driver]:
                self.take(self.pin(number, f"chain.{key}"), f"chain.{key}")
        length = entry.get("length")
        if length is not None:
            self.number(length, "chain.length", range(1, MAX_LENGTH + 1))
        elif "readback" in entry:
            self.bad(
                "有 chain.readback 时必须写明 chain.length（芯片或灯珠的数目）。",
                "chain.readback needs chain.length, the number of chips or pixels.",
            )
        if "brightness" in entry:
            self.number(entry["brightness"], "chain.brightness", range(1, BRIGHTEST + 1))
        return Chain(**entry)

    # -- what else surrounds the screen -----------------------------------------------------

    def buttons(self, table: Mapping[str, Any]) -> dict[str, int]:
        entry = self.section(table, "buttons", COLOURS)
        for colour, number in entry.items():
            self.take(self.pin(number, f"buttons.{colour}"), f"buttons.{colour}")
        return dict(entry)

    def switch(self, table: Mapping[str, Any], name: str) -> Switch | None:
        if name not in table:
            return None
        entry = self.section(table, name, ("pin", "active_high"))
        pin = self.take(self.pin(entry.get("pin"), f"{name}.pin"), f"{name}.pin")
        return Switch(pin, self.truth(entry, "active_high", f"{name}."))

    def door(self, table: Mapping[str, Any]) -> Door | None:
        if "door" not in table:
            return None
        entry = self.section(table, "door", ("pin", "active_high", "seconds"))
        seconds = entry.get("seconds", 1.0)
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 < seconds <= MAX_PULSE_S:
            self.bad(
                f"door.seconds 必须大于 0、不超过 {MAX_PULSE_S:g} 秒。",
                f"door.seconds must be above 0 and at most {MAX_PULSE_S:g}.",
            )
        pin = self.take(self.pin(entry.get("pin"), "door.pin"), "door.pin")
        return Door(pin, self.truth(entry, "active_high", "door."), float(seconds))

    def buzzer(self, table: Mapping[str, Any]) -> int | None:
        if "buzzer" not in table:
            return None
        entry = self.section(table, "buzzer", ("pin",))
        return self.take(self.pin(entry.get("pin"), "buzzer.pin"), "buzzer.pin")

    # -- small pieces -----------------------------------------------------------------------

    def bad(self, zh: str, en: str) -> NoReturn:
        raise WiringError(f"{self.where}：{zh}", f"{self.where}: {en}")

    def known(self, table: Mapping[str, Any], keys: tuple[str, ...], prefix: str) -> None:
        for key in table:
            if key not in keys:
                self.bad(
                    f"不认识 {prefix}{key}，可用的是 {'、'.join(keys)}。",
                    f"{prefix}{key} is not known; use {', '.join(keys)}.",
                )

    def section(
        self, table: Mapping[str, Any], name: str, keys: tuple[str, ...]
    ) -> Mapping[str, Any]:
        entry = table.get(name, {})
        if not isinstance(entry, Mapping):
            self.bad(f"{name} 必须是一节 [{name}]。", f"{name} must be a section [{name}].")
        self.known(entry, keys, f"{name}.")
        return entry

    def truth(self, table: Mapping[str, Any], key: str, prefix: str = "") -> bool:
        value = table.get(key, True)
        if not isinstance(value, bool):
            self.bad(
                f"{prefix}{key} 只能是 true 或 false。", f"{prefix}{key} must be true or false."
            )
        return value

    def number(self, value: Any, name: str, allowed: range) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
            self.bad(
                f"{name} 必须是 {allowed[0]} 到 {allowed[-1]} 之间的整数。",
                f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}.",
            )
        return value

    def pin(self, value: Any, name: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value not in PINS:
            self.bad(
                f"{name} 必须是 {PINS[0]} 到 {PINS[-1]} 之间的 BCM 引脚号。",
                f"{name} must be a BCM pin number from {PINS[0]} to {PINS[-1]}.",
            )
        return value

    def take(self, number: int, name: str) -> int:
        if number in self.taken:
            other = self.taken[number]
            self.bad(
                f"引脚 {number} 用了两次（{other} 和 {name}），请改一处。",
                f"pin {number} is used twice, by {other} and {name}; change one.",
            )
        self.taken[number] = name
        return number
