"""Driver ``apa102``: pixels with two wires (APA102, SK9822) on SPI, one pixel a lamp.

The frames are those of the APA102 data sheet (Shiji Lighting): 32 zeros, for each pixel `111`, five
bits of global brightness, blue, green, red, and an end of at least half a clock a pixel, since each
pixel passes the line on half a clock late. The end is of zeros, 32 more than that: an SK9822 shows
what it got only at the next 32 zeros, and ones would light a pixel too many in white.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hardware.chain import USUAL_LAMPS, ChainBoard, bits_of
from hardware.lamps import Colour
from hardware.wiring import BRIGHTEST

Pixel = tuple[int, int, int, int]
"""Global brightness 0 to 31, then red, green and blue, 0 to 255."""

DARK: Pixel = (0, 0, 0, 0)

TONES: Mapping[Colour, tuple[int, int, int]] = {
    Colour.GREEN: (0, 255, 0),
    Colour.BLUE: (0, 0, 255),
    # Less green than red: green is the part that the eye sees brightest. By judgement; nobody has
    # measured it on pixels yet.
    Colour.YELLOW: (255, 200, 0),
    Colour.RED: (255, 0, 0),
}
"""What is sent for each colour."""

MARK: Pixel = (0, 0xA5, 0x5A, 0xC3)
"""Sent beyond the last pixel to see whether it comes out of the chain; too many pixels show it
with no brightness at all."""


def encode(pixels: Sequence[Pixel]) -> bytes:
    """The bytes for a chain of pixels, the nearest first. Raises ValueError out of range."""
    body = bytearray(4)
    for brightness, red, green, blue in pixels:
        if not 0 <= brightness <= BRIGHTEST:
            raise ValueError(f"brightness {brightness} is not from 0 to {BRIGHTEST}")
        body += bytes((0xE0 | brightness, blue, green, red))
    return bytes(body + bytes(4 + -(-len(pixels) // 16)))


def tone_of(pixel: Pixel) -> Colour | None:
    """The colour that a pixel shows; None where it is none of ours."""
    brightness, *rgb = pixel
    if not brightness or not any(rgb):
        return Colour.OFF
    return next((colour for colour, tone in TONES.items() if tone == tuple(rgb)), None)


class PixelBoard(ChainBoard):
    """One APA102 a lamp; a place is the pixel's index from 0.

    Where `Chain.readback` is wired, a mark is sent beyond the last pixel: that it comes out of the
    chain proves that every pixel took its frame and passed the rest on.
    """

    driver = "apa102"

    def _wired(self) -> Mapping[str, int]:
        return self._wiring.pixels

    def _reach(self) -> int:
        return self.chain.length or 0

    def _open(self) -> None:
        self._take_spi()

    def _send(self, lit: Mapping[int, Colour]) -> Mapping[int, Colour | None]:
        longest = max((place + 1 for place in self._places.values()), default=0)
        count = self.chain.length or max(longest, USUAL_LAMPS)
        bright = self.chain.brightness
        pixels = [(bright, *TONES[lit[at]]) if at in lit else DARK for at in range(count)]
        if self.chain.readback is None:
            self._spi.transfer(list(encode(pixels)))
            whole = True
        else:
            whole = _holds(bits_of(self._spi.transfer(list(encode([*pixels, MARK])))), count)
        return {at: tone_of(pixel) if whole else None for at, pixel in enumerate(pixels)}


def _holds(came: Sequence[int], count: int) -> bool:
    """Whether the mark came out of a chain of `count` pixels, and nothing before it."""
    mark = bits_of(encode([MARK])[4:8])
    first = next((at for at, bit in enumerate(came) if bit), None)
    # Half a clock late for each pixel, and one more where the line is read before it shifts.
    earliest = 32 * (1 + count)
    return (
        first is not None
        and earliest - 1 <= first <= earliest + count // 2 + 1
        and list(came[first : first + 32]) == mark
    )
