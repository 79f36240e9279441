"""Driver ``shift``: a chain of 74HC595 on SPI, three outputs a lamp, blank until first latched.

Output 0 is QA of the chip nearest to the Pi, output 8 QA of the next. What is clocked in first ends
up farthest away, in QH of the last chip (SN74HC595 data sheet, Texas Instruments SCLS041).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hardware.chain import USUAL_LAMPS, ChainBoard, bits_of
from hardware.errors import LampError
from hardware.lamps import Colour, colour_of
from hardware.wiring import Pins

OUTPUTS = 8
"""Outputs of one 74HC595."""


def encode(lit: Mapping[int, bool], chips: int, active_high: bool = True) -> bytes:
    """The bytes that set the outputs of `chips` 74HC595, the farthest chip's first.

    lit: which outputs light, by number; those not named are dark. Outputs beyond the chain are
    ignored.
    """
    image = bytearray(chips)
    for output in range(chips * OUTPUTS):
        if lit.get(output, False) == active_high:
            image[chips - 1 - output // OUTPUTS] |= 1 << output % OUTPUTS
    return bytes(image)


def decode(image: Sequence[int], active_high: bool = True) -> dict[int, bool]:
    """Which outputs light where the chain holds these bytes: the inverse of `encode`."""
    chips = len(image)
    return {
        output: bool(image[chips - 1 - output // OUTPUTS] >> output % OUTPUTS & 1) == active_high
        for output in range(chips * OUTPUTS)
    }


class ShiftBoard(ChainBoard):
    """RGB lamps on the outputs of 74HC595.

    A place is the number of the lamp's red output; `Wiring.lamps` may name any three outputs.
    Where `Chain.readback` is wired, what the chips hold is clocked out of them and compared.
    """

    driver = "shift"

    def _wired(self) -> Mapping[str, int]:
        return {lamp: parts.red for lamp, parts in self._wiring.lamps.items()}

    def _reach(self) -> int:
        return (self.chain.length or 0) * OUTPUTS // 3

    def _parts(self) -> dict[int, Pins]:
        """The three outputs of each place."""
        if self._wiring.lamps:
            return {parts.red: parts for parts in self._wiring.lamps.values()}
        return {at: Pins(3 * at, 3 * at + 1, 3 * at + 2) for at in self._places.values()}

    def _chips(self, parts: Mapping[int, Pins]) -> int:
        if self.chain.length is not None:
            return self.chain.length
        highest = max((max(p.red, p.green, p.blue) + 1 for p in parts.values()), default=0)
        return -(-max(highest, USUAL_LAMPS * 3) // OUTPUTS)

    def _open(self) -> None:
        from gpiozero import OutputDevice

        def output(pin: int, active_high: bool) -> Any:
            device = OutputDevice(
                pin, active_high=active_high, initial_value=False, pin_factory=self._factory
            )
            self._devices.callback(device.close)
            return device

        # OE is inverted. It is held high first: what the chips woke up with is never seen.
        self._enable = output(self.chain.enable, False)
        self._latch = output(self.chain.latch, True)
        self._take_spi()
        self._offset = self._find_offset() if self.chain.readback is not None else 0

    def _send(self, lit: Mapping[int, Colour]) -> Mapping[int, Colour | None]:
        parts = self._parts()
        chips = self._chips(parts)
        outputs: dict[int, bool] = {}
        for place, colour in lit.items():
            pins = parts[place]
            for output, bit in zip((pins.red, pins.green, pins.blue), colour.rgb, strict=True):
                outputs[output] = bool(bit)
        image = encode(outputs, chips, self._wiring.active_high)
        self._spi.transfer(list(image))
        self._pulse()
        if self._closed:
            self._enable.off()  # dark already, and blank from now on
            return {}
        self._enable.on()
        if not self._enable.value:
            return dict.fromkeys(parts, Colour.OFF)  # OE is held high: nobody sees anything
        held = decode(self._held(image), self._wiring.active_high)
        return {
            place: colour_of(tuple(int(held[n]) for n in (p.red, p.green, p.blue)))
            for place, p in parts.items()
        }

    def _pulse(self) -> None:
        self._latch.on()
        risen = self._latch.value
        self._latch.off()
        if not risen or self._latch.value:
            raise LampError(
                f"锁存引脚 {self.chain.latch} 不动作，请检查接线。",
                f"The latch pin {self.chain.latch} does not follow: check its wire.",
            )

    # -- reading back -----------------------------------------------------------------------

    def _held(self, image: bytes) -> Sequence[int]:
        """What the chips hold: what was sent, or where the wire is there what comes back."""
        if self.chain.readback is None:
            return image
        # Not latched, so nothing is seen of this.
        came = bits_of(self._spi.transfer([0] * (len(image) + 1)))
        sent = bits_of(image)
        # Where the first bit is over before it can be read, it is taken as sent.
        bits = sent[: self._offset] + came[: len(sent) - self._offset]
        return [
            int("".join(map(str, bits[at : at + OUTPUTS])), 2)
            for at in range(0, len(bits), OUTPUTS)
        ]

    def _find_offset(self) -> int:
        """0 where the line reads before it shifts (hardware SPI), 1 where after (bits by software).

        Raises LampError where nothing comes back.
        """
        chips = self.chain.length or 1
        self._spi.transfer([0b01000000] + [0] * (chips - 1))
        came = bits_of(self._spi.transfer([0] * (chips + 1)))
        if came[:2] == [0, 1] and not any(came[2:]):
            return 0
        if came[0] == 1 and not any(came[1:]):
            return 1
        raise LampError(
            f"链上没有读回信号：请检查到引脚 {self.chain.readback} 的线、每片芯片的串接和电源，"
            "以及 chain.length。",
            f"The chain does not answer: check the wire to pin {self.chain.readback}, the links "
            "from chip to chip, the power, and chain.length.",
        )
