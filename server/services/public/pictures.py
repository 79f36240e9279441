"""Pictures that somebody sent, read strictly: portraits and attachments go this way."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageFile, ImageOps

#: A telephone's picture has 12 to 50 million pixels; decoded at 3 bytes each this is 120 MB.
MAX_PIXELS = 40_000_000


class TooManyPixels(ValueError):
    """A picture would need more memory than it may."""


def reencoded(body: bytes, formats: Sequence[str], size: tuple[int, int], quality: int) -> bytes:
    """A JPEG within `size`, upright, without metadata.

    `formats` are Pillow's names. Raises TooManyPixels, and ValueError for what is no such picture,
    or is cut off.
    """
    # WeasyPrint, once it is loaded, lets the whole process take pictures that are cut off.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(body), formats=list(formats)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise TooManyPixels
            picture.draft("RGB", (2 * size[0], 2 * size[1]))
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except TooManyPixels:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("no picture that can be read") from None
    upright.thumbnail(size, Image.Resampling.LANCZOS)
    plain = Image.new("RGB", upright.size)  # a new picture: no metadata comes along
    plain.paste(upright)
    out = io.BytesIO()
    plain.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
